"""Stands in for the chip's `time`: whole seconds, tuples of eight, no time zones, the time of day that of the RTC.

The epoch is 2000 with MESHEMS_EPOCH=2000, as on the chip, and else the desktop's 1970. The clock is the host's
plus the offset kept in flash/rtc.json; without that file it is a chip after power-on: 2000-01-01 and running.
Ticks and sleeps are the built-in ones: their period is 2**62, not the chip's 2**30.
"""
import sys

_path = sys.path
sys.path = ()  # so that these find the built-in module and not this file
try:
    from time import *  # noqa: F403
    from time import gmtime as _host_gmtime
    from time import time_ns as _host_ns
finally:
    sys.path = _path

import json  # noqa: E402
import os  # noqa: E402

import desktop  # noqa: E402

del clock  # noqa: F821  the chip has none
_2000 = 946684800  # unix seconds
_epoch = _2000 if os.getenv("MESHEMS_EPOCH") == "2000" else 0


def _kept_us():
    try:
        with open("flash/rtc.json") as file:
            return json.load(file)["offset_us"]
    except OSError:
        return _2000 * 1000000 - _host_ns() // 1000


_offset_us = _kept_us()


def _clock_us():
    """Return the RTC's time in microseconds since 1970."""
    return _host_ns() // 1000 + _offset_us


def _set_clock_us(us):
    global _offset_us
    _offset_us = us - _host_ns() // 1000
    desktop.save(desktop.flash("rtc.json"), json.dumps({"offset_us": _offset_us}))


def _fields(unix_s):
    """Return (year, month, day, hour, minute, second, weekday from Monday = 0, day of the year from 1)."""
    return _host_gmtime(unix_s)[:8]


def _unix_s(year, month, day, hour, minute, second):
    """Return the unix seconds of a UTC date; fields beyond their range carry over, as on the chip."""
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    year -= month <= 2  # years begin in March: the leap day is their last
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return days * 86400 + hour * 3600 + minute * 60 + second


def time():
    """Return the seconds since the epoch: an int, as on the chip."""
    return _clock_us() // 1000000 - _epoch


def time_ns():
    """Return the nanoseconds since the epoch, in steps of a microsecond."""
    return (_clock_us() - _epoch * 1000000) * 1000


def gmtime(seconds=None):
    """Return the 8-tuple of `seconds` since the epoch, or of now."""
    return _fields((time() if seconds is None else seconds) + _epoch)


localtime = gmtime


def mktime(date):
    """Return the seconds since the epoch of a tuple of 8 or 9: UTC."""
    if len(date) not in (8, 9):
        raise TypeError("mktime needs a tuple of length 8 or 9")
    return _unix_s(*date[:6]) - _epoch
