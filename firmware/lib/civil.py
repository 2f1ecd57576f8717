"""The proleptic Gregorian calendar in integers: no time zones, no `mktime`, no epoch of a port.

Days are counted as in Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (days_from_civil,
civil_from_days): years begin on 1 March, so that the leap day comes last.
"""


def unix_s(year, month, day, hour=0, minute=0, second=0):
    """Return seconds since 1970-01-01T00:00:00Z."""
    if month < 3:
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719469
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def fields(unix):
    """Return (year, month, day, hour, minute, second) of `unix` seconds."""
    days, second = divmod(unix, 86400)
    days += 719468
    era, day = divmod(days, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month += 3 if month < 10 else -9
    return era * 400 + year + (month < 3), month, day + 1, second // 3600, second // 60 % 60, second % 60


def iso(unix_ms, milliseconds):
    """Return "2026-06-22T14:30:00Z", or with `milliseconds` true "2026-06-22T14:30:00.120Z" (floored)."""
    text = "%04d-%02d-%02dT%02d:%02d:%02d" % fields(unix_ms // 1000)
    return text + ".%03dZ" % (unix_ms % 1000) if milliseconds else text + "Z"
