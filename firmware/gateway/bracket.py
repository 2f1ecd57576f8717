"""Dates a boot that stored frames before it knew the time: needed once for such a boot.

If it learnt the time later, its next dated frame says by how much uptime and UTC differ. If it never did, the boot as a
whole lies between the last dated instant before it and the start of the next boot that knew the time; it is placed in
the middle, and the bound is half of what is left over.
"""
import asyncio

from gateway import clock
from gateway.records import RECORDS, Decoder
from gateway.replay import offset


async def search(journal, boot, ordinal):
    """Return (unix ms at uptime 0, source, bound ms, uptime ms at which that holds) of the boot of an undated frame.

    None while the journal does not tell it: only what is stored counts, because a record that is sent twice has to
    have the same time twice. `ordinal` is the frame's; what is before it gives the bracket's begin, what is after it
    the rest.
    """
    begin = clock.BUILT
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
                return _middle(begin, offset(head) + head.bound, length)
            begin = offset(head) + head.uptime * 10 - head.bound
    return None


def _middle(begin, end, length):
    spare = max(0, (end - begin - length) // 2)
    return begin + spare, clock.NONE, spare, length // 2
