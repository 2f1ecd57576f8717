"""Records that do not reach an outlet, or soon will not, told as events: needed only when there are some."""
from gateway.records import CLEAR, INFO, SET, WARN
from lib import once

_GAPS = 8  # that are remembered


def gone(outlet, first, after, thinned):
    """Tell that records `first` to `after` - 1 do not reach `outlet`; of `thinned` ones the archive's do.

    What was told already, and may come again as nothing behind it was acknowledged, is left out.
    """
    told = [gap for gap in outlet._told if gap[1] > outlet.acked]
    gaps = []
    for begin, end in sorted(told) + [(after, after)]:
        if first < begin:
            gaps.append((first, min(begin, after)))
        first = max(first, end)
        if first >= after:
            break
    for begin, end in gaps:
        args = outlet._recorder, outlet.name, outlet.northbound.epoch << 32, begin, end, thinned
        once.call("gateway.events", "overrun", *args)
    outlet._told = (told + gaps)[-_GAPS:]
    outlet._recorder.commit()  # before the cursor passes them: the power may go


def near_full(outlet, recorder, near):
    """Tell that what `outlet` has not delivered fills the journal nearly, or no more."""
    severity, state = (WARN, SET) if near else (INFO, CLEAR)
    recorder.event(0, "buffer_near_full", severity, state, {"outlet": outlet.name})
