"""Starts one supervised task for each bus, each outlet, the recorder, network and time: needed once."""
import machine
from micropython import const

from gateway import log
from gateway.records import INFO, ONCE
from lib import once

_BUS_LIMIT_MS = const(20000)  # the longest that a task may show no life; the watchdog bites WATCHDOG_MS later
_UPLINK_LIMIT_MS = const(60000)
_TASK_LIMIT_MS = const(10000)


def start(gateway, ntp, network, password, extras):
    """Start every task of `gateway` and record that it started; what is not configured is not imported."""
    keep = gateway.health.keep
    keep("recorder", gateway.recorder.run, _TASK_LIMIT_MS)
    for bus in gateway.buses:
        keep(bus.name, bus.run, _BUS_LIMIT_MS)
    for outlet in gateway.outlets:
        if gateway.report_ms:
            outlet.gateway = gateway
        keep("link " + outlet.name, outlet.link, _UPLINK_LIMIT_MS)
        keep("uplink " + outlet.name, outlet.run, _UPLINK_LIMIT_MS)
    if gateway.archive:
        keep("archive", gateway.archive.run, _TASK_LIMIT_MS)
    if gateway.mesh:
        gateway.mesh.gateway = gateway
        gateway.mesh.start(keep)
    if network:
        once.call("gateway.ways", "start", gateway, network, password)
    if ntp:
        from gateway.timesync import TimeSync

        keep("clock", TimeSync(ntp, gateway.clock, gateway.recorder).run, _BUS_LIMIT_MS)
    if extras:
        once.call("gateway.extras", "start", gateway, extras)
    tell(gateway.recorder)


def tell(recorder):
    """Record this start; what the board cannot do is in the event, and in the log."""
    detail = {"boot": recorder.boot, "cause": machine.reset_cause()}
    lacks = once.call("gateway.data", "load", "board.json").get("cannot", ())
    for lack in lacks:
        log.info("board", "cannot %s: %s" % (lack["what"], lack["why"]))
    if lacks:
        detail["cannot"] = " ".join([lack["what"] for lack in lacks])
    recorder.event(0, "restarted", INFO, ONCE, detail)
