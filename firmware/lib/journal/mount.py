"""Finds the newest block of a journal and where everything goes on: `Journal.mount`, once. Writes nothing."""
from micropython import const

from lib.journal.block import BLOCK, HEAD, load_header
from lib.journal.cursors import CURSORS

_SLOT = const(16)  # these are of cursors.py
_MAGIC = const(0x4A43)
_VERSION = const(1)
_MARK = const(0xC5)


def mount(journal):
    """Set up a new Journal, whatever the partition contains."""
    ring = journal._ring
    for block in range(CURSORS, CURSORS + ring):
        found = load_header(journal.dev, block, journal._header)
        if found and found[5] == ring and journal.block(found[0]) == block and found[0] > journal.head:
            journal.head, journal.next, journal._t0, journal._erases, journal._boots, _ = found
    journal._boots += 1
    if journal.head >= 0:
        journal._base = journal.next
        resume(journal, _walk(journal, journal.head))
        # The block after it can have lost its header only: its records are gone, their ordinals stay given away.
        after = journal.head + 1
        if not load_header(journal.dev, journal.block(after), journal._header) and _walk(journal, after) > HEAD:
            journal.head = after
            journal.end = BLOCK
        journal._seq = journal.head
        journal._trim(max(0, journal.head + 1 - ring))
    slots(journal._cursors)
    for ordinal in journal._cursors.at.values():
        journal.next = max(journal.next, ordinal)  # what a consumer has seen is never numbered again
    if journal.head < 0:
        journal.first = journal.next


def _walk(journal, seq):
    """Count a block's records; return the offset after its last valid frame."""
    frame, base, end = journal._frame, journal.next, HEAD
    frame.seek(journal.block(seq), seq, HEAD)
    while frame.step(BLOCK):
        journal.next = max(journal.next, base + frame.first + frame.count)
        end = frame.off
    return end


def resume(journal, end):
    """Decide where the head block goes on, given the offset after its last valid frame.

    Where a program was cut, bits may read well today and badly tomorrow. A block in which traces of it are seen,
    or whose header may be it, is closed; a cut program that left no trace cannot reach into the next page.
    """
    if end > HEAD and blank(journal, journal.head, end):
        journal.end = (end | 255) + 1


def blank(journal, seq, off):
    """Return whether the block `seq` reads as erased from `off` to its end."""
    while off < BLOCK:
        part = bytearray(min(256, BLOCK - off))
        journal.dev.readblocks(journal.block(seq), part, off)
        if min(part) != 255:
            return False
        off += len(part)
    return True


def slots(cursors):
    """Find the cursors' block in force and read it."""
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
