"""lib/civil: the calendar of UTC in integers."""
from lib import civil

WASM = True

KNOWN = (  # unix seconds as `date -u -d ... +%s` gives them
    (0, (1970, 1, 1, 0, 0, 0)),
    (946684800, (2000, 1, 1, 0, 0, 0)),
    (951782399, (2000, 2, 28, 23, 59, 59)),
    (951782400, (2000, 2, 29, 0, 0, 0)),
    (1704067200, (2024, 1, 1, 0, 0, 0)),
    (1709251199, (2024, 2, 29, 23, 59, 59)),
    (1782138600, (2026, 6, 22, 14, 30, 0)),
    (2147483648, (2038, 1, 19, 3, 14, 8)),
    (4107542400, (2100, 3, 1, 0, 0, 0)),
)


def test_known_instants_both_ways():
    for unix, fields in KNOWN:
        assert civil.fields(unix) == fields, unix
        assert civil.unix_s(*fields) == unix, fields


def test_every_day_of_a_century_follows_the_one_before():
    lengths = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    year, month, day = 2000, 1, 1
    for days in range(36525):
        assert civil.fields(946684800 + days * 86400)[:3] == (year, month, day)
        assert civil.unix_s(year, month, day) == 946684800 + days * 86400
        leap = month == 2 and year % 4 == 0  # 2000 is one, 2100 is not reached
        day += 1
        if day > lengths[month - 1] + leap:
            day, month = 1, month + 1
        if month > 12:
            year, month = year + 1, 1


def test_iso_text():
    assert civil.iso(1782138600000, False) == "2026-06-22T14:30:00Z"
    assert civil.iso(1782138600007, True) == "2026-06-22T14:30:00.007Z"
    assert civil.iso(1782138600999, False) == "2026-06-22T14:30:00Z"
