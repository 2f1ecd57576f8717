"""A UART whose line is the simulator in another process, in virtual time. Run by tools/meshems/sim/virtual.py.

    job, clock, uart = virtual_bus.connect()        # asyncio and every module of lib now live in the clock's time
    line = RS485(uart, job["baud"], job["format"])
    virtual_bus.tell([clock.us, "anything"])        # to the one who started it

The clock (unit/fake_uart.py) only moves when every task sleeps, so nobody waits for a time-out. A line each, instants
in us of the clock:

    to the simulator                         from it
    W at hex     written by the gateway      next hex    when something happens next (-1: nothing), what has arrived
    R at         is there something?         next hex
    S at text    the UART is set so          -
    T json       for the one who started it  -

As a script it polls: {"meters": [[address, profile], ...], "polls", "pause_ms", "settled_ms"} in the job, and tells for
each meter its batches' points once, and for each poll [meter, batch, values or [kind, code, text], began, ended in us].
"""

import asyncio
import json
import sys

from fake_uart import Clock
from lib import proto
from lib.media import rs485
from lib.proto import modbus


def _say(text):
    sys.stdout.write(text + "\n")


def connect():
    """Return (the job, the clock, the UART) after taking the job from the one who started this process."""
    job = json.loads(sys.stdin.readline())
    modules = [module for name, module in sys.modules.items() if name.startswith("lib") and hasattr(module, "time")]
    clock = Clock(*modules, grain=job.get("grain", 1))
    return job, clock, UART(clock, job["baud"], job["format"])


def tell(something):
    """Pass on what JSON can say."""
    _say("T " + json.dumps(something))


class UART:
    """machine.UART on the simulated line: None where nothing is there, a receive buffer that overflows."""

    def __init__(self, clock, baud, fmt, rxbuf=512):
        self._clock = clock
        self._rxbuf = rxbuf
        self._buf = b""
        self._next = 0  # nothing arrives before; -1: not until something is sent
        self._end = 0  # when the last bit will have left
        self._baud, self._bits, self._parity, self._stop = baud, int(fmt[0]), fmt[1], int(fmt[2])

    def init(self, baudrate=0, bits=0, parity=-1, stop=0, **settings):
        self._look()
        self._baud = baudrate or self._baud
        self._bits = bits or self._bits
        self._stop = stop or self._stop
        if parity != -1:
            self._parity = "N" if parity is None else "EO"[parity]
        _say("S %d %d %d%s%d" % (self._clock.us, self._baud, self._bits, self._parity, self._stop))
        self._buf = b""

    def _answer(self):
        following, _, data = sys.stdin.readline().rstrip("\n").partition(" ")
        self._next = int(following)
        self._buf = (self._buf + bytes.fromhex(data))[: self._rxbuf]

    def _look(self):
        if 0 <= self._next <= self._clock.us:
            _say("R %d" % self._clock.us)
            self._answer()

    def write(self, frame):
        _say("W %d %s" % (self._clock.us, bytes(frame).hex()))
        self._answer()
        bits = 1 + self._bits + (self._parity != "N") + self._stop
        self._end = max(self._end, self._clock.us) - -len(frame) * bits * 1000000 // self._baud
        return len(frame)

    def txdone(self):
        return self._end <= self._clock.us

    def flush(self):
        self._clock.us = max(self._clock.us, self._end)

    def any(self):
        self._look()
        return len(self._buf)

    def readinto(self, buf):
        self._look()
        n = min(len(buf), len(self._buf))
        if not n:
            return None
        buf[:n] = self._buf[:n]
        self._buf = self._buf[n:]
        return n


async def _poll(job, clock, uart):
    line = rs485.RS485(uart, job["baud"], job["format"])
    meters = []
    for address, profile in job["meters"]:
        batches = modbus.plan(profile)
        meters.append((await modbus.session(line, {"address": address}, {}), batches))
        tell([batch.points for batch in batches])
    left = job["polls"]
    while left > 0:
        asked = 0
        for i, (session, batches) in enumerate(meters):
            for j, batch in enumerate(batches):
                began = clock.us
                values = await session.read(batch)
                fault = values[0]
                if isinstance(fault, proto.Fault) and len(values) == values.count(fault):
                    if fault.kind == proto.BUSY:  # not put on the line: no poll
                        continue
                    values = {"fault": fault.kind, "code": fault.code, "text": fault.text}
                else:
                    values = [{"fault": v.kind} if isinstance(v, proto.Fault) else v for v in values]
                tell([i, j, values, began, clock.us])
                asked += 1
        left -= asked
        await asyncio.sleep_ms(job["pause_ms"] if asked else job["settled_ms"])


if __name__ == "__main__":
    asyncio.run(_poll(*connect()))
