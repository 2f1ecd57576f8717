"""Runs before main.py: collect early and often. A heap that is seldom swept gets full of holes, and grows for good into
what Wi-Fi and TLS need."""
import gc

gc.threshold(4096)
