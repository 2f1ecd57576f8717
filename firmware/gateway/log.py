"""The firmware's one voice: `<uptime s> <level> <area>: text` on the console.

    log.info("uplink", "operator connected")

Never pass a secret or a token: a log line may be read by anybody who holds the cable.
"""
from gateway.clock import uptime_ms


def _say(level, area, text):
    ms = uptime_ms()
    print("%d.%03d %s %s: %s" % (ms // 1000, ms % 1000, level, area, text))


def info(area, text):
    """Say what went as it should."""
    _say("I", area, text)


def warn(area, text):
    """Say what went wrong and is being dealt with."""
    _say("W", area, text)


def error(area, text):
    """Say what needs a person."""
    _say("E", area, text)
