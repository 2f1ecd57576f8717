"""Tells of a meter that falls silent and of one that answers again: needed when that happens."""
from gateway import log
from gateway.metering import MISSES
from gateway.records import CLEAR, INFO, SET, WARN
from lib import proto


def missed(bus, meter, fault):
    """Tell of one of the first polls in a row without a value."""
    if meter.misses < MISSES:
        log.warn(bus.name, "%s: %s" % (meter.serial, fault.text))
        return
    log.error(bus.name, "%s is lost: %s" % (meter.serial, fault.text))
    detail = {"misses": MISSES, "fault": proto.NAMES[fault.kind]}
    bus.recorder.event(meter.slot, "comms_lost", WARN, SET, detail)


def over(bus, meter, uptime_ms):
    """Tell that a lost meter has answered at `uptime_ms`."""
    log.info(bus.name, "%s answers again" % meter.serial)
    bus.recorder.event(meter.slot, "comms_restored", INFO, CLEAR, {"misses": meter.misses}, uptime_ms)
