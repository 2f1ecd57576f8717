"""Lets the root in the current folder serve 100 poles with eight meters each, for SECONDS: `root_load.py SECONDS`.

Everything that a pole tells goes in where the mesh hands it over: who it is, its layouts, a table of 24 neighbours, a
report and, each 10 s, a batch of its eight meters. The last line is JSON: bytes live after a collection, the most
allocated at any second, messages acknowledged, batches that found no room.
"""

import asyncio
import gc
import json
import struct
import sys

import caught

from gateway.batches import Writer
from lib import varint

POLES = 100
RECORDS, IDENTITY, LAYOUT, REPORT, TABLE = range(1, 6)  # as in gateway/batches: what ships has them as numbers only
UNITS = (1, "W"), (32, "V"), (31, "A"), (33, "-"), (14, "Hz")
COLUMNS = "".join(["\n%d.7.0 %s -3" % pair for pair in UNITS])


class Record:
    """A reading of a pole, as a Replay gives it."""

    tag, source, bound_ms, first = 0, 4, 40, None

    def __init__(self, ordinal, slot, what, unix_ms):
        self.ordinal, self.slot, self.what, self.unix_ms = ordinal, slot, what, unix_ms
        self.values = [123456 + ordinal, 230100, 1234, 980, 50010, 7654321 + ordinal]


def numbers(*values):
    buf = bytearray(205)
    at = 0
    for value in values:
        at = varint.put(buf, at, value)
    return bytes(buf[:at])


async def feed(root, seconds):
    told = {"refused": 0, "most": 0}
    writer = Writer(4660, 205)
    number = 0
    for pole in range(2, POLES + 2):
        lines = ["f", "pole-%d" % pole, "0.1.0", "0"] + ["P%d-%d 60" % (pole, slot) for slot in range(8)]
        root.received(pole, 1, IDENTITY, b"\0" + "\n".join(lines).encode())
        member = root.members.all[pole]
        for layout in range(1, 5):
            member.take(LAYOUT, (COLUMNS + "\n%d.8.0 kWh -3" % layout).encode(), 0, None, layout)
        rows = b"".join([struct.pack(">HbHH", 2 + row, -70, 104, 300) for row in range(24)])
        root.received(pole, 2, TABLE, b"\0" + struct.pack(">BHHBHB", 1, 3, 1, 4, 430, 6) + rows)
        meters = [value for slot in range(1, 9) for value in (slot, 1000, 0, 1, 3000)]
        root.received(pole, 3, REPORT, b"\0" + numbers(*([1000] * 4 + [1, 1000, 4] + [1000] * 13 + [8] + meters)))
        await asyncio.sleep_ms(10)
    for second in range(seconds):
        for pole in range(2 + second % 10, POLES + 2, 10):
            now = root.clock.now()[0]
            for slot in range(1, 9):
                writer.put(Record(second * 8 + slot, slot, 1 + slot % 4, now - now % 10))
            number += 1
            while not root.received(pole, 100 + number, RECORDS, b"\0" + bytes(writer.take())):
                told["refused"] += 1
                await asyncio.sleep_ms(200)
        told["most"] = max(told["most"], gc.mem_alloc())
        await asyncio.sleep_ms(1000)
    gc.collect()
    told["live"] = gc.mem_alloc()
    told["acked"] = root.couriers[0].outlet.client.stats["acked"]
    print(json.dumps(told))


async def both(coroutine):
    asyncio.create_task(coroutine)
    await asyncio.sleep_ms(2000)
    await feed(caught.made[0].mesh, int(sys.argv[1]))


run = asyncio.run
caught.main(lambda coroutine: run(both(coroutine)))
