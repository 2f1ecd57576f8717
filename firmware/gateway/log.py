"""The firmware's one voice: `<uptime s> <level> <area>: text` on the console.

    log.info("uplink", "operator connected")

Warnings and errors also go to the RTC's memory, which every reset but power-on leaves alone: the newest of them are
published after it (gateway/report). Never pass a secret or a token: a log line may be read by anybody who holds the
cable.
"""
import machine
from micropython import const

from gateway.clock import uptime_ms

_KEPT = const(512)  # bytes

memory = machine.RTC().memory


def _say(level, area, text):
    ms = uptime_ms()
    line = "%d.%03d %s %s: %s" % (ms // 1000, ms % 1000, level, area, text)
    print(line)
    if level != "I":
        try:
            kept = memory() + line.encode() + b"\n"
            memory(kept[kept.find(b"\n", len(kept) - _KEPT) + 1 :] if len(kept) > _KEPT else kept)
        except (MemoryError, OSError):
            pass  # the console has it


def info(area, text):
    """Say what went as it should."""
    _say("I", area, text)


def warn(area, text):
    """Say what went wrong and is being dealt with."""
    _say("W", area, text)


def error(area, text):
    """Say what needs a person."""
    _say("E", area, text)
