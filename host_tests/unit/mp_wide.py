"""Format v 2 of a Modbus profile: counters in two parts, signs in other registers, transformer ratios."""

import json
import sys

from lib import proto
from lib.proto import modbus

WASM = True


def profile(rows, blocks=((3, 0, 20, 1),), **more):
    """The smallest good profile of format v 2 around some rows."""
    made = {
        "v": 2, "id": "x", "n": "x", "ph": 1, "ser": ["9600N1"], "lim": [125, 1, 20, 500],
        "blk": [list(block) for block in blocks], "q": rows, "conf": "L",
    }  # fmt: skip
    made.update(more)
    assert modbus.check(made) == [], modbus.check(made)
    return made


def words(*values):
    data = bytearray(40)
    for i, value in enumerate(values):
        data[2 * i : 2 * i + 2] = (value & 0xFFFF).to_bytes(2, "big")
    return bytes(data)


def one(row, data, **more):
    """The value of one row."""
    return modbus.plan(profile([row], **more))[0].decode(data)[0]


def test_the_words_of_a_counter_need_not_be_neighbours():
    """Deye's total import: the low word in 78, the high one in 80."""
    row = ["1.8.0", 0, 6, "u16", -1, "kWh", -3, {"plus": [8, "u16", [65536, 10]]}]
    for low, high, expected in (
        (0, 0, 0), (1234, 0, 123400), (65535, 0, 6553500), (0, 1, 6553600), (65535, 65535, 429496729500),
    ):  # fmt: skip
        assert one(row, words(9, 9, 9, 9, 9, 9, low, 5000, high)) == expected, (low, high)


def test_kilowatt_hours_and_the_rest_in_watt_hours_are_one_value():
    row = ["1.8.0", 0, 0, "u32", 0, "kWh", -3, {"plus": [2, "u16", -3]}]
    assert one(row, words(1, 2, 999)) == 65538999
    assert one(["1.8.0", 0, 0, "u32w", 0, "kWh", -3, {"plus": [2, "u16", -3]}], words(2, 1, 999)) == 65538999


def test_the_sum_is_rounded_once_half_even():
    row = ["1.8.0", 0, 0, "u16", [1, 3], "kWh", 0, {"plus": [1, "u16", [1, 6]]}]
    for first, second, expected in ((1, 1, 0), (1, 0, 0), (0, 3, 0), (1, 2, 1), (3, 3, 2), (4, 1, 2), (4, 7, 2)):
        assert one(row, words(first, second)) == expected, (first, second)


def test_a_counter_in_two_parts_is_absent_when_both_parts_say_so():
    row = ["1.8.0", 0, 0, "u16", -1, "kWh", -3, {"plus": [1, "u16", [65536, 10]]}]
    assert one(row, words(0xFFFF, 0xFFFF), inv=1) is None
    assert one(row, words(0xFFFF, 1), inv=1) == 13107100
    assert one(row, words(1, 0xFFFF), inv=1) == 100 + 6553600 * 0xFFFF
    assert one(row, words(0xFFFF, 0xFFFF)) == 429496729500


def test_the_sign_may_stand_in_another_register():
    row = ["16.7.0", 0, 0, "u32", 0, "W", -3, {"sign": [4, 2]}]
    for flags, expected in ((0, 70000000), (1, 70000000), (2, -70000000), (3, -70000000), (0xFFFF, -70000000)):
        assert one(row, words(1, 4464, 0, 0, flags)) == expected, flags
    row = ["16.7.0", 0, 0, "f32", 0, "W", -3, {"sign": [4, 1]}]
    assert one(row, b"\x43\x66\x33\x33" + words(0, 0, 1)[:36]) == -230200


def test_a_counter_that_runs_backwards_below_zero_has_its_own_sign_bit_as_sign():
    """Carlo Gavazzi ET112 gives exported energy as a negative number, its sisters as a positive one."""
    row = ["2.8.0", 0, 0, "s32w", -1, "kWh", -3, {"sign": [1, 32768]}]
    assert one(row, words(-1234, -1)) == 123400
    assert one(row, words(1234, 0)) == 123400
    assert one(row, words(0xFFFF, 0x7FFF), inv=1) is None


SCALED = [
    ["31.7.0", 0, 0, "u16", -2, "A"],
    ["32.7.0", 0, 1, "u16", -1, "V"],
    ["16.7.0", 0, 2, "s16", 0, "W"],
    ["1.8.0", 0, 4, "u16", -1, "kWh", -3, {"plus": [5, "u16", [65536, 10]], "sign": [6, 1]}],
    ["14.7.0", 0, 3, "u16", -2, "Hz"],
]
DATA = words(123, 2301, -40, 5000, 7, 1)


def test_without_a_configured_ratio_values_are_what_the_registers_say():
    plain = modbus.plan(profile(SCALED, ratio={"ct": "", "pt": ""}))[0].decode(DATA)
    assert plain == [1230, 230100, -40000, 6554300, 50000]


def test_configured_ratios_scale_what_the_profile_names_and_nothing_else():
    made = profile(SCALED, ratio={"ct": "", "pt": ""})
    made["ratio"] = {"ct": [200, 5], "pt": [11000, 110]}
    assert modbus.plan(made)[0].decode(DATA) == [49200, 23010000, -160000000, 26217200000, 50000]


def test_a_row_may_say_by_which_ratios_it_is_scaled():
    rows = [["16.7.0", 0, 0, "u16", 0, "W", -3, {"by": ["pt"]}], ["x.bv", 0, 0, "u16", 0, "V", -3, {"by": []}]]
    made = profile(rows + [["31.7.0", 0, 0, "u16", 0, "A"]], ratio={"ct": "", "pt": ""})
    made["ratio"] = {"ct": [200, 5], "pt": [2, 1]}
    assert modbus.plan(made)[0].decode(words(7)) == [14000, 7000, 280000]


def test_power_and_energy_of_every_kind_take_both_ratios():
    for unit, factor in (
        ("W", 6), ("kW", 6), ("var", 6), ("kvar", 6), ("VA", 6), ("kVA", 6), ("Wh", 6), ("kWh", 6), ("kvarh", 6),
        ("kVAh", 6), ("A", 3), ("V", 2), ("", 1), ("Hz", 1), ("%", 1), ("C", 1),
    ):  # fmt: skip
        made = profile([["a", 0, 0, "u16", 0, unit], ["b", 0, 0, "u16", 0, "kW"]], ratio={"ct": "", "pt": ""})
        made["ratio"] = {"ct": [3, 1], "pt": [2, 1]}
        assert modbus.plan(made)[0].decode(words(1)) == [1000 * factor, 6000], unit


def test_a_ratio_that_is_no_whole_number_is_exact_until_the_one_rounding():
    made = profile(SCALED[:1], ratio={"ct": ""})
    made["ratio"] = {"ct": [100, 3]}
    assert modbus.plan(made)[0].decode(words(1)) == [333]
    made["ratio"] = {"ct": [5, 4]}
    assert modbus.plan(made)[0].decode(words(1)) == [12]  # 12.5
    assert modbus.plan(made)[0].decode(words(3)) == [38]  # 37.5


RATIO_ROWS = [["0.4.2", 0, 0, "u16", 0, ""], ["0.4.3", 0, 1, "u16", -1, ""]]
LATER = [[row[0], 1] + row[2:] for row in SCALED]
BLOCKS = ((3, 0, 2, 60), (3, 100, 20, 1))


def test_ratios_are_read_from_the_meter_and_kept_between_the_reads():
    ratios, values = modbus.plan(profile(RATIO_ROWS + LATER, BLOCKS, ratio={"ct": "0.4.2", "pt": "0.4.3"}))
    unknown = values.decode(DATA)
    assert [value.kind for value in unknown[:4]] == [proto.ABSENT] * 4 and unknown[4] == 50000
    assert ratios.decode(words(40, 15)) == [40000, 1500]
    assert values.decode(DATA) == [49200, 345150, -2400000, 393258000, 50000]
    assert values.decode(DATA) == [49200, 345150, -2400000, 393258000, 50000]
    assert ratios.decode(words(80, 15))[0] == 80000
    assert values.decode(DATA)[0] == 98400


def test_a_ratio_of_nothing_scales_nothing():
    ratios, values = modbus.plan(profile(RATIO_ROWS + LATER, BLOCKS, inv=1, ratio={"ct": "0.4.2", "pt": "0.4.3"}))
    for data in (words(0, 10), words(0xFFFF, 10)):
        ratios.decode(data)
        assert [isinstance(value, proto.Fault) for value in values.decode(DATA)] == [True, False, True, True, False]


def test_a_configured_ratio_stands_before_the_meters_own():
    made = profile(RATIO_ROWS + LATER, BLOCKS, ratio={"ct": "0.4.2", "pt": "0.4.3"})
    made["ratio"] = {"ct": [10, 1], "pt": [1, 1]}
    batches = modbus.plan(made)
    assert batches[1].decode(DATA)[0] == 12300
    assert batches[0].decode(words(40, 15)) == [40000, 1500]
    assert batches[1].decode(DATA)[0] == 12300


def test_two_plans_of_a_profile_share_no_ratio():
    made = profile(RATIO_ROWS + LATER, BLOCKS, ratio={"ct": "0.4.2", "pt": "0.4.3"})
    one, other = modbus.plan(made), modbus.plan(made)
    one[0].decode(words(2, 10))
    other[0].decode(words(3, 10))
    assert one[1].decode(DATA)[0] == 2460 and other[1].decode(DATA)[0] == 3690


def test_what_has_too_many_digits_is_a_fault():
    row = ["1.8.0", 0, 0, "u32", 9, "kWh", -9, {"plus": [2, "u32", 9]}]
    assert one(row, words(0xFFFF, 0xFFFF)).kind == proto.RANGE


def test_only_a_profile_that_needs_it_brings_the_module():
    sys.modules.pop("lib.proto.modbus.wide", None)
    modbus.plan(profile([["1.8.0", 0, 0, "u32", 0, "kWh"]]))
    assert "lib.proto.modbus.wide" not in sys.modules


def good():
    made = profile(
        RATIO_ROWS + LATER + [["2.8.0", 1, 8, "u32", 0, "kWh", -3, {"plus": [10, "u16", -3], "sign": [11, 1]}],
                             ["x.a", 1, 9, "u16", 0, "Hz", -3, {"by": ["ct"]}]],
        BLOCKS, ratio={"ct": "0.4.2", "pt": "0.4.3"}, own=[3, 900, 5, "u32"],
    )  # fmt: skip
    return json.loads(json.dumps(made))


# (what is broken, the place of the change, the new value there, the path that has to be named)
BROKEN = (
    ("more in v 1", ("v",), 1, "q[7]"),
    ("ratios in v 1", ("v",), 1, "ratio"),
    ("a ratio of something else", ("ratio", "x"), "0.4.2", "ratio.x"),
    ("a ratio of no row", ("ratio", "ct"), "0.4.9", "ratio.ct"),
    ("a ratio that is a number", ("ratio", "ct"), 40, "ratio.ct"),
    ("a ratio that is scaled itself", ("ratio", "ct"), "31.7.0", "ratio.ct"),
    ("ratios that are no object", ("ratio",), [], "ratio"),
    ("a ratio that is not named", ("ratio",), {"pt": "0.4.3"}, "q[8][7].by"),
    ("an own number in v 1", ("v",), 1, "own"),
    ("an own number that is no list", ("own",), 900, "own"),
    ("an own number without type", ("own",), [3, 900, 2], "own"),
    ("an own number by function 6", ("own", 0), 6, "own[0]"),
    ("an own number nowhere", ("own", 1), 65536, "own[1]"),
    ("an own number that ends nowhere", ("own", 1), 65533, "own[2]"),
    ("half an own number", ("own", 2), 1, "own[2]"),
    ("an own number that is a float", ("own", 3), "f32", "own[3]"),
    ("an own number as long as a block", ("own", 2), BLOCKS[1][2], "own[2]"),
    ("an own number longer than a read", ("own", 2), 126, "own[2]"),
    ("an own number that is a row too", ("q", 0, 0), "0.0.96.1.1.255", "q[0][0]"),
    ("a row that ends early", ("q", 3), ["31.7.0"], "q[3]"),
    ("a unit that is a number", ("q", 3, 5), 5, "q[3][5]"),
    ("an unknown more", ("q", 7, 7, "minus"), [1], "q[7][7].minus"),
    ("a more that is a list", ("q", 7, 7), [], "q[7][7]"),
    ("two parts of a float", ("q", 7, 3), "f32", "q[7][7].plus"),
    ("two parts of a text", ("q", 7, 3), "str", "q[7][7]"),
    ("half a part", ("q", 7, 7, "plus"), [10, "u16"], "q[7][7].plus"),
    ("a part of 64 bits", ("q", 7, 7, "plus", 1), "u64", "q[7][7].plus[1]"),
    ("a part without scale", ("q", 7, 7, "plus", 2), [1, 0], "q[7][7].plus[2][1]"),
    ("a part of a great scale", ("q", 7, 7, "plus", 2), 12, "q[7][7].plus[2]"),
    ("a part beyond its block", ("q", 7, 7, "plus", 0), 20, "q[7][7].plus"),
    ("a sign beyond its block", ("q", 7, 7, "sign", 0), 20, "q[7][7].sign"),
    ("a sign of no bit", ("q", 7, 7, "sign", 1), 0, "q[7][7].sign[1]"),
    ("a sign without mask", ("q", 7, 7, "sign"), [11], "q[7][7].sign"),
    ("a ratio twice", ("q", 8, 7, "by"), ["ct", "ct"], "q[8][7].by"),
    ("a ratio of no kind", ("q", 8, 7, "by"), ["vt"], "q[8][7].by[0]"),
    ("ratios that are no list", ("q", 8, 7, "by"), "ct", "q[8][7].by"),
)


def test_every_rule_names_the_place_that_breaks_it():
    for what, place, value, path in BROKEN:
        made = part = good()
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        found = modbus.check(made)
        assert path in [problem[0] for problem in found], (what, found)
        for problem in found:
            assert isinstance(problem[1], str) and isinstance(problem[2], str) and problem[2], what


def test_a_ratio_that_is_read_after_its_values_is_refused():
    rows = [["0.4.2", 1, 0, "u16", 0, ""], ["31.7.0", 0, 0, "u16", -2, "A"]]
    made = dict(good(), q=rows, ratio={"ct": "0.4.2"})
    assert [path for path, _, _ in modbus.check(made)] == ["q[1]"]


def test_a_ratio_that_scales_nothing_is_refused():
    rows = [["0.4.2", 0, 0, "u16", 0, ""], ["32.7.0", 1, 0, "u16", -2, "V"]]
    made = dict(good(), q=rows, ratio={"ct": "0.4.2"})
    assert [path for path, _, _ in modbus.check(made)] == ["ratio.ct"]


def test_the_own_number_is_read_only_when_it_is_asked_for():
    for kind, data, number in (
        ("u32", b"\x01\x45\xb6\x4e", 21345870), ("u32w", b"\xb6\x4e\x01\x45", 21345870),
        ("str", b"\0B\0X\0 1\0\0", "BX 1"), ("str", b"\0\0\0\0\0\0", None),
    ):  # fmt: skip
        made = dict(good(), own=[4, 900, 4, kind])
        assert modbus.check(made) == []
        plain = modbus.plan(made)
        made["own"].append(7)
        batches = modbus.plan(made)
        assert [batch.block() for batch in batches[:-1]] == [batch.block() for batch in plain]
        own = batches[-1]
        assert own.points == "\n0.0.96.1.1.255 text 0" and own.every == 7
        assert own.block()[:3] == (4, 900, 4) and own.decode(data + bytes(8)) == [number]


def test_check_and_plan_give_their_memory_back():
    modbus.plan(good())
    for part in ("rules", "widerules", "planner"):
        assert "lib.proto.modbus." + part not in sys.modules and not hasattr(modbus, part)
