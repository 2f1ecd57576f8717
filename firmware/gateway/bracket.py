"""Dates a boot that stored frames before it knew the time: needed once for such a boot.

If it learnt the time later, its next dated frame says by how much uptime and UTC differ. If it never did, the boot as a
whole lies between the last dated instant before it and the start of the next boot that knew the time; it is placed in
the middle, and the bound is half of what is left over, and what the crystal may have made of the boot's length.
"""
import asyncio

from micropython import const

from gateway import clock
from gateway.records import RECORDS, Decoder
from gateway.replay import drift, offset

_HINT_MS = const(3600000)  # how far the hint of time in a block's header is trusted: it says nothing of its bound


async def search(journal, boot, ordinal, hints):
    """Return (unix ms at uptime 0, source, bound ms, uptime ms at which that holds) of the boot of an undated frame.

    None while the journal does not tell it: only what is stored counts, because a record that is sent twice has to
    have the same time twice. `ordinal` is the frame's; what is before it gives the bracket's begin, what is after it
    the rest. `hints` says whether the block headers have times: where the dated frames before the boot are overwritten,
    its first block still tells when they were.
    """
    begin = clock.BUILT
    oldest = journal.header(journal.tail)
    if hints and oldest:
        begin = max(begin, (oldest[2] + clock.EPOCH) * 1000 - _HINT_MS)
    length = 0
    head = Decoder(None)
    reader = journal.reader(journal.first)
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
                return offset(head), head.source, head.bound, head.uptime * 10
            length = head.uptime * 10
        elif head.source != clock.NONE:
            if at > ordinal:
                return _middle(begin, offset(head) + head.bound + drift(head.uptime * 10), length)
            begin = offset(head) + head.uptime * 10 - head.bound
    return None


def _middle(begin, end, length):
    spare = (end - begin - length) // 2  # less than nothing where the two ends contradict one another
    return begin + spare, clock.NONE, abs(spare) + drift(length) // 2, length // 2
