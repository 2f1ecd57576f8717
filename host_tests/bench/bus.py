"""Reads meters with the firmware's own driver, round after round: `bus.py JOB`, a JSON file.

{"baud", "format", "timeout_ms", "blocks": [[function, address, count]], "polls": how many on each line,
 "lines": [[uart, [address]]], "grain_ms": 1, or 10 as on the chip}

The last line of the output is JSON: {"polls": [[address, block, begin us, end us, words]]}; words are null when nothing
was read. A meter that the driver leaves alone was not polled.
"""

import asyncio
import json
import sys
import time

import machine

import boot  # noqa: F401  sets when garbage is collected, as on the chip
from lib import proto
from lib.media.rs485 import RS485
from lib.proto import modbus

_IDLE_MS = 10  # when no meter may be asked


class Coarse:
    """Stands before asyncio's wait: it ends at a tick of FreeRTOS, as on the chip, where tasks wait in whole ticks."""

    def __init__(self, queue, grain_ms):
        self._queue = queue
        self._grain_us = 1000 * grain_ms

    def wait_io_event(self, ms):
        """Wait `ms` and then for the next tick; forever when it is negative."""
        self._queue.wait_io_event(ms)
        if ms > 0:
            time.sleep_us(-time.ticks_us() % self._grain_us)


def profile(blocks, timeout_ms):
    """Return a profile that reads every register of the blocks as it is."""
    rows = []
    for i, (_, _, count) in enumerate(blocks):
        rows += [["r.%d.%d" % (i, at), i, at, "u16", 0, "", 0] for at in range(count)]
    return {"lim": [125, 1, 0, timeout_ms], "blk": [block + [1] for block in blocks], "q": rows}


async def read(line, units, batches, count, polls):
    """Ask each unit for each batch, round after round, until `count` polls were made."""
    sessions = []
    for unit in units:
        sessions.append((unit, await modbus.session(line, {"address": unit}, {})))
    while True:
        before = count
        for unit, session in sessions:
            for block, batch in enumerate(batches):
                begin = time.ticks_us()
                values = await session.read(batch)
                if isinstance(values[0], proto.Fault):
                    if values[0].kind == proto.BUSY:
                        continue
                    values = None
                polls.append((unit, block, begin, time.ticks_us(), values))
                count -= 1
                if not count:
                    return
        if count == before:
            await asyncio.sleep_ms(_IDLE_MS)


async def _all(job, polls):
    reading = []
    batches = modbus.plan(profile(job["blocks"], job["timeout_ms"]))
    for uart, units in job["lines"]:
        parity = {"N": None, "E": 0, "O": 1}[job["format"][1]]
        port = machine.UART(
            uart, baudrate=job["baud"], bits=8, parity=parity, stop=int(job["format"][2]), tx=17, rx=18, txbuf=512,
            rxbuf=512, timeout=0, timeout_char=0,
        )  # fmt: skip
        line = RS485(port, job["baud"], job["format"])
        reading.append(asyncio.create_task(read(line, units, batches, job["polls"], polls)))
    for task in reading:
        await task


def run():
    """Read every line of the job in a task of its own; return the polls."""
    with open(sys.argv[1]) as file:
        job = json.load(file)
    if job["grain_ms"] > 1:
        asyncio.core._io_queue = Coarse(asyncio.core._io_queue, job["grain_ms"])
    polls = []
    asyncio.run(_all(job, polls))
    return polls


if __name__ == "__main__":
    print(json.dumps({"polls": run()}))
