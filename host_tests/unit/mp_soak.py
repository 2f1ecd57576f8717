"""A gateway that runs for long keeps nothing: the heap after 10,000 cycles is what it was after 100.

What happens for the first time leaves its names in the interpreter for good, so each kind of fault comes once before
cycle 100 as well, the same one last. Both looks come at the same phase: the outlet is drained and waits.
"""

import asyncio
import gc
from array import array

from fake_pole import Pole, world

HEAP = {"test_ten_thousand_cycles_keep_nothing": "4M", "test_one_object_that_is_kept_is_seen": "4M"}
TIMEOUT = {"test_ten_thousand_cycles_keep_nothing": 120}
CYCLES = 10000
EVERY = 5  # s
RECONNECTS = 20
APART = CYCLES // (RECONNECTS + 1)  # cycles
FAULTS = 50


class Count:
    """Messages, and not one of them kept."""

    def __init__(self):
        self.messages = self.missing = self.next = self.lost = self.restored = 0
        self.kept = None  # what a mutant keeps

    def take(self, topic, payload):
        if topic.endswith(("/status", "/gateway/telemetry")):
            return
        self.messages += 1
        self.lost += b'"comms_lost","sev' in payload
        self.restored += b'"comms_restored"' in payload
        at = bytes(payload).find(b'"seq":') + 6
        seq = int(bytes(payload[at : at + 20]).split(b",")[0]) & 0xFFFFFFFF
        self.missing += seq > self.next
        self.next = max(self.next, seq + 1)


async def _cycle(number):
    """Wait until the cycle `number` is half over."""
    while world.us < (number * EVERY * 2 + EVERY) * 500000:
        await asyncio.sleep_ms(250)


def live():
    """Return the bytes that are allocated and not garbage.

    The collector takes each word of the C stack for a pointer, also one that a call left there that is over: so it is
    called where the stack is short, and what old calls left is overwritten.
    """
    overwrite(60)
    gc.collect()
    return gc.mem_alloc()


def overwrite(depth):
    """Leave nothing of old calls on the stack."""
    if depth:
        overwrite(depth - 1)


async def life(pole, first, last, done):
    """Live from cycle `first` to the end of `last`; count reconnects and faults of after cycle 100 in `done`."""
    if not first:
        asyncio.create_task(pole.gateway.run())
    for cycle in range(first, last + 1):
        await _cycle(cycle)
        if cycle in (20, 60) or cycle > 100 and cycle % APART == 0 and done[0] < RECONNECTS:
            done[0] += cycle > 100
            pole.broker.cut()
        at = cycle % (CYCLES // (FAULTS + 1))
        if cycle in (30, 70) or cycle > 100 and at == 90 and done[1] < FAULTS:
            done[1] += cycle > 100
            pole.uart.silent = (1,)
        elif cycle in (36, 76) or cycle > 100 and at == 96:
            pole.uart.silent = ()
    assert not pole.gateway.outlets[0].behind and not pole.gateway.outlets[0].client.pending


def lived(count, cycles):
    """Let a gateway live; return (reconnects, faults), its Pole, and what is allocated at cycle 100 and at the last."""
    overwrite(60)
    pole = Pole([("SN-A", "small"), ("SN-B", "large")], count.take, EVERY)
    pole.start()
    done = array("I", [0, 0])
    asyncio.run(life(pole, 0, 100, done))
    first = live()
    asyncio.run(life(pole, 101, cycles, done))
    last = live()
    return tuple(done), pole, (first, last)


def test_ten_thousand_cycles_keep_nothing():
    count = Count()
    done, pole, looks = lived(count, CYCLES)
    assert done == (RECONNECTS, FAULTS) and pole.broker.sessions == 3 + RECONNECTS, (done, pole.broker.sessions)
    assert count.lost == count.restored == 2 + FAULTS, (count.lost, count.restored)
    assert count.messages > 2 * CYCLES and not count.missing, (count.messages, count.missing)
    assert looks[0] == looks[1], looks


class Keeping(Count):
    def take(self, topic, payload):
        super().take(topic, payload)
        if self.messages == 400:
            self.kept = bytes(1)


def test_one_object_that_is_kept_is_seen():
    _, _, looks = lived(Keeping(), 300)
    assert looks[0] < looks[1], looks
