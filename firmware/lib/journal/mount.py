"""Finds the newest block of a journal and where everything goes on: `Journal.mount`, once. Writes nothing.

Where the ring has gone round, its newest block is found by bisection: 8 MB take some 45 reads instead of 2,040.
"""
from micropython import const

from lib.journal.block import BLOCK, HEAD, Frame, load_header
from lib.journal.cursors import CURSORS

_SLOT = const(16)  # these are of cursors.py
_MAGIC = const(0x4A43)
_VERSION = const(1)
_MARK = const(0xC5)
_PAGE = const(1024)  # bytes that a mount reads at once
_BEGIN = const(254)  # the cursor before which nothing counts, neither blocks nor other cursors
_HOLES = const(4)  # unreadable blocks side by side that worn flash leaves at most, the one erased ahead included
_FURTHER = const(8)  # blocks behind the newest one that are looked at


class _Pages:
    """A device that is read by pages: a walk over short frames or slots costs four reads a block."""

    def __init__(self, dev):
        self._dev = dev
        self._page = memoryview(bytearray(_PAGE))
        self._at = -1

    def readblocks(self, block, buf, off):
        done = 0
        while done < len(buf):
            at = block * BLOCK + off + done
            if at // _PAGE != self._at:
                self._at = at // _PAGE
                self._dev.readblocks(block, self._page, (off + done) & -_PAGE)
            part = self._page[at % _PAGE :][: len(buf) - done]
            buf[done : done + len(part)] = part
            done += len(part)


def mount(journal):
    """Set up a new Journal, whatever the partition contains."""
    ring = journal._ring
    pages = _Pages(journal.dev)
    found = _bisect(journal) or scan(journal)
    if found:
        journal.head, journal.next, journal._t0, journal._erases, journal._boots, _ = found
    journal._boots += 1
    if journal.head >= 0:
        journal._base = journal.next
        resume(journal, pages, _walk(journal, pages, journal.head))
        # The block after it can have lost its header only: its records are gone, their ordinals stay given away.
        after = journal.head + 1
        block = journal.block(after)
        if not load_header(journal.dev, block, journal._header) and _walk(journal, pages, after) > HEAD:
            journal.head = after
            journal.end = BLOCK
        journal._seq = journal.head
        journal._trim(max(0, journal.head + 1 - ring))
    slots(journal._cursors, pages)
    for ordinal in journal._cursors.at.values():
        journal.next = max(journal.next, ordinal)  # what a consumer has seen is never numbered again
    if journal.head < 0:
        journal.first = journal.next
    _begin(journal, journal._cursors.at)


def give_up(journal):
    """Let the journal begin anew, at `next`, for this mount and all later ones: its cursors are gone too.

    Return the first and the last ordinal that a consumer with a cursor has not seen, or that were there.
    """
    at = journal._cursors.at
    gone = min(max(journal.first, min(at.values() or (0,))), journal.next - 1), journal.next - 1
    journal.put(_BEGIN, journal.next)
    _begin(journal, at)
    return gone


def _begin(journal, cursors):
    """Leave out what lies before the cursor _BEGIN; a head block that does is closed."""
    ordinal = cursors.get(_BEGIN, 0)
    for cursor in list(cursors):
        if cursors[cursor] < ordinal:
            del cursors[cursor]
    if journal.first < ordinal:
        journal._trim(journal._last(1, ordinal - 1) + 1)
        if journal.tail > journal.head:
            journal.end = BLOCK


def _place(journal, place):
    """Return the header of the block that lies in this place of the ring, or None."""
    ring = journal._ring
    found = load_header(journal.dev, CURSORS + place, journal._header)
    return found if found and found[5] == ring and found[0] % ring == place else None


def scan(journal):
    """Return the header with the highest number, all of them read; None in an empty ring."""
    newest = None
    for place in range(journal._ring):
        found = _place(journal, place)
        if found and (not newest or found[0] > newest[0]):
            newest = found
    return newest


def _bisect(journal):
    """Return what `scan` does, from few reads; None in any doubt, and before the ring has gone round once.

    From the first place on lie the blocks of this round, up to the newest one, then those of the round before. Blocks
    that could not be written are passed over with their numbers: they read as nothing, or as of an older round.
    """
    ring = journal._ring
    for low in range(_HOLES):
        newest = _place(journal, low)
        if newest:
            break
    if not newest or newest[0] < ring:
        return None
    first, high = newest[0] - low, ring
    while high - low > 1:
        middle = place = (low + high) // 2
        found = _place(journal, place)
        while not found and place + 1 < high:
            place += 1
            if place - middle == _HOLES:
                return None
            found = _place(journal, place)
        if found and found[0] == first + place:
            low, newest = place, found
        elif not found or found[0] == first + place - ring:
            high = middle
        else:
            return None
    holes = 0
    for seq in range(newest[0] + 1, newest[0] + 1 + _FURTHER):
        found = _place(journal, seq % ring)
        holes += not found
        if holes > _HOLES or found and found[0] > newest[0]:
            return None
    return newest


def _walk(journal, pages, seq):
    """Count a block's records; return the offset after its last valid frame."""
    frame, base, end = Frame(pages), journal.next, HEAD
    frame.seek(journal.block(seq), seq, HEAD)
    while frame.step(BLOCK):
        journal.next = max(journal.next, base + frame.first + frame.count)
        end = frame.off
    return end


def resume(journal, pages, end):
    """Decide where the head block goes on, given the offset after its last valid frame.

    Where a program was cut, bits may read well today and badly tomorrow. A block in which traces of it are seen,
    or whose header may be it, is closed; a cut program that left no trace cannot reach into the next page.
    """
    if end > HEAD and blank(pages, journal.block(journal.head), end):
        journal.end = min(BLOCK, (end | 255) + 1)


def blank(dev, block, off):
    """Return whether a block reads as erased from `off` to its end."""
    while off < BLOCK:
        part = bytearray(min(256, BLOCK - off))
        dev.readblocks(block, part, off)
        if min(part) != 255:
            return False
        off += len(part)
    return True


def slots(cursors, pages):
    """Find the cursors' block in force and read it."""
    dev, cursors.dev = cursors.dev, pages
    try:
        _slots(cursors)
    finally:
        cursors.dev = dev


def _slots(cursors):
    count = 0
    for block in range(CURSORS):
        magic, version, seq = cursors.load(block, 0, 0)
        if magic == _MAGIC and version & 255 == _VERSION and seq % CURSORS == block and seq > cursors.seq:
            cursors.seq, count = seq, version >> 8
    if cursors.seq < 0:
        return
    off = end = _SLOT
    while off < BLOCK:
        mark, _, ordinal = cursors.load(cursors.seq, off, cursors.seq)
        if mark & 255 == _MARK:
            cursors.at[mark >> 8] = ordinal
        elif min(cursors.slot) == 255:
            off = (off | 255) + 1  # a session ended here, the next one began at a new page
            continue
        off += _SLOT
        end = off
    # A block with nothing behind its snapshot: its header may be what a power cut tore, and read well once only.
    if end > _SLOT + count * _SLOT:
        cursors.end = (end | 255) + 1
