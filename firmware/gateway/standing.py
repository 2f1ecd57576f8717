"""How an outlet or a way to the net stands, told as events: needed only when that changes."""
from gateway import log
from gateway.records import CLEAR, INFO, SET, WARN

_LONGEST = 120  # characters of a reason: an event has to fit into a frame


def tell(outlet, recorder, state, before):
    """Tell that the state of the client of `outlet` is `state` now; return why it is refused, "" when it is not.

    `before` is what this returned last. A connection that is merely lost comes and goes, and is no event.
    """
    text = state
    if state == "lost":
        text = "lost " + outlet.client.error
    log.info("uplink", "%s: %s" % (outlet.name, text))
    if state.startswith("refused"):
        why = state[9:][:_LONGEST]
        if why != before:
            recorder.event(0, "uplink_refused", WARN, SET, {"outlet": outlet.name, "reason": why})
        return why
    if state == "connected" and before:
        recorder.event(0, "uplink_restored", INFO, CLEAR, {"outlet": outlet.name})
        return ""
    return before


def near_full(outlet, recorder, near):
    """Tell that what `outlet` has not delivered fills the journal nearly, or no more."""
    severity, state = (WARN, SET) if near else (INFO, CLEAR)
    recorder.event(0, "buffer_near_full", severity, state, {"outlet": outlet.name})


def network(name, reason, recorder):
    """Tell that the way `name` to the net works, or for which `reason` it does not."""
    if reason:
        recorder.event(0, "network_down", WARN, SET, {"via": name, "reason": reason})
    else:
        recorder.event(0, "network_up", INFO, CLEAR, {"via": name})
