"""An outlet that catches up in binary: what waited is sent as the frames that are stored, many in one message.

What each byte means: docs/northbound/catchup.md. When nothing is left that is older than two intervals, the outlet goes
on as any other, until its next connection.
"""
import asyncio
import struct

from micropython import const

from gateway import clock
from gateway.records import RECORDS, Decoder
from gateway.uplink import IDLE_MS, Outlet

_LONGEST = const(1024)  # bytes of a message
_HEAD = const(3)
_FRAME = const(8)
_DATED = const(11)
_FRESH = const(1)
_PLACED = const(2)
_MOST = const(0xFFFFFFFF)  # ms: a place has four bytes for its bound


class CatchUp(Outlet):
    """An Outlet; `_serve` first sends frames."""

    async def _serve(self, life, generation):
        await self._catch_up(life, generation)
        while self.client.pending:  # or it would go out in JSON too
            life.beat()
            self.keep()
            await asyncio.sleep_ms(IDLE_MS)
        await Outlet._serve(self, life, generation)

    async def _names(self, generation):
        """Publish, retained, the serials of the slots and each layout that a frame may refer to."""
        names = self.northbound.names
        serials = []
        while names.serial(len(serials) + 1):
            serials.append('"%s"' % names.serial(len(serials) + 1))
        await self._retain(generation, "meters", "[%s]" % ",".join(serials))
        number = 1
        while True:
            columns = names.columns(number)
            if not columns:
                return
            rows = ['["%s","%s",%s]' % tuple(row.split(" ")) for row in columns[1:].split("\n")]
            await self._retain(generation, "schema/%d" % number, "[%s]" % ",".join(rows))
            number += 1

    async def _retain(self, generation, name, text):
        topic = "%s/catchup/%s" % (self.root, name)
        await self.client.publish(topic, text, retain=True, generation=generation)

    async def _next(self, reader, head):
        """Return (ordinal, count, payload, fresh, place) of the next frame; None when none is left that waited.

        `place` is None, or of a frame without a time (unix ms at uptime 0, source, bound ms).
        """
        while True:
            frame = reader.read()
            if frame is None:
                return None
            kind, ordinal, count, payload, fresh = frame
            if kind != RECORDS:
                continue
            head.begin(payload)
            place = None
            began = clock.EPOCH * 100 + head.utc
            if head.source == clock.NONE:
                place = await self.dating.of(head, ordinal)
                if place is None or place[2] > _MOST:  # not known yet, or too badly
                    return None
                began = place[0] // 10 + head.uptime
            now = self._clock.now()
            if now is None or now[0] - began * 10 <= 2000 * max(self.northbound.every.values() or (60,)):
                return None
            return ordinal, count, payload, fresh, place

    async def _catch_up(self, life, generation):
        """Send what waited, from the begin of the block that holds the first record not acknowledged.

        What lies before that record in its block has the values to which the differences refer.
        """
        if self.acked < self.journal.first:
            return  # what is gone, and what an archive has of it, is told and sent as by any outlet
        head = Decoder(self.northbound.names)
        reader = self.journal.reader(self.acked)
        after = 0
        while after <= self.acked:  # is there anything?
            frame = await self._next(reader, head)
            if frame is None:
                return
            after = frame[0] + frame[1]
        await self._names(generation)
        reader = self.journal.reader(self.acked)
        buf = bytearray(_LONGEST)
        struct.pack_into("<BH", buf, 0, 1, self.northbound.epoch)
        at = _HEAD
        after = self.acked
        while True:
            life.beat()
            frame = await self._next(reader, head)
            if at > _HEAD and (frame is None or at + _FRAME + _DATED + len(frame[2]) > _LONGEST):
                message = memoryview(buf)[:at]
                await self.client.publish(self.root + "/catchup", message, token=after - 1, generation=generation)
                self._sent = max(self._sent, after)
                self.keep()
                at = _HEAD
            if frame is None:
                return
            ordinal, count, payload, fresh, place = frame
            if ordinal > after:
                self.gone(after, ordinal)  # damaged
            after = max(after, ordinal + count)
            flags = (_FRESH if fresh else 0) | (_PLACED if place else 0)
            struct.pack_into("<BIBH", buf, at, flags, ordinal, count, len(payload))
            at += _FRAME
            if place:
                offset, source, bound = place
                struct.pack_into("<HIBI", buf, at, offset >> 32, offset & 0xFFFFFFFF, source, bound)
                at += _DATED
            buf[at : at + len(payload)] = payload
            at += len(payload)
            await asyncio.sleep_ms(0)
