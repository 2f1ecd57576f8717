"""Tells what the desktop board's stand-ins for the chip's modules keep on the heap: `standins.py NAMES UART...`.

Modules, and the objects that a gateway makes of them. NAMES is how many names the firmware itself adds to the
interpreter's table: so many are put there first, because the table doubles, and what it grows by for the stand-ins'
names is theirs. What they import of the interpreter is imported first too: the chip has that, not on the heap.

The line before the last is what micropython.qstr_info() says, the last one JSON: [[name, bytes]].
"""

import binascii  # noqa: F401
import errno  # noqa: F401
import gc
import hashlib  # noqa: F401
import io  # noqa: F401
import json
import os  # noqa: F401
import sys
import termios  # noqa: F401
from array import array

import micropython

names = ["desktop", "time", "machine", "esp32", "socket", "objects"]
sizes = array("I", [0] * len(names))
kept = [None] * 16


def count(i, make):
    """Note what `make()` adds to the heap."""
    gc.collect()
    before = gc.mem_alloc()
    kept[i] = make()
    gc.collect()
    sizes[i] = gc.mem_alloc() - before


def objects():
    """Make what the gateway makes."""
    from esp32 import NVS, Partition
    from machine import RTC, UART, WDT

    uarts = [UART(int(n), 9600, tx=17, rx=18, txbuf=512, rxbuf=512) for n in sys.argv[2:]]
    parts = Partition.find(Partition.TYPE_DATA, label="journal")
    return uarts, parts, NVS("gw"), RTC(), WDT(timeout=30000)


class Names:
    """Takes any attribute; its names stay in the interpreter's table for good."""


for n in range(int(sys.argv[1])):
    setattr(Names, "name_%d" % n, None)
    delattr(Names, "name_%d" % n)


for i in range(len(names) - 1):
    count(i, lambda name=names[i]: __import__(name))
count(len(names) - 1, objects)
micropython.qstr_info()
print(json.dumps([[name, sizes[i]] for i, name in enumerate(names)]))
