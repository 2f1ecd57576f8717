"""The firmware's one voice: `<uptime s> <level> <area>: text` on the console, and the last lines kept in RAM.

    log.info("uplink", "operator connected")

Never pass a secret or a token: a log line may be read by anybody who holds the cable.
"""
from gateway.clock import uptime_ms

KEEP = 32  # lines
WIDTH = 160  # characters of a line that are kept

_kept = []
counts = {"I": 0, "W": 0, "E": 0}


def _say(level, area, text):
    ms = uptime_ms()
    line = "%d.%03d %s %s: %s" % (ms // 1000, ms % 1000, level, area, text)
    counts[level] += 1
    _kept.append(line[:WIDTH])
    if len(_kept) > KEEP:
        _kept.pop(0)
    print(line)


def info(area, text):
    """Say what went as it should."""
    _say("I", area, text)


def warn(area, text):
    """Say what went wrong and is being dealt with."""
    _say("W", area, text)


def error(area, text):
    """Say what needs a person."""
    _say("E", area, text)


def last():
    """Return the last lines, oldest first: a list of at most KEEP strings."""
    return _kept
