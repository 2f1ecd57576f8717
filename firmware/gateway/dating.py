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
    """Finds the offset (unix ms at uptime 0) of a boot; each is looked up once."""

    def __init__(self, journal, now, boot):
        self._journal = journal
        self._clock = now
        self._boot = boot
        self._known = (0, (0, 0, 0, 0))  # the last boot asked for: (boot, its answer)

    async def of(self, head, ordinal):
        """Return (unix ms at uptime 0, source, bound ms) for the frame with `head` (a Decoder) at `ordinal`.

        None while the time of its boot cannot be known yet: the frame has to wait.
        """
        if head.source != clock.NONE:
            return offset(head), head.source, head.bound
        ours = head.boot == self._boot
        if self._known[0] != head.boot:
            if ours and self._clock.source == clock.NONE:
                return None
            found = await once.call("gateway.bracket", "search", self._journal, self._clock, head.boot, ours, ordinal)
            if found is None:
                return None
            self._known = (head.boot, found)
        start, source, bound, at = self._known[1]
        return start, source, bound + abs(head.uptime * 10 - at) * clock.CRYSTAL_PPM // 1000000 + 1
