"""Asks the meters of one bus, each when it is due, and hands what they answered to the recorder.

A silent meter costs its own time-out and nothing else: it stores nothing for two polls, then one `comms_lost`, and at
its cadence a record that says that it is still silent. An old value is never stored again.
"""
import asyncio

from micropython import const

from gateway import clock, log
from lib import once, proto

MISSES = 3  # polls without a value before a meter counts as lost
_IDLE_MS = const(500)  # longest sleep between two looks at who is due


class Meter:
    """A configured meter; `every` in s, `misses` in a row. `link` is what its protocol needs to reach it.

    `port` is (baud, format) when the meters of the bus are not all at the same. `period` is the one in which it was
    asked last; None makes it due now.
    """

    port = None

    def __init__(self, serial, every, slot, schema, batches, protocol, link):
        self.serial = serial
        self.every = every
        self.slot = slot
        self.schema = schema
        self.batches = batches
        self.size = sum([batch.size for batch in batches])
        self.protocol = protocol
        self.link = link
        self.session = None
        self.misses = 0
        self.polls = 0
        self.period = None

    def due(self, now):
        """Return whether the meter has to be asked at `now`, in s of UTC or of uptime; true once a period."""
        period = now // self.every
        if period == self.period:
            return False
        self.period = period
        return True


class Bus:
    """One task a bus: `run(life)`. Of what a meter answers the recorder gets what is of the types in `takes`."""

    takes: tuple = (int,)

    def __init__(self, name, media, meters, now, recorder):
        self.name = name
        self.meters = meters
        self._media = media
        self._clock = now
        self.recorder = recorder

    async def run(self, life):
        """Poll for ever. Meters of one setting follow one another, so that the line is seldom changed."""
        port = None
        while True:
            life.beat()
            now_ms = self._now_ms()
            due, silent = [], []  # these come last: their time-outs move nobody's instant
            for meter in self.meters:
                if meter.due(now_ms // 1000):
                    (silent if meter.misses else due).append(meter)
            due.extend(silent)
            for meter in due:
                if meter.port != port:
                    port = meter.port
                    async with self._media.lock:
                        await self._media.set(*port)
                await self._poll(meter)
                life.beat()
            if due:
                self.recorder.commit()
            now_ms = self._now_ms()
            wait = _IDLE_MS
            for meter in self.meters:
                wait = min(wait, meter.every * 1000 - now_ms % (meter.every * 1000))
            await asyncio.sleep_ms(wait)

    def _now_ms(self):
        now = self._clock.now()
        return now[0] if now else clock.uptime_ms()

    async def _poll(self, meter):
        """Read the batches that are due. The instant of the reading is that of the first answer."""
        if meter.session is None:
            meter.session = await proto.load(meter.protocol).session(self._media, meter.link, {})
            meter.link = None  # the session has it now
        values: list = [None] * meter.size
        at = 0
        answered = fault = None
        silent = False
        for batch in meter.batches:
            if meter.polls % batch.every == 0 and not silent:
                got = await meter.session.read(batch)
                if all(isinstance(value, proto.Fault) for value in got):
                    fault = fault or got[0]
                    silent = got[0].kind in (proto.TIMEOUT, proto.BUSY)  # the other batches would only cost bus time
                    if got[0].kind == proto.UNSUPPORTED:
                        log.error(self.name, "%s: %s" % (meter.serial, got[0].text))
                elif answered is None:
                    answered = clock.uptime_at(meter.session.answered_ms)
                for i, value in enumerate(got):
                    if isinstance(value, self.takes):
                        values[at + i] = value
            at += batch.size
        meter.polls += 1
        if answered is not None:
            self._answered(meter, answered, values)
        elif fault and (fault.kind != proto.BUSY or meter.misses >= MISSES):  # a lost meter is not asked each time
            self._missed(meter, fault)

    def _answered(self, meter, uptime_ms, values):
        if meter.misses >= MISSES:
            once.call("gateway.silence", "over", self, meter, uptime_ms)
        meter.misses = 0
        self.recorder.reading(uptime_ms, meter.slot, meter.schema, values)

    def _missed(self, meter, fault):
        meter.misses += 1
        if meter.misses <= MISSES:
            once.call("gateway.silence", "missed", self, meter, fault)
        if meter.misses >= MISSES:
            self.recorder.lost(meter.slot)
