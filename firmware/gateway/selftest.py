"""What an installer wants to know before he comes down from the pole. `meshems provision` runs it; no gateway loads it.

    import asyncio
    from gateway import build, selftest
    asyncio.run(selftest.run(*build.configuration()[:2], print))
"""
import asyncio
import os
import time

import esp32
import network
from micropython import const

from gateway import build, clock, data
from lib import civil
from lib.journal import Journal

_SCRATCH = const("scratch")
_SECOND_MS = const(1100)
_GRAIN_MS = const(150)
_DRIFT_MS = const(2000)


async def run(conf, secrets, say):
    """Test this board with the configuration in force; `say` each result as soon as it is known.

    A result is {"test", "ok", "found", "expected"}: "flash", "journal", "clock", "radio", "network" (where configured),
    "bus NUMBER", "meter SERIAL" and "uplink NAME"; "serial" is what a meter gives as its own. A test never raises.
    """
    board = data.load("board.json")
    told = _Told(say)
    await told.by("flash", "reads as written", _flash)
    await told.by("journal", "it mounts", _journal)
    await told.by("clock", "a second takes a second", _clock, board)
    await told.by("radio", "an address", _radio)
    from gateway import reach

    if conf["network"]:
        await told.by("network", "connected", reach.way, conf["network"], secrets, board)
    lines = {}
    for number, row in enumerate(conf["buses"]):
        expected = "hears itself" if row["echo"] else "does not hear itself"
        await told.by("bus %d" % number, expected, reach.bus, row, board, lines, number)
    for row in conf["meters"]:
        await told.by("meter " + row["serial"], "it answers", reach.meter, lines, row, told)
    for row in conf["uplinks"]:
        await told.by("uplink " + row["name"], "connected", reach.uplink, conf, secrets, row)


class _Told:
    """Says results; `serial` is added to that of a meter."""

    def __init__(self, say):
        self._say = say
        self.serial = None

    async def by(self, name, expected, test, *args):
        """Say what `test` returns: (whether it is well, what was found); what it raises is what was found."""
        self.serial = None
        try:
            ok, found = await test(*args)
        except Exception as error:  # MemoryError among them
            ok, found = False, repr(error)
        row = {"test": name, "ok": ok, "found": found, "expected": expected}
        if self.serial:
            row["serial"] = self.serial
        self._say(row)


async def _flash():
    wrote = os.urandom(512)
    with open(_SCRATCH, "wb") as file:
        file.write(wrote)
    with open(_SCRATCH, "rb") as file:
        read = file.read()
    os.remove(_SCRATCH)
    free = os.statvfs(os.getcwd())
    return read == wrote, "%d kB free" % (free[0] * free[3] >> 10)


async def _journal():
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="journal")
    if not found:
        return False, "no partition `journal`"
    journal = Journal(found[0])
    journal.mount()
    return True, "%d kB, %d records" % (found[0].info()[3] >> 10, journal.next - journal.first)


async def _clock(board):
    rtcs = build.rtcs(board)
    began = time.ticks_ms()
    first = [_ms(rtc) for rtc, _, _ in rtcs]
    await asyncio.sleep_ms(_SECOND_MS)
    last = [_ms(rtc) for rtc, _, _ in rtcs]
    away = time.ticks_diff(time.ticks_ms(), began)
    for i in range(len(rtcs)):
        took = last[i] - first[i]
        if abs(took - away) > _GRAIN_MS + rtcs[i][2] or abs(last[i] - last[0]) > _DRIFT_MS:
            return False, "clock %d: %d ms for %d, UTC %d" % (i, took, away, last[i] // 1000)
    return last[0] > clock.BUILT, "UTC %d" % (last[0] // 1000)


def _ms(rtc):
    """Return the unix ms of a clock, 0 when it has no time."""
    fields = rtc.datetime()
    if not fields:
        return 0
    return civil.unix_s(fields[0], fields[1], fields[2], *fields[4:7]) * 1000 + fields[7] // 1000


async def _radio():
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    mac = wlan.config("mac")
    return mac != bytes(6), ":".join(["%02x" % byte for byte in mac])
