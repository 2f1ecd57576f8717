"""Reads a journal's frames back in order, while others are appended. Made by `Journal.reader`."""
from lib.journal.block import BLOCK, HEAD, Frame


class Reader:
    """Starts with the block that holds `ordinal`. `lost` counts the records from `ordinal` on that are no more."""

    def __init__(self, journal, ordinal):
        self._journal = journal
        self._frame = Frame(journal.dev)
        self.start(ordinal)

    def start(self, ordinal):
        """Start anew with the block that holds `ordinal`."""
        self._expect = ordinal
        self.lost = 0
        self._enter(self._journal._last(1, ordinal), True)

    def _enter(self, seq, taken):
        """Go to a block; `taken`: what may lie before it, the ring has taken."""
        found = seq >= 0 and self._journal.header(seq)
        self._seq = seq
        self._base = found[1] if found else 0
        self._bound = -1  # the ordinal with which the next block begins, -1 not known yet
        self._fresh = True
        self._frame.seek(self._journal.block(seq), seq, HEAD if found else BLOCK)
        if taken and self._base > self._expect:
            self.lost += self._base - self._expect
            self._expect = self._base

    def read(self):
        """Return (kind, ordinal, count, payload, fresh) of the next frame, or None when there is none yet.

        `payload` is a memoryview that the next call overwrites. `fresh`: forget what earlier frames told, this is the
        first frame of its block or one before it was damaged.
        """
        journal, frame = self._journal, self._frame
        while self._seq <= journal.head:
            if self._seq < journal.tail:
                if journal.tail > journal.head:
                    break
                self._enter(journal.tail, True)
            live = self._seq == journal.head
            if not frame.step(journal.end if live else BLOCK):
                if live:
                    break
                self._enter(self._seq + 1, False)
                continue
            ordinal = self._base + frame.first
            after = ordinal + frame.count
            if after > (journal.next if live else self._next_block()):
                continue  # its program was cut, it read as damaged then, and its ordinals were given away
            if ordinal > self._expect:
                self.lost += ordinal - self._expect
                journal.stats["lost"] += 1
            self._expect = max(self._expect, after)
            fresh = self._fresh or frame.bad
            self._fresh = frame.bad = False
            return frame.kind, ordinal, frame.count, frame.payload, fresh
        return None

    def _next_block(self):
        """Return the ordinal at which the block after this one begins: nothing in this one counts from there on."""
        seq = self._seq
        while self._bound < 0:
            seq += 1
            found = self._journal.header(seq)
            if found:
                self._bound = found[1]
            elif seq >= self._journal.head:
                self._bound = self._journal.next
        return self._bound
