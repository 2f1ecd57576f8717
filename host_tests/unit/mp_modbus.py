"""lib/proto/modbus without a line: frames, values, plans and the rules of profiles, on 32 and 64 bits."""

import json
import random
import sys

from fake_uart import crc, frame
from lib import proto
from lib.proto import modbus
from lib.proto.modbus import rtu

WASM = True

# published captures: what goes over the wire
SDM120_REQUEST = b"\x01\x04\x00\x00\x00\x02\x71\xcb"  # Eastron's manual: voltage
SDM120_REPLY = b"\x01\x04\x04\x43\x66\x33\x34\x1b\x38"  # its reply: 230.2 V


HEAD = b"\x09\x03\x04"  # of a reply of unit 9 with two registers


def profile(rows, block=(3, 0, 20, 1), **more):
    """The smallest good profile around some rows."""
    made = {
        "v": 1, "id": "x", "n": "x", "ph": 1, "ser": ["9600N1"], "lim": [125, 1, 20, 500], "blk": [list(block)],
        "q": rows, "conf": "L",
    }  # fmt: skip
    made.update(more)
    return made


def value(name, data, scale=0, exponent=-3, **more):
    """What the registers `data` say when they are read as the type `name`."""
    row = ["1.8.0", 0, 1, name, scale, "kWh"] + ([] if exponent == -3 else [exponent])
    made = profile([row], **more)
    assert modbus.check(made) == [], modbus.check(made)
    return modbus.plan(made)[0].decode(b"\xaa\x55" + data + b"\x55" * 40)[0]


def test_a_request_is_that_of_the_manual():
    assert rtu.request(1, 4, 0, 2) == SDM120_REQUEST
    assert rtu.request(247, 3, 0xFFFE, 125) == frame(247, 3, b"\xff\xfe\x00\x7d")


def test_crc_is_that_of_the_specification():
    random.seed(1)
    for _ in range(300):
        data = bytes([random.getrandbits(8) for _ in range(random.randrange(60))])
        value = rtu.crc(data, 0, len(data))
        assert bytes((value & 255, value >> 8)) == crc(data)
        assert rtu.crc(b"xx" + data + crc(data) + b"yy", 2, len(data) + 4) == 0


def test_a_reply_is_found_at_any_offset():
    reply = frame(9, 3, 4, b"\x00\x01\x02\x03")
    request = frame(9, 3, b"\x00\x00\x00\x02")
    other = frame(8, 3, 4, b"abcd")
    for before in (b"", b"\x00", b"\x09", b"\x09\x03", b"\x09\x03\x04", request, other, reply[:8]):
        data = before + reply
        assert rtu.find(data, len(data), HEAD, 9) == len(before), before


def test_no_more_bytes_are_awaited_than_are_missing():
    reply = frame(9, 3, 4, b"\x00\x01\x02\x03")
    for before in (b"", b"\x00\x00"):
        data = before + reply
        for got in range(len(data)):
            missing = -rtu.find(data, got, HEAD, 9)
            assert 1 <= missing <= 9
            if got > len(before):
                assert missing == len(data) - got
    assert rtu.find(b"\x09\x83", 2, b"\x09\x03\xc8", 205) == -3  # an exception is short


def test_the_wrong_unit_function_length_or_crc_is_no_reply():
    good = frame(9, 3, 4, b"\x00\x01\x02\x03")
    assert rtu.find(good, len(good), HEAD, 9) == 0
    for data in (
        frame(8, 3, 4, b"\x00\x01\x02\x03"), frame(9, 4, 4, b"\x00\x01\x02\x03"), frame(9, 3, 2, b"\x00\x01"),
        frame(9, 3, 6, b"\x00\x01\x02\x03\x04\x05"), frame(9, 0x84, 2), good[:-2], b"", frame(9, 3, 4, b"\x00\x01"),
        frame(9, 3, 6, b"\x00\x01\x02\x03"),
    ):  # fmt: skip
        assert rtu.find(data, len(data), HEAD, 9) < 0, data


def test_a_damaged_reply_is_told_from_one_that_has_not_come():
    good = frame(9, 3, 4, b"\x00\x01\x02\x03")
    damaged = good[:-1] + bytes((good[-1] ^ 1,))
    for before in (b"", b"\x00", frame(8, 3, 4, b"abcd")):
        data = before + damaged
        assert rtu.find(data, len(data), HEAD, 9) is None
        assert rtu.find(data, len(data) - 1, HEAD, 9) == -1
        assert rtu.find(data + good, len(data) + 4, HEAD, 9) == -5  # the next one has begun
        assert rtu.find(data + good, len(data) + 9, HEAD, 9) == len(data)
    assert rtu.find(frame(8, 3, 4, b"abcd"), 9, HEAD, 9) == -9  # not ours


def test_the_reply_to_a_write_repeats_its_request():
    request = rtu.request(9, 5, 0x0102, 0xFF00)
    assert request == frame(9, 5, b"\x01\x02\xff\x00")
    assert rtu.find(b"\x00" + bytes(request), 9, request[:6], 8) == 1
    for function, data in ((5, b"\x01\x02\x00\x00"), (5, b"\x01\x03\xff\x00"), (6, b"\x01\x02\xff\x00")):
        assert rtu.find(frame(9, function, data), 8, request[:6], 8) < 0
    assert rtu.find(frame(9, 0x85, 3), 5, request[:6], 8) == 0


def test_an_exception_is_a_reply():
    data = frame(9, 0x83, 2)
    assert rtu.find(b"\x00" + data, 6, HEAD, 9) == 1


def test_only_what_came_is_looked_at():
    data = frame(9, 3, 4, b"\x00\x01\x02\x03")
    for got in range(len(data)):
        assert rtu.find(data, got, HEAD, 9) < 0  # the rest lies in the buffer from before


def test_every_type_is_decoded():
    for name, data, expected in (
        ("u16", b"\xff\xfe", 65534000), ("s16", b"\xff\xfe", -2000), ("s16", b"\x7f\xff", 32767000),
        ("u32", b"\x80\x00\x00\x01", 2147483649000), ("s32", b"\x80\x00\x00\x01", -2147483647000),
        ("u32w", b"\x00\x01\x80\x00", 2147483649000), ("s32w", b"\xff\xfe\xff\xff", -2000),
        ("u64", b"\x00\x0f\xff\xff\xff\xff\xff\xff", 4503599627370495000), ("s64", b"\xff" * 7 + b"\xfe", -2000),
        ("u64w", b"\x00\x04\x00\x03\x00\x02\x00\x01", 0x0001000200030004 * 1000),
        ("s64w", b"\xff\xfe\xff\xff\xff\xff\xff\xff", -2000),
        ("f32", b"\x43\x66\x33\x33", 230200), ("f32", b"\xc3\x66\x33\x33", -230200),
        ("f32w", b"\x33\x33\x43\x66", 230200),
        ("f64", b"\x40\x6c\xc6\x66\x66\x66\x66\x66", 230200), ("f64w", b"\x66\x66\x66\x66\xc6\x66\x40\x6c", 230200),
    ):  # fmt: skip
        assert value(name, data) == expected, (name, value(name, data))


def test_text_of_the_meter():
    assert value("str", b"iEM3155\x00 \x00", scale=5) == "iEM3155"
    assert value("str", b"\x00" * 10, scale=5) is None
    assert value("str", b"a\xff\x80\x01b\x00", scale=3) == "ab"


def test_scale_and_resolution():
    for name, data, scale, exponent, expected in (
        ("u16", b"\x08\xfd", -1, -3, 230100), ("u32", b"\x00\x01\xe2\x40", -2, -3, 1234560),
        ("u16", b"\x00\x05", 3, -3, 5000000), ("u16", b"\x00\x05", -4, -3, 0), ("u16", b"\x00\x0f", -4, -3, 2),
        ("u16", b"\x00\x19", -4, -3, 2), ("u16", b"\x00\x23", -4, -3, 4), ("u16", b"\x00\x02", [1, 3], -3, 667),
        ("s16", b"\xff\xff", [1, 3], -3, -333), ("u16", b"\x00\x07", [25, 2], 0, 88), ("u16", b"\x08\xfd", -1, 0, 230),
        ("u16", b"\x08\xfd", -1, -1, 2301), ("u16", b"\x30\x39", 0, 3, 12), ("u16", b"\x00\x07", -1, -6, 700000),
        ("f32", b"\x3f\x9d\xf3\xb6", 3, -3, 1234000), ("f32", b"\x44\xfa\x10\x00", -1, -3, 200050),
    ):  # fmt: skip
        assert value(name, data, scale, exponent) == expected, (name, data, scale, exponent)


def test_not_available_is_none():
    for name, data in (
        ("u16", b"\xff\xff"), ("s16", b"\x7f\xff"), ("u32", b"\xff" * 4), ("s32", b"\x7f\xff\xff\xff"),
        ("u64", b"\xff" * 8), ("s64", b"\x7f" + b"\xff" * 7), ("s32w", b"\xff\xff\x7f\xff"), ("u32w", b"\xff" * 4),
    ):  # fmt: skip
        assert value(name, data, scale=-3, inv=1) is None, name
        assert isinstance(value(name, data, scale=-6), int), name
    for name, data in (("s16", b"\xff\xff"), ("s32", b"\xff" * 4), ("s64", b"\xff" * 8)):
        assert value(name, data, inv=1) == -1000  # minus one is a value
    for name, data in (
        ("f32", b"\x7f\xc0\x00\x00"), ("f32", b"\xff\xff\xff\xff"), ("f32", b"\x7f\x80\x00\x00"),
        ("f32w", b"\x00\x00\x7f\xc0"), ("f64", b"\x7f\xf8" + b"\x00" * 6), ("f64", b"\xff\xf0" + b"\x00" * 6),
    ):  # fmt: skip
        assert value(name, data) is None, name


def test_what_has_too_many_digits_is_a_fault_of_its_point_only():
    rows = [["1.8.0", 0, 0, "f32", 0, "kWh"], ["2.8.0", 0, 2, "f32", 0, "kWh"], ["9.7.0", 0, 4, "u64", 0, "VA"]]
    batch = modbus.plan(profile(rows))[0]
    huge, good, wide = batch.decode(b"\x7f\x00\x00\x00" + b"\x3f\x80\x00\x00" + b"\xff" * 8)
    assert good == 1000
    for fault in (huge, wide):
        assert isinstance(fault, proto.Fault) and fault.kind == proto.RANGE


def test_a_plan_has_a_batch_for_each_block():
    rows = [["1.8.0", 1, 0, "u32", -2, "kWh"], ["32.7.0", 0, 3, "u16", -1, "V"], ["16.7.0", 0, 4, "s16", 0, "W", 0]]
    made = profile(rows, blk=[[4, 7, 9, 1], [3, 16384, 2, 6]], lim=[80, 1, 60, 700])
    assert modbus.check(made) == []
    first, second = modbus.plan(made)
    assert first.block() == (4, 7, 9, 1, 60, 700) and first.every == 1
    assert second.block() == (3, 16384, 2, 1, 60, 700) and second.every == 6
    assert (first.points, first.size) == ("\n32.7.0 V -3\n16.7.0 W 0", 2)
    assert (second.points, second.size) == ("\n1.8.0 kWh -3", 1)


def test_a_probe_is_as_short_as_can_be_and_as_long_as_no_block():
    for blocks, align, probes in (
        ([[3, 0, 20, 1], [3, 50, 2, 1]], 1, [1, 1]),
        ([[3, 0, 20, 1], [3, 50, 1, 1]], 1, [2, 1]),  # a block of one register has no smaller probe
        ([[3, 0, 3, 1], [3, 50, 1, 1], [3, 60, 2, 1]], 1, [3, 1, 2]),
        ([[3, 0, 20, 1], [4, 50, 1, 1]], 1, [1, 1]),  # another function is another reply
        ([[3, 0, 20, 1], [3, 50, 2, 1], [3, 60, 4, 1]], 2, [6, 2, 4]),
        ([[3, 0, 20, 1], [3, 50, 8, 1]], 4, [4, 4]),
    ):
        rows = [["1.8.%d" % i, i, 0, "u16", 0, "kWh"] for i in range(len(blocks))]
        batches = modbus.plan(profile(rows, blk=blocks, lim=[80, align, 20, 500]))
        assert [batch.block()[3] for batch in batches] == probes, blocks


def test_a_captured_reply_is_230_2_volt():
    batch = modbus.plan(profile([["32.7.0", 0, 0, "f32", 0, "V"]], (4, 0, 2, 1)))[0]
    assert rtu.find(SDM120_REPLY, 9, b"\x01\x04\x04", 9) == 0
    assert batch.decode(SDM120_REPLY[3:7]) == [230200]


def test_the_six_names_of_a_protocol():
    module = proto.load("modbus")
    assert module is modbus and module.NAME == "modbus" and module.ACTIONS == ("relay",)
    assert module.POINT.split()[0] == "obis"
    for name in ("check", "plan", "session"):
        assert callable(getattr(module, name))


def test_a_protocol_that_is_not_there_is_an_import_error():
    for name in ("dlms2", "", "modbus.rtu", "../x", "MODBUS", None, 5, ["modbus"], {}, "__pycache__"):
        try:
            proto.load(name)
        except ImportError:
            continue
        raise AssertionError(name)


def test_a_fault_tells_its_kind():
    fault = proto.Fault(proto.TIMEOUT)
    assert fault.text == "timeout" and fault.code == 0 and len(proto.NAMES) == proto.BUSY + 1
    assert proto.Fault(proto.REFUSED, 4, "exception 4").code == 4


DROP = object()

# (what is broken, the place of the change, the new value there, the path that has to be named)
BROKEN = (
    ("no version", ("v",), DROP, "v"),
    ("another version", ("v",), 3, "v"),
    ("an id with a blank", ("id",), "a b", "id"),
    ("no name", ("n",), "", "n"),
    ("four phases", ("ph",), 4, "ph"),
    ("a float", ("ph",), json.loads("1.0"), "ph"),
    ("a truth value", ("inv",), True, "inv"),
    ("an unknown key", ("block",), [], "block"),
    ("another protocol", ("proto",), "dlms", "proto"),
    ("no port", ("ser",), [], "ser"),
    ("a port without stop bits", ("ser", 1), "9600N", "ser[1]"),
    ("a strange parity", ("ser", 0), "9600X1", "ser[0]"),
    ("a strange speed", ("ser", 0), "9601N1", "ser[0]"),
    ("a port that is no text", ("ser", 0), 9600, "ser[0]"),
    ("three limits", ("lim", 3), DROP, "lim"),
    ("too many registers", ("lim", 0), 126, "lim[0]"),
    ("no time for the meter", ("lim", 3), 0, "lim[3]"),
    ("no block", ("blk",), [], "blk"),
    ("a block that is no list", ("blk", 0), 3, "blk[0]"),
    ("a writing function", ("blk", 0, 0), 16, "blk[0][0]"),
    ("a 1-based address", ("blk", 0, 1), 65536, "blk[0][1]"),
    ("an empty block", ("blk", 0, 2), 0, "blk[0][2]"),
    ("a block longer than the limit", ("blk", 0, 2), 82, "blk[0][2]"),
    ("every 0th", ("blk", 0, 3), 0, "blk[0][3]"),
    ("an odd address", ("blk", 0, 1), 1, "blk[0]"),
    ("an odd length", ("blk", 0, 2), 21, "blk[0]"),
    ("an end beyond the map", ("blk", 0, 1), 65520, "blk[0][2]"),
    ("two blocks alike", ("blk", 2), [3, 100, 20, 1], "blk[2][2]"),
    ("a block that nobody reads", ("blk", 2), [3, 100, 6, 1], "blk[2]"),
    ("no row", ("q",), [], "q"),
    ("a row that is no list", ("q", 1), "x", "q[1]"),
    ("a row without unit", ("q", 1), ["32.7.0", 0, 2, "f32", 0], "q[1]"),
    ("a row with too much", ("q", 1, 7), 0, "q[1]"),
    ("a code with a quote", ("q", 1, 0), '1"', "q[1][0]"),
    ("a code twice", ("q", 1, 0), "1.8.0", "q[1][0]"),
    ("a block that is not there", ("q", 1, 1), 2, "q[1][1]"),
    ("an odd offset", ("q", 1, 2), 3, "q[1][2]"),
    ("a row beyond its block", ("q", 1, 2), 20, "q[1]"),
    ("the last register missing", ("q", 0, 2), 18, "q[0]"),
    ("an unknown type", ("q", 1, 3), "u16w", "q[1][3]"),
    ("a factor", ("q", 1, 4), json.loads("0.1"), "q[1][4]"),
    ("a power too high", ("q", 1, 4), 10, "q[1][4]"),
    ("a division by zero", ("q", 1, 4), [1, 0], "q[1][4][1]"),
    ("half a ratio", ("q", 1, 4), [1], "q[1][4]"),
    ("a unit with a quote", ("q", 1, 5), 'V"', "q[1][5]"),
    ("a resolution too fine", ("q", 1, 6), -10, "q[1][6]"),
    ("a text longer than its block", ("q", 2, 4), 5, "q[2]"),
    ("a probe that is too short", ("probe", 0, 4), DROP, "probe[0]"),
    ("a probe of another length", ("probe", 0, 2), 2, "probe[0][2]"),
    ("a probe that accepts nothing", ("probe", 0, 4), [], "probe[0][4]"),
    ("a probe with half a range", ("probe", 0, 4), {"min": 1}, "probe[0][4].max"),
    ("a probe of a number by text", ("probe", 0, 4, "str"), "B", "probe[0][4].str"),
    ("a relay without an off", ("rly", "off"), DROP, "rly.off"),
    ("a relay that is read by 5", ("rly", "rd", 0), 5, "rly.rd[0]"),
    ("a relay written by 3", ("rly", "on", 0), 3, "rly.on[0]"),
    ("a relay that writes nothing", ("rly", "on", 2), [], "rly.on[2]"),
    ("two values by function 6", ("rly", "off", 2), [1, 1], "rly.off[2]"),
    ("a wait for ever", ("rly", "wait"), 61, "rly.wait"),
    ("a confidence of its own", ("conf",), "A", "conf"),
)


def broken_profile(place, value):
    """The good profile with one change."""
    made = part = good_profile()
    for key in place[:-1]:
        part = part[key]
    key = place[-1]
    if value is DROP:
        part.pop(key)
    elif isinstance(part, list) and key == len(part):
        part.append(value)
    else:
        part[key] = value
    return made


def good_profile():
    return {
        "v": 1, "proto": "modbus", "id": "a-1.b_2", "n": "x", "ph": 1,
        "ser": ["9600N1", "2400E2"], "lim": [80, 2, 60, 500], "blk": [[3, 0, 20, 1], [4, 100, 4, 6]],
        "q": [
            ["1.8.0", 0, 16, "u64", -2, "kWh"], ["32.7.0", 0, 2, "f32", [1, 3], "V", -1], ["x.id", 1, 0, "str", 4, ""],
        ],
        "probe": [
            [3, 17, 1, "u16", {"min": 1, "max": 2}], [3, 0, 9, "str", {"str": "B2"}], [3, 5, 2, "s32w", [-1, 70000]],
        ],
        "rly": {"rd": [3, 26, 1, "u16", [1], [0]], "on": [16, 26, [1]], "off": [6, 26, [0]], "wait": 2, "k": "output"},
        "inv": 1, "conf": "H", "note": "a note",
    }  # fmt: skip


def test_a_good_profile_has_no_problem():
    assert modbus.check(good_profile()) == [] and modbus.check(good_profile()) == []


def test_every_rule_names_the_place_that_breaks_it():
    for what, place, value, path in BROKEN:
        found = modbus.check(broken_profile(place, value))
        assert path in [problem[0] for problem in found], (what, found)
        for problem in found:
            assert isinstance(problem[1], str) and isinstance(problem[2], str) and problem[2], what


def test_one_slip_in_a_row_is_one_problem():
    for what, place, value, _ in BROKEN:
        if place[:2] == ("q", 1) and what != "a row with too much":
            found = modbus.check(broken_profile(place, value))
            assert len(found) == 1, (what, found)


def test_problems_are_all_told_at_once():
    made = good_profile()
    made["ser"][0] = "x"
    made["q"][0][3] = "u8"
    made["q"][1][4] = 99
    made["extra"] = 1
    del made["conf"]
    assert sorted([path for path, _, _ in modbus.check(made)]) == ["conf", "extra", "q[0][3]", "q[1][4]", "ser[0]"]


def test_what_is_no_profile_at_all_is_one_problem():
    for value in (None, [], "x", 5, True, json.loads("1.5")):
        assert len(modbus.check(value)) == 1
    assert len(modbus.check({})) == 9  # the required keys


def test_check_and_plan_give_their_memory_back():
    modbus.check(good_profile())
    modbus.plan(good_profile())
    for part in ("rules", "planner"):
        assert "lib.proto.modbus." + part not in sys.modules and not hasattr(modbus, part)
