"""How an outlet, a way to the net or the clock stands, told as events: needed only when that changes."""
from gateway import log
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


def clock(recorder, now, sure):
    """Tell that the time is lost, or known again: once for each loss, though it last for several boots.

    A clock that never knew the time has none to lose. `now` is the Clock, `sure` whether it is trusted.
    """
    nvs = now.nvs
    try:
        lost = nvs.get_i32("clk_lost")
    except OSError:
        lost = 0
    if lost != sure or not lost and once.call("gateway.setting", "written_ms", now) == BUILT:
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
