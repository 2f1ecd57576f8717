"""gateway/scan and gateway/trial: who is found on a line, what he is taken for, and what is said of odd ones."""

import json
import os
import sys

import fake_uart
from fake_uart import Meter
from gateway import scan, trial
from lib.media import rs485
from lib.media.rs485 import RS485
from lib.proto import modbus

VOLTS = [3, 0, 1, "u16", {"min": 800, "max": 3000}]
CODE = [3, 900, 1, "u16", [32]]
OTHER = [3, 900, 1, "u16", [33, 34]]
TEXT = [3, 800, 2, "str", {"str": "MX"}]
METER = {(3, 0): 2301, (3, 1): 50, (3, 2): 0, (3, 3): 7}


def profile(name, probes, ports=("9600N1",), blocks=((3, 0, 2, 1),), rows=(("32.7.0", 0, 0, "u16", -1, "V"),),
            **more):
    """Write profiles/NAME.json into the current folder, one of those where data are looked for."""
    try:
        os.mkdir("profiles")
    except OSError:
        pass
    if "" not in sys.path:
        sys.path.append("")
    made = {"id": name, "ser": ports, "lim": [80, 1, 0, 500], "blk": blocks, "q": rows, "probe": probes}
    made.update(more)
    with open("profiles/%s.json" % name, "w") as file:
        json.dump(made, file)
    return name


class Line:
    """A line with fake units on it; a unit is a function from request to [(us, bytes), ...]."""

    def __init__(self, *units, **line):
        self.clock = fake_uart.Clock(rs485, modbus)
        self.uart = fake_uart.UART(self.clock, reply=self.reply, echo=line.get("echo", False))
        self.media = RS485(self.uart, 9600, **line)
        self.units = units
        self.told = []

    def reply(self, request):
        return [part for unit in self.units for part in unit(request)]

    async def scan(self, names, addresses, ports=("9600N1",)):
        """Return {(port, address): what was said of it last} without the silent ones."""
        self.told = []
        await scan.scan(self.media, ports, addresses, scan.profiles(names), self.told.append)
        last = {(told["port"], told["address"]): told for told in self.told[1:]}
        return {key: told for key, told in last.items() if told["kind"] != "silent"}


def unit(address, registers=None, delay_us=20000):
    words = dict(METER)
    words.update(registers or {})
    return Meter(address, words, delay_us)


def fits(found):
    return {address: told["fits"] for (_, address), told in found.items()}


async def test_nobody_costs_a_third_of_a_second_an_address():
    line = Line()
    start = line.clock.us
    assert await line.scan([profile("plain", [VOLTS])], range(1, 33)) == {}
    assert line.clock.us - start < 12000000
    assert line.told[0] == {"ports": ("9600N1",), "count": 32} and len(line.told) == 33


async def test_all_probes_of_a_profile_have_to_match():
    names = [profile("plain", [VOLTS]), profile("coded", [CODE, VOLTS]), profile("other", [OTHER, VOLTS])]
    line = Line(unit(1), unit(2, {(3, 900): 32}), unit(3, {(3, 900): 34}), unit(4, {(3, 900): 32, (3, 0): 0}))
    assert fits(await line.scan(names, range(1, 5))) == {1: ["plain"], 2: ["coded"], 3: ["other"], 4: []}


async def test_the_most_specific_profile_wins():
    narrow = [3, 0, 1, "u16", {"min": 2000, "max": 2500}]
    wide = [3, 0, 1, "u16", {"min": 0, "max": 60000}], [3, 3, 1, "u16", {"min": 0, "max": 60000}]
    names = [profile("a-volts", [VOLTS]), profile("b-narrow", [narrow]), profile("c-two", wide)]
    line = Line(unit(1, {(3, 900): 32}), unit(2))
    assert fits(await line.scan(names[:2], [1, 2])) == {1: ["b-narrow"], 2: ["b-narrow"]}
    assert fits(await line.scan(names, [1, 2])) == {1: ["c-two"], 2: ["c-two"]}
    assert fits(await line.scan(names + [profile("d-code", [CODE])], [1, 2])) == {1: ["d-code"], 2: ["c-two"]}


async def test_a_tie_names_all_and_first_the_one_whose_blocks_the_meter_answers():
    names = [profile("a-long", [VOLTS], blocks=((3, 0, 9, 1),)), profile("b-short", [VOLTS], blocks=((3, 0, 4, 1),)),
             profile("c-shorter", [VOLTS], blocks=((3, 0, 3, 1),))]  # fmt: skip
    assert fits(await Line(unit(1)).scan(names, [1])) == {1: ["c-shorter", "b-short", "a-long"]}


async def test_a_text_is_a_probe_by_its_beginning():
    names = [profile("text", [TEXT])]
    line = Line(unit(1, {(3, 800): 0x4D58, (3, 801): 0x3200}), unit(2, {(3, 800): 0x4E4D, (3, 801): 0x5800}))
    assert fits(await line.scan(names, [1, 2])) == {1: ["text"], 2: []}


async def test_a_meter_at_a_setting_that_its_profile_does_not_name_is_found_all_the_same():
    names = [profile("plain", [VOLTS]), profile("coded", [CODE], ("2400N1",))]
    assert fits(await Line(unit(1, {(3, 900): 32, (3, 0): 0})).scan(names, [1])) == {1: ["coded"]}
    # those that name it come first
    names = [names[0], profile("elsewhere", [VOLTS], ("2400N1",))]
    assert fits(await Line(unit(1)).scan(names, [1])) == {1: ["plain"]}


async def test_who_refuses_is_there_and_what_it_said_is_told():
    line = Line(Meter(5, {}))
    found = await line.scan([profile("plain", [VOLTS]), profile("coded", [CODE])], [4, 5, 6])
    told = found["9600N1", 5]
    assert len(found) == 1 and told["kind"] == "there" and told["fits"] == []
    assert [read[:4] + read[5:] for read in told["reads"]] == [VOLTS[:4] + ["exception 2"], CODE[:4] + ["exception 2"]]


async def test_the_serial_number_is_read_where_the_profile_has_it():
    row = "0.0.96.1.1.255", 0, 1, "u32", 0, ""
    text = "0.0.96.1.1.255", 0, 1, "str", 2, ""
    for made, words, serial in ((row, (1, 0xE240), "123456"), (text, (0x4D58, 0x3738), "MX78"), (row, (0, 0), None)):
        name = profile("numbered", [VOLTS], blocks=((3, 0, 3, 1),), rows=(made,))
        found = await Line(unit(1, {(3, 1): words[0], (3, 2): words[1]})).scan([name], [1])
        assert found["9600N1", 1]["serial"] == serial


async def test_the_serial_number_is_read_where_the_profile_says_that_it_stands():
    for kind, words, serial in (
        ("u32", (1, 0xE240), "123456"), ("str", (0x4D58, 0x3738), "MX78"), ("u32", (0, 0), None),
        ("str", (0x4D, 0), None),
    ):  # fmt: skip
        name = profile("numbered", [VOLTS], own=[3, 700, 2, kind])
        found = await Line(unit(1, {(3, 700): words[0], (3, 701): words[1]})).scan([name], [1])
        assert found["9600N1", 1]["serial"] == serial
    found = await Line(unit(1)).scan([name], [1])  # it has no such register
    assert found["9600N1", 1]["fits"] == ["numbered"] and found["9600N1", 1]["serial"] is None


async def test_a_meter_that_needs_600_ms_is_found():
    line = Line(unit(2, delay_us=600000), unit(3), unit(9, delay_us=600000))
    names = [profile("plain", [VOLTS])]
    for addresses in (range(1, 10), [2], [2, 3]):
        wanted = {address: ["plain"] for address in addresses if address in (2, 3, 9)}
        assert fits(await line.scan(names, addresses)) == wanted


async def test_one_damaged_reply_hides_nobody():
    spoiled = [True]
    sound = unit(3)

    def meter(request):
        (delay, reply), = sound(request) or [(0, b"")]
        if reply and spoiled:
            spoiled.pop()
            reply = reply[:-1] + b"\0"
        return [(delay, reply)]

    line = Line(meter)
    assert fits(await line.scan([profile("plain", [VOLTS])], range(1, 6))) == {3: ["plain"]}
    assert not spoiled and [told["kind"] for told in line.told if told.get("address") == 3] == ["again", "there"]


async def test_who_answers_garbage_only_is_said_to():
    def twins(request):
        return [(delay, b"\x81\x93\x07") for delay, reply in unit(3)(request)]

    found = await Line(twins, unit(4)).scan([profile("plain", [VOLTS])], range(1, 6))
    assert found["9600N1", 3]["kind"] == "garbled" and fits({(0, 4): found["9600N1", 4]}) == {4: ["plain"]}
    assert len(found) == 2


async def test_two_replies_to_one_request_are_two_meters():
    found = await Line(unit(3), unit(3, {(3, 0): 2250}, 90000)).scan([profile("plain", [VOLTS])], range(2, 5))
    assert {address: told["kind"] for (_, address), told in found.items()} == {3: "two"}


async def test_each_setting_is_tried_at_each_address():
    line = Line(unit(1))
    await line.scan([profile("plain", [VOLTS], ("2400E1", "9600N1"))], [1], ())
    assert line.told[0] == {"ports": ["2400E1", "9600N1"], "count": 1}
    assert [told["port"] for told in line.told[1:]] == ["2400E1", "9600N1"]
    assert line.uart.settings == {"baudrate": 9600, "bits": 8, "parity": None, "stop": 1}


async def test_who_was_found_is_not_asked_again_with_other_stop_bits_but_with_another_parity():
    line = Line(unit(1))
    await line.scan([profile("plain", [VOLTS])], [1, 2], ("9600N1", "9600N2", "9600E1"))
    assert [(told["port"], told["address"], told["kind"]) for told in line.told[1:]] == [
        ("9600N1", 1, "there"), ("9600N1", 2, "silent"), ("9600N2", 1, "same"), ("9600N2", 2, "silent"),
        ("9600E1", 1, "there"), ("9600E1", 2, "silent"),
    ]  # fmt: skip


async def test_an_echo_is_noticed():
    assert await trial.echoes(Line(unit(1), echo=True).media) is False  # taken away by the line
    line = Line(unit(1))
    assert await trial.echoes(line.media) is False
    line.uart._echo = True
    assert await trial.echoes(line.media) is True


async def test_a_trial_shows_each_block_with_its_registers_and_its_values():
    name = profile("two", [VOLTS], blocks=((3, 0, 2, 1), (3, 700, 1, 6)),
                   rows=(("32.7.0", 0, 0, "u16", -1, "V"), ("1.8.0", 1, 0, "u16", 0, "kWh")))  # fmt: skip
    with open("profiles/%s.json" % name) as file:
        made = json.load(file)
    told = []
    read = await trial.read(Line(unit(1)).media, 1, made, told.append)
    assert read == told == [
        {"block": [3, 0, 2, 1], "points": "\n32.7.0 V -3", "data": b"\x08\xfd\0\x32", "values": [230100]},
        {"block": [3, 700, 1, 6], "points": "\n1.8.0 kWh -3", "data": None, "values": [("exception 2",)]},
    ]  # fmt: skip
    silent = await trial.read(Line().media, 1, made)
    assert [block["values"] for block in silent] == [[("no reply",)]] * 2


async def test_a_trial_asks_again_when_a_reply_was_lost():
    asked = []
    sound = unit(1)

    def forgetful(request):
        asked.append(request)
        return sound(request) if len(asked) > 2 else []

    name = profile("plain", [VOLTS])
    with open("profiles/%s.json" % name) as file:
        read = await trial.read(Line(forgetful).media, 1, json.load(file))
    assert read[0]["values"] == [230100] and len(asked) == 3
