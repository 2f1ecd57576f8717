"""Records that do not reach an outlet, or soon will not, told as events: needed only when there are some."""
from gateway.records import CLEAR, INFO, SET, WARN
from lib import once

_GAPS = 8  # that are remembered


def gone(told, acked, where, first, after, thinned):
    """Tell that records `first` to `after` - 1 do not reach an outlet; of `thinned` ones the archive's do.

    `where` is (recorder, the outlet's name, what a `seq` is above its ordinal). What was `told` already, and may come
    again as nothing behind it was acknowledged, is left out. Returns what is told now, as a list of (first, after).
    """
    told = [gap for gap in told if gap[1] > acked]
    gaps = []
    for begin, end in sorted(told) + [(after, after)]:
        if first < begin:
            gaps.append((first, min(begin, after)))
        first = max(first, end)
        if first >= after:
            break
    for begin, end in gaps:
        once.call("gateway.events", "overrun", *where, begin, end, thinned)
    where[0].commit()  # before the cursor passes them: the power may go
    return (told + gaps)[-_GAPS:]


def near_full(outlet, recorder, near):
    """Tell that what `outlet` has not delivered fills the journal nearly, or no more."""
    severity, state = (WARN, SET) if near else (INFO, CLEAR)
    recorder.event(0, "buffer_near_full", severity, state, {"outlet": outlet.name})
