"""Sends records of a pole's journal again, because an outlet of the root was away: loaded when a root asks.

Batches like any others, of another kind. After so many, and at the end, all of them acknowledged, a mark says how far
that went, so that a root that loses its power asks for the rest only.
"""
import struct

from micropython import const

from gateway.batches import AGAIN
from gateway.replay import History

_MARK = const(64)  # batches


def _lost(first, after, thinned):
    """What the journal has lost meanwhile comes thinned, or shows as a gap in `seq`: docs/decisions/0014."""


class Resend:
    """From `begin` on, up to `end`, what had gone when it was asked for; `step` queues the next batch.

    `run`, two bytes, names the request; each mark bears it. It is given up when the way leads to another root: that one
    has not asked, and the one that has will ask again.
    """

    def __init__(self, pole, journal, names, dating, archive, writer, begin, end, run):
        self._run = bytes(run)
        self._pole = pole
        self._end = end
        self._root = pole.node.routes.root
        self._history = History(journal, names, dating, begin, archive, _lost)
        self._writer = writer
        self._held = None
        self._count = 0
        self._over = begin >= end

    async def step(self):
        """Queue a batch or a mark, when nothing of it is on the way; return whether that was the last."""
        root = self._pole.node.routes.root
        self._root = self._root or root
        if root not in (0, self._root):
            return True
        if self._pole.again:
            return False
        if self._over:
            self._mark(1)
            return True
        if self._count == _MARK:
            self._count = 0
            self._mark(0)
            return False
        self._count += 1
        writer = self._writer
        while True:
            record = self._held or await self._history.next()
            if not record or record.ordinal >= self._end:
                self._over = True
                break
            self._held = None
            if not writer.put(record):
                self._held = record
                break
        if writer.count:
            self._pole.cut(AGAIN, writer.take())
        return False

    def _mark(self, last):
        after = self._end if last else self._writer.after
        self._pole.cut(AGAIN, struct.pack(">HIB", self._writer.epoch, after, last) + self._run)
