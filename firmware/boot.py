"""Runs before main.py: collect early and often. A heap that is seldom swept gets full of holes, and grows for good into
what Wi-Fi and TLS need. A sweep takes time with the size of the heap, so a large one is swept less often; what it takes
on a chip was not measured."""
import gc

gc.threshold(gc.mem_free() // 160)
