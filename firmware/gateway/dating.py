"""Gives each frame of the journal its UTC, also those that were stored before the time was known.

A frame without a time belongs to a boot. If that boot learnt the time later, its next dated frame says by how much
uptime and UTC differ. If it never did, the boot as a whole lies between the last dated instant before it and the start
of the next boot that knew the time; it is placed in the middle, and the bound is half of what is left over.
"""
import asyncio

from gateway import clock
from gateway.records import RECORDS, Decoder


class Dating:
    """Finds the offset (unix ms at uptime 0) of a boot. Boots that are over are looked up once."""

    def __init__(self, journal, now, boot):
        self._journal = journal
        self._clock = now
        self._boot = boot
        self._known = (0, None)  # the last boot asked for: (boot, its answer)

    async def of(self, head, ordinal):
        """Return (unix ms at uptime 0, source, bound ms) for the frame with `head` (a Decoder) at `ordinal`.

        None while the time of its boot cannot be known yet: the frame has to wait.
        """
        if head.source != clock.NONE:
            return _offset(head), head.source, head.bound
        if head.boot == self._boot:
            now = self._clock.at(head.uptime * 10)
            return now and (now[0] - head.uptime * 10, self._clock.source, now[1])
        if self._known[0] != head.boot:
            found = await self._search(head.boot, ordinal)
            if found is None:
                return None
            self._known = (head.boot, found)
        return self._known[1]

    async def _search(self, boot, ordinal):
        """Walk the journal: what is before `ordinal` gives the bracket's begin, what is after it the rest."""
        begin = clock.BUILT
        length = 0
        head = Decoder(None)
        reader = self._journal.reader(self._journal.first)
        while True:
            frame = reader.read()
            if frame is None:
                break
            kind, at, _, payload, fresh = frame
            if fresh:
                await asyncio.sleep_ms(0)
            if kind != RECORDS:
                continue
            try:
                head.begin(payload)
            except (IndexError, ValueError):
                continue
            if head.boot == boot:
                if head.source != clock.NONE:
                    return _offset(head), head.source, head.bound
                length = head.uptime * 10
            elif head.source != clock.NONE:
                if at > ordinal:
                    return _middle(begin, _offset(head), length)
                begin = _offset(head) + head.uptime * 10
        now = self._clock.now()
        return now and _middle(begin, now[0] - clock.uptime_ms(), length)


def _offset(head):
    return (clock.EPOCH * 100 + head.utc - head.uptime) * 10


def _middle(begin, end, length):
    spare = max(0, (end - begin - length) // 2)
    return begin + spare, clock.NONE, spare
