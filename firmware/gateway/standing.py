"""How an outlet, a way to the net or the clock stands, told as events: needed only when that changes."""
from gateway import VERSION, log
from gateway.clock import BUILT, SOURCES
from gateway.records import CLEAR, INFO, SET, WARN
from lib import once

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


def gone(outlet, first, after, thinned):
    """Tell once that records `first` to `after` - 1 do not reach `outlet`; of `thinned` ones the archive's do."""
    first = max(first, outlet._told)
    if after > first:
        outlet._told = after
        args = outlet._recorder, outlet.name, outlet.northbound.epoch << 32, first, after, thinned
        once.call("gateway.events", "overrun", *args)


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


def clock(recorder, now):
    """Tell that the time is lost, or known again: once for each loss, though it last for several boots.

    A clock that never knew the time has none to lose. `now` is the Clock, `recorder.sure` whether it is trusted.
    """
    nvs, sure = now.nvs, recorder.sure
    if once.call("gateway.setting", "lost", nvs) != sure:
        return
    if not sure and once.call("gateway.setting", "written_ms", now) == BUILT:
        return
    known = now.now()
    detail = {"source": SOURCES[now.source]}
    if known:
        detail["boundMs"] = known[1]
    recorder.event(0, "clock_lost", *((INFO, CLEAR) if sure else (WARN, SET)), detail)
    try:
        nvs.set_i32("clk_lost", 0 if sure else 1)
        nvs.commit()
    except OSError as error:
        log.error("clock", "NVS: %r" % error)
