"""How an outlet or a way to the net stands, told as events or in the status: needed only when that changes."""
from gateway import VERSION, log
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


def status(outlet, trusted, via):
    """Return the retained status of a gateway whose clock is `trusted`; `via` is its way to the net, None or ""."""
    return '{"state":"online","firmware":"%s","clock":"%s","configProblems":%d%s%s}' % (
        VERSION, "ok" if trusted else "lost", outlet._problems,
        ',"journal":"memory"' if outlet.journal.volatile else "", ',"network":"%s"' % via if via else "",
    )  # fmt: skip


def network(name, reason, recorder):
    """Tell that the way `name` to the net works, or for which `reason` it does not."""
    if reason:
        recorder.event(0, "network_down", WARN, SET, {"via": name, "reason": reason})
    else:
        recorder.event(0, "network_up", INFO, CLEAR, {"via": name})
