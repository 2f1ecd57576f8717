"""What is on the simulated line, to the microsecond: on virtual time there is nothing to be tolerated."""

import pytest
from pymodbus.framer.rtu import FramerRTU

from meshems import paths
from meshems.sim import spec, timing
from meshems.sim.uart import Settings, Uart
from meshems.sim.virtual import VirtualLine

ONE = {"serial": "SN-1", "address": 1, "profile": "eastron-sdm120"}
TWO = {"serial": "SN-2", "address": 2, "profile": "chint-ddsu666"}
CHAR = 10e6 / 9600
TURN = 20_000


def sealed(*body):
    frame = bytes(body)
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


READ = sealed(1, 4, 0, 0, 0, 32)  # 69 bytes come back
OTHER = sealed(2, 3, 0x20, 0, 0, 2)  # 9 bytes


class Bus:
    """A line in virtual time, its log, and what arrived: [(us, byte), ...]."""

    def __init__(self, *faults, units=(ONE, TWO), settings=None, turnaround_ms=20):
        said = {"units": [dict(unit) for unit in units], "faults": [dict(one) for one in faults]}
        loaded = spec.load({**said, "jitter_ms": 0, "turnaround_ms": turnaround_ms}, paths.PROFILES)
        self.settings = settings or Settings(9600)
        self.log, self.got = [], []
        self.line = VirtualLine(self.settings, spec.stations(loaded, paths.PROFILES, self.settings), self.log.append)

    def send(self, data, at):
        self.got += [(us, byte) for us, part in self.line.feed(data, at) for byte in part]

    def until(self, at):
        """Return the bytes that arrive until `at`."""
        before = len(self.got)
        self.send(b"", at)
        return bytes(byte for _, byte in self.got[before:])

    def told(self, what):
        return [record for record in self.log if record["what"] == what]


def good(frame):
    return len(frame) > 3 and FramerRTU.compute_CRC(frame[:-2]).to_bytes(2, "big") == frame[-2:]


@pytest.mark.parametrize(("baud", "form", "bits"), [(9600, "8N1", 10), (1200, "8E1", 11), (115200, "8N2", 11)])
def test_each_byte_arrives_when_its_last_bit_has(baud, form, bits):
    bus = Bus(settings=Settings(baud, form), turnaround_ms=60)
    bus.send(READ, 5000)
    assert len(bus.until(10**7)) == 69
    char = bits * 1e6 / baud
    first = 5000 + 8 * char + 60_000
    assert [us for us, _ in bus.got] == pytest.approx([first + (i + 1) * char for i in range(69)])
    request, reply = bus.log
    assert request["mono_us"] == pytest.approx([5000, 5000 + 8 * char], abs=1)
    assert reply["mono_us"][1] == pytest.approx(first + 69 * char, abs=1) and reply["intact"]


def test_a_reply_waits_for_the_end_of_the_frame_however_quick_the_unit_is():
    bus = Bus(turnaround_ms=0)
    bus.send(READ, 0)
    bus.until(10**6)
    assert bus.got[0][0] == pytest.approx((8 + 3.5 + 1) * CHAR)


@pytest.mark.parametrize(("hole", "answered"), [(3.4, True), (3.6, False)])
def test_three_and_a_half_quiet_characters_end_a_frame(hole, answered):
    bus = Bus()
    bus.send(READ[:4], 0)
    bus.send(READ[4:], (4 + hole) * CHAR)
    assert bool(bus.until(10**6)) == answered
    assert len(bus.told("request")) == (1 if answered else 2)


@pytest.mark.parametrize("following", [OTHER, READ], ids=["to-another", "to-the-same-unit"])
def test_a_late_reply_collides_with_the_next_request_and_both_are_garbled_at_both_ends(following):
    bus = Bus({"kind": "late", "serial": "SN-1", "late_ms": 500})
    bus.send(READ, 0)
    begin = 8 * CHAR + TURN + 500_000
    bus.send(following, begin + 10.5 * CHAR)
    bus.until(10**7)
    heard = bytes(byte for _, byte in bus.got)
    assert len(heard) == 69 and not good(heard), "nobody understood the request"
    assert heard[:3] == bytes([1, 4, 64])
    assert [us for us, _ in bus.got] == pytest.approx([begin + (i + 1) * CHAR for i in range(69)])
    words = bus.told("reply")[0]["words"]
    sent = sealed(1, 4, 64, *b"".join(word.to_bytes(2, "big") for word in words))
    assert [i for i in range(69) if heard[i] != sent[i]] == list(range(10, 19)), "where 8 characters met it"
    assert "garbage" in bus.told("request")[1]
    (collision,) = bus.told("collision")
    assert collision["mono_us"] == pytest.approx([begin + 10.5 * CHAR, begin + 18.5 * CHAR], abs=1)
    assert [record["intact"] for record in bus.told("reply")] == [False]


def test_a_late_reply_of_the_same_unit_comes_whole_while_the_next_request_waits_for_its_own():
    bus = Bus({"kind": "late", "serial": "SN-1", "late_ms": 500, "to": 1})
    bus.send(READ, 0)
    begin = 8 * CHAR + TURN + 500_000
    bus.send(b"", 10**5)
    bus.send(sealed(1, 4, 0, 70, 0, 10), begin - 30 * CHAR)  # ends 22 characters before; answered after 520 ms
    assert good(bus.until(begin + 70 * CHAR)), "the late one"
    second = bus.until(10**7)
    assert second[:3] == bytes([1, 4, 20]) and good(second) and bus.told("collision") == []


def test_two_units_that_answer_at_once_garble_each_other():
    twin = {"serial": "SN-3", "address": 1, "profile": "eastron-sdm120", "format": "8N2"}
    bus = Bus(units=(ONE, twin))  # the same address, and 8N1 understands 8N2
    bus.send(READ, 0)
    heard = bus.until(10**6)
    assert not good(heard[:69]) and len(bus.told("collision")) == 1
    assert [record["intact"] for record in bus.told("reply")] == [False, False]


def test_a_unit_does_not_interrupt_itself():
    bus = Bus({"kind": "babble", "serial": "SN-1", "to": 1, "babble_bytes": 2000})
    bus.send(READ, 0)
    bus.send(READ, 1_500_000)
    bus.until(1_500_000 + 4_000_000)
    assert len(bus.told("reply")) == 1 and len(bus.got) == 2000, "the request in its talk was garbled"
    bus.send(READ, 6_000_000)
    assert good(bus.until(7_000_000))


def test_a_babbling_unit_talks_for_as_long_as_its_bytes_take_and_over_the_others():
    bus = Bus({"kind": "babble", "serial": "SN-1", "babble_bytes": 300})
    bus.send(READ, 0)
    bus.send(OTHER, 100_000)
    bus.until(10**6)
    assert bus.got[-1][0] == pytest.approx(8 * CHAR + TURN + 300 * CHAR) and len(bus.got) == 300
    assert "garbage" in bus.told("request")[1] and len(bus.told("collision")) == 1


def test_a_unit_that_talks_unasked_is_heard_without_a_request():
    bus = Bus({"kind": "unasked", "serial": "SN-2", "period_ms": 2000, "babble_bytes": 20, "to": 7})
    assert len(bus.until(10**8)) == 3 * 20
    assert [us for us, _ in bus.got[::20]] == pytest.approx([at * 1e6 + 2000 + CHAR for at in (2, 4, 6)])
    assert [record["serial"] for record in bus.told("unasked")] == ["SN-2"] * 3


def test_a_request_into_unasked_talk_is_not_understood():
    bus = Bus({"kind": "unasked", "serial": "SN-2", "period_ms": 1000, "babble_bytes": 100, "to": 2})
    bus.send(READ, 1_010_000)
    bus.until(3_000_000)
    assert "garbage" in bus.told("request")[0] and bus.told("reply") == []


@pytest.mark.parametrize("chars", [2, 4, 40])
def test_a_gap_stands_in_the_middle_of_the_reply(chars):
    bus = Bus({"kind": "gap", "serial": "SN-1", "gap_chars": chars})
    bus.send(READ, 0)
    assert good(bus.until(10**6))
    steps = [(b - a) / CHAR for (a, _), (b, _) in zip(bus.got, bus.got[1:], strict=False)]
    assert steps[33] == pytest.approx(chars + 1) and steps[:33] + steps[34:] == pytest.approx([1] * 67)


def test_an_echo_comes_with_the_bytes_that_are_sent():
    bus = Bus({"kind": "echo"})
    bus.send(READ, 1000)
    assert bus.until(1000 + 8 * CHAR + 1) == READ
    assert [us for us, _ in bus.got] == pytest.approx([1000 + (i + 1) * CHAR for i in range(8)])
    assert good(bus.until(10**6))


@pytest.mark.parametrize(("quiet", "answered"), [(3.4, False), (3.5, True)])
def test_a_strict_unit_wants_three_and_a_half_characters_of_silence_after_whoever_spoke(quiet, answered):
    bus = Bus({"kind": "strict", "serial": "SN-2"})
    bus.send(READ, 0)
    bus.until(8 * CHAR + TURN + 69 * CHAR)
    bus.send(OTHER, 8 * CHAR + TURN + 69 * CHAR + quiet * CHAR)
    assert good(bus.until(10**6)) == answered
    assert bus.told("request")[1].get("fault") == (None if answered else "strict")
    found = timing.judge(bus.log, 9600, "8N1")
    assert found.gap_violations == (0 if answered else 1)


def test_a_strict_unit_does_not_answer_a_request_that_began_while_somebody_spoke():
    bus = Bus({"kind": "strict"}, {"kind": "late", "serial": "SN-1", "late_ms": 100})
    bus.send(READ, 0)
    bus.send(OTHER, 8 * CHAR + TURN + 100_000 + 65 * CHAR)
    bus.until(10**6)
    assert len(bus.told("reply")) == 1


@pytest.mark.parametrize(
    ("gateway", "understood"),
    [("9600 8N1", True), ("9600 8N2", True), ("9600 8E1", False), ("9600 8O1", False), ("4800 8N1", False),
     ("19200 8N1", False), ("9600 7N1", False)],
)  # fmt: skip
def test_the_gateway_is_understood_as_its_uart_is_set(gateway, understood):
    bus = Bus()
    baud, form = gateway.split()
    bus.line.gateway = Uart(int(baud), form)
    bus.send(READ, 0)
    assert good(bus.until(10**6)) == understood
    assert ("garbage" in bus.told("request")[0]) != understood


def test_a_reply_is_heard_as_the_gateways_uart_is_set_when_it_comes():
    bus = Bus({"kind": "late", "serial": "SN-1", "late_ms": 500})
    bus.send(READ, 0)
    bus.send(b"", 100_000)
    bus.line.gateway = Uart(4800, "8N1")
    assert not good(bus.until(10**7))
    assert [record["intact"] for record in bus.told("reply")] == [False]


def test_a_unit_with_settings_of_its_own_hears_and_speaks_with_them():
    slow = dict(TWO, baud=2400, format="8E1")
    bus = Bus(units=(ONE, slow))
    bus.send(OTHER, 0)
    assert bus.until(10**6) == b""
    bus.line.gateway = Uart(2400, "8E1")
    bus.send(OTHER, 10**6)
    assert good(bus.until(2 * 10**6))
    char = 11e6 / 2400
    assert bus.got[-1][0] == pytest.approx(10**6 + 8 * char + max(TURN, 3.5 * char) + 9 * char)
    bus.line.gateway = Uart(9600, "8N1")
    bus.send(READ, 3 * 10**6)
    assert good(bus.until(4 * 10**6))
    assert [record.get("serial") for record in bus.told("request")] == [None, "SN-2", "SN-1"]


def test_two_units_may_have_one_address_only_when_they_are_set_otherwise():
    twin = dict(ONE, serial="SN-9")
    with pytest.raises(ValueError, match=r"units\[1\].address"):
        Bus(units=(ONE, twin))
    bus = Bus(units=(ONE, dict(twin, baud=19200)))
    bus.send(READ, 0)
    assert good(bus.until(10**6))


def test_restless_units_never_say_the_same_twice():
    loaded = spec.load({"units": [dict(ONE)], "restless": True}, paths.PROFILES)
    log = []
    line = VirtualLine(Settings(9600), spec.stations(loaded, paths.PROFILES, Settings(9600)), log.append)
    for at in range(20):
        line.feed(READ, at * 1_000_000)
    line.feed(b"", 10**8)
    told = [tuple(record["words"]) for record in log if record["what"] == "reply"]
    assert len(told) == 20 == len(set(told))
