"""Gives each frame of the journal its UTC, also those that were stored before the time was known.

A frame without a time belongs to a boot. If that boot learnt the time later, its next dated frame says by how much
uptime and UTC differ; if it never did, it is placed as a whole (gateway/bracket).
"""
from gateway import clock
from lib import once


def offset(head):
    """Return the unix ms at uptime 0 of the boot of a dated frame's `head` (a Decoder)."""
    return (clock.EPOCH * 100 + head.utc - head.uptime) * 10


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
            return offset(head), head.source, head.bound
        if head.boot == self._boot:
            now = self._clock.at(head.uptime * 10)
            return now and (now[0] - head.uptime * 10, self._clock.source, now[1])
        if self._known[0] != head.boot:
            found = await once.call("gateway.bracket", "search", self._journal, self._clock, head.boot, ordinal)
            if found is None:
                return None
            self._known = (head.boot, found)
        return self._known[1]
