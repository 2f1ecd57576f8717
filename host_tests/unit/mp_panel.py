"""What a board shows: the light's codes, the pages of the screen, the button; all of it on models of the parts."""
import asyncio

import machine

import fake_chip
from fake_oled import I2C, Controller
from gateway import clock, extras, log
from gateway.lamp import CLOCK, METER, SAFE, STARTING, UPLINK, WELL, Lamp
from gateway.pages import Seen, of
from gateway.panel import Panel
from lib.oled import Oled, i2c_writer

LADDER = {"idle": 3300, "a": 1650, "b": 2760, "door": 0}


class Thing:
    """An object with the attributes that it is given."""

    def __init__(self, **attributes):
        for name, value in attributes.items():
            setattr(self, name, value)


class Life:
    def beat(self):
        pass


def meter(serial, slot, misses=0, polls=5):
    return Thing(serial=serial, slot=slot, misses=misses, polls=polls, period=7)


class Gateway:
    """Eight meters that answer, one outlet that is connected, a clock that is trusted."""

    def __init__(self):
        log.warn = log.info = log.error = lambda area, text: None
        self.meters = [meter("SN-%d" % i, i) for i in range(1, 9)]
        self.buses = [Thing(meters=self.meters, recorder=self)]
        client = Thing(connected=True, state="connected")
        self.outlets = [Thing(name="operator", client=client, behind=0, network=None)]
        self.clock = Thing(
            trusted=lambda: self.sure, source=clock.NTP, now=lambda: (1782138659120, 25) if self.sure else None
        )
        self.sure = True
        self.journal = Thing(next=1234, first=34, head=11, tail=2, _ring=248, volatile=False, stats={"failed": 0})
        self.recorder = Thing(boot=41, dropped=0)
        self.taken = []

    def reading(self, *row):
        self.taken.append(row)

    def commit(self):
        self.taken.append("commit")

    def event(self, *row):
        self.taken.append(row)

    def lost(self, slot):
        self.taken.append(slot)


class Names:
    def columns(self, number):
        return "\n1.8.0 kWh -3\n32.7.0 V -3\n16.7.0 W -3"


def panel(gateway, light=None, screen=None, button=None):
    last = {}
    gateway.buses[0].recorder = Seen(gateway, last)
    return Panel(gateway, light, screen, button, of(gateway, Names(), last))


# --- the light ------------------------------------------------------------------------------------------------------


def flashes(light, codes, rounds=1):
    """Return for each round of the light how often it went on, and the colour."""
    seen = []
    for _ in range(rounds):
        count, colour, before = 0, None, False
        for _ in range(20):
            light.step(codes)
            if light.on and not before:
                count += 1
                if light._pixel:
                    colour = light._pixel.shown[0]
            before = light.on
        seen.append((count, colour, before))
    return seen


def test_a_plain_light_tells_by_the_number_of_its_flashes():
    light = Lamp({"kind": "gpio", "pin": 45})
    assert light._pin.value() == 1  # starting: steady
    assert [flashes(light, codes)[0][0] for codes in ((), (UPLINK,), (METER,), (CLOCK,))] == [1, 2, 3, 4]
    assert flashes(light, (STARTING,)) == [(1, None, True)]


def test_an_rgb_light_has_a_colour_for_each_code_and_is_dim():
    light = Lamp({"kind": "ws2812", "pin": 48})
    colours = [flashes(light, codes)[0][1] for codes in ((), (UPLINK,), (METER,), (CLOCK,), (STARTING,))]
    assert len(set(colours)) == 5 and max([max(colour) for colour in colours]) < 32
    light.show(SAFE)
    assert light._pixel.shown[0] not in colours


def test_several_codes_are_told_one_after_the_other():
    light = Lamp({"kind": "gpio", "pin": 45})
    assert [row[0] for row in flashes(light, (UPLINK, CLOCK), 4)] in ([2, 4, 2, 4], [4, 2, 4, 2])


def test_a_light_that_is_on_when_its_pin_is_low():
    light = Lamp({"kind": "gpio", "pin": 45, "activeLow": True})
    assert light._pin.value() == 0
    light.show(WELL, False)
    assert light._pin.value() == 1


def test_each_code_has_its_cause():
    gateway = Gateway()
    shown = panel(gateway)
    assert shown.codes() == ()
    gateway.meters[2].misses = 2
    assert shown.codes() == ()  # a missed poll is none
    gateway.meters[2].misses = 3
    assert shown.codes() == (METER,)
    gateway.outlets[0].client.connected = False
    gateway.sure = False
    assert shown.codes() == (UPLINK, METER, CLOCK)


def test_it_is_starting_until_all_is_well_or_a_minute_is_over():
    gateway = Gateway()
    gateway.outlets[0].client.connected = False
    shown = panel(gateway)
    assert shown.codes() == (STARTING,)
    gateway.outlets[0].client.connected = True
    gateway.meters[0].polls = 0
    assert shown.codes() == (STARTING,)  # not asked yet
    gateway.meters[0].polls = 1
    assert shown.codes() == ()
    gateway.outlets[0].client.connected = False
    assert shown.codes() == (UPLINK,)  # once it was well it is starting no more
    shown._well = False
    kept, clock.uptime_ms = clock.uptime_ms, lambda: 60000
    assert shown.codes() == (UPLINK,)
    clock.uptime_ms = kept


# --- the screen -----------------------------------------------------------------------------------------------------


def lit():
    chip = Controller("sh1106")
    bus = I2C(chip)
    return chip, bus, Oled(i2c_writer(bus, 0x3C), "sh1106")


def show(shown, ticks=20, first=0):
    for tick in range(first + 1, first + ticks + 1):
        shown._show(tick)


def test_the_page_of_the_meters_says_who_answers_and_what():
    gateway = Gateway()
    chip, _, screen = lit()
    shown = panel(gateway, screen=screen, button=True)
    gateway.buses[0].recorder.reading(1000, 1, 1, [1234567, 230125, -1250900])
    gateway.buses[0].recorder.reading(1000, 2, 1, [1234567, 229990, 12345678], 4)
    gateway.buses[0].recorder.reading(1000, 3, 1, [1234567, None, None])
    gateway.meters[4].misses = 3
    show(shown)
    assert chip.text() == [
        "METERS       7/8", "SN-1  230V-1250W", "SN-2  229V12345W", "SN-3    -V    -W", "SN-4         ...",
        "SN-5        LOST", "SN-6         ...", "SN-7         ...",
    ]  # fmt: skip
    assert gateway.taken == [
        (1000, 1, 1, [1234567, 230125, -1250900]), (1000, 2, 1, [1234567, 229990, 12345678], 4),
        (1000, 3, 1, [1234567, None, None]),
    ]  # fmt: skip


def test_a_meter_with_views_is_shown_as_one_that_answers():
    gateway = Gateway()
    shown = panel(gateway)
    gateway.buses[0].recorder.reading(1000, 1, None, [1, 2, 3])
    assert shown._pages[0]()[1] == "SN-1          ok"


def test_a_short_press_turns_the_page_and_the_last_one_is_followed_by_the_first():
    gateway = Gateway()
    chip, _, screen = lit()
    shown = panel(gateway, screen=screen, button=True)
    titles = []
    for turn in range(6):
        show(shown, 20, 20 * turn)
        titles.append(chip.text()[0].split()[0])
        shown.press("a", False)
    assert titles == ["METERS", "METERS", "UPLINK", "CLOCK", "JOURNAL", "METERS"]
    shown.press("b", False)
    show(shown)
    assert chip.text()[0].split()[0] == "METERS"


def test_what_the_other_pages_say():
    gateway = Gateway()
    gateway.outlets[0].client.state = "refused: not authorized, and more"
    gateway.outlets[0].behind = 99
    gateway.outlets[0].network = Thing(via="wifi")
    gateway.journal.volatile = True
    gateway.mirror = Thing(state="no card")
    pages = {page()[0].split()[0]: page() for page in of(gateway, Names(), {})}
    assert pages["UPLINK"] == ["UPLINK", "net wifi", "operator", " refused: not authorized, and more", " 99 waiting"]
    assert pages["CLOCK"][:5] == ["CLOCK         ok", "2026-06-22", "14:30:59 UTC", "+- 25 ms", "from ntp"]
    assert pages["CLOCK"][-1] == "boot 41"
    assert pages["JOURNAL"] == [
        "JOURNAL", "1200 records", "10/248 blocks", "IN MEMORY ONLY", "failed 0", "dropped 0", "SD no card",
    ]  # fmt: skip
    gateway.sure = False
    assert of(gateway, Names(), {})[3]()[:2] == ["CLOCK       LOST", "from ntp"]


def test_a_pole_of_a_mesh_shows_its_way_and_without_one_has_no_uplink():
    gateway = Gateway()
    gateway.outlets = []
    routes = Thing(root=1, hops=lambda: 2)
    rows = [(4, -61, 100, 200, 1, True), (65535, -104, 350, 900, 1, False)]
    gateway.mesh = Thing(node=Thing(routes=routes, neighbours=lambda: rows), air=Thing(channel=6))
    shown = panel(gateway)
    assert shown.codes() == ()
    page = of(gateway, Names(), {})[2]
    assert page() == ["MESH      root 1", "ch 6  hops 2", ">     4  -61 dBm", "  65535 -104 dBm"]
    routes.root = 0
    assert page()[0] == "MESH     NO ROOT" and shown.codes() == (UPLINK,)


def test_the_screen_goes_dark_after_five_minutes_and_the_first_press_only_wakes_it():
    gateway = Gateway()
    chip, _, screen = lit()
    shown = panel(gateway, screen=screen, button=True)
    show(shown, 6001)
    assert chip.text() == []
    sent = dict(chip.sent)
    show(shown, 1000, 7000)
    assert chip.sent == sent  # and nothing is sent to it
    shown.press("a", False)
    show(shown, 20, 8000)
    assert chip.text()[0].startswith("METERS") and shown._at == 0


def test_without_a_button_the_pages_turn_by_themselves_and_stay_lit():
    gateway = Gateway()
    chip, _, screen = lit()
    shown = panel(gateway, screen=screen)
    seen = []
    for turn in range(70):
        show(shown, 100, 100 * turn)
        show(shown, 8, 100 * turn + 1)
        seen.append(chip.text()[0].split()[0])
    assert set(seen) == {"METERS", "UPLINK", "CLOCK", "JOURNAL"}


def test_a_long_press_reads_all_meters_now():
    gateway = Gateway()
    shown = panel(gateway, screen=lit()[2], button=True)
    shown.press("a", True)
    assert [one.period for one in gateway.meters] == [None] * 8 and shown._at == 0


def test_a_screen_that_does_not_answer_is_tried_again_after_half_a_minute():
    gateway = Gateway()
    chip, bus, screen = lit()
    bus.left = 0
    shown = panel(gateway, screen=screen, button=True)
    show(shown, 20)
    bus.left = 1 << 30
    show(shown, 500, 20)
    assert chip.text() == []
    show(shown, 200, 520)
    assert chip.text()[0].startswith("METERS")
    bus.left = 0  # it is pulled off while it runs
    shown.press("a", False)
    show(shown, 5, 720)
    bus.left = 1 << 30
    show(shown, 700, 725)
    assert chip.text()[0].startswith("METERS")


def test_one_step_sends_one_line_at_most():
    gateway = Gateway()
    chip, _, screen = lit()
    shown = panel(gateway, screen=screen, button=True)
    for tick in range(1, 300):
        before = chip.sent["data"]
        shown._show(tick)
        assert chip.sent["data"] - before <= 128
        if tick % 30 == 0:
            shown.press("a", False)


def test_the_door_turns_no_page():
    gateway = Gateway()
    shown = panel(gateway, screen=lit()[2], button=True)
    shown._lit = True
    shown.press("door", False)
    shown.press("door", True)
    assert shown._at == 0 and gateway.meters[0].period == 7


# --- the wiring -----------------------------------------------------------------------------------------------------


class Ids:
    def names(self):
        return Names()

    def cursor(self, name):
        assert name == "/sd"
        return 3


def test_what_the_board_does_not_have_is_a_problem_and_the_rest_runs():
    said = []
    log.error = lambda area, text: said.append(text)
    conf = {
        "gatewayId": "pole-07", "network": {},
        "extras": {"led": True, "oled": True, "sd": True, "powerFail": False},
    }  # fmt: skip
    board = {"led": {"kind": "gpio", "pin": 45}, "oled": {"kind": "sh1106", "bus": "i2c", "at": 60}}
    assert extras.wired(conf, board, Ids()) == 2  # no SD card, and a screen without its bus
    assert conf["extras"] == {"led": board["led"]} and "extras.sd" in "\n".join(said)


def test_a_screen_on_the_wires_of_the_card_or_of_the_cable_is_a_problem():
    said = []
    log.error = lambda area, text: said.append(text)
    card = {"kind": "spi", "slot": 2, "sck": 12, "mosi": 11, "miso": 13, "cs": 10}
    screen = {"kind": "sh1106", "bus": "spi", "spi": 1, "sck": 12, "mosi": 11, "cs": 17, "dc": 18, "reset": 8}
    cable = {"spi": 1, "sck": 12, "mosi": 11, "miso": 13, "cs": 9, "int": 47}
    board = {"oled": screen, "sd": card, "ethernet": cable}
    for network, asked, left in (
        ({}, ("oled", "sd"), ["sd"]), ({}, ("oled",), ["oled"]), ({"ethernet": cable}, ("oled",), []),
        ({"ethernet": cable}, ("oled", "sd"), []),
    ):  # fmt: skip
        conf = {"gatewayId": "pole-07", "network": network, "extras": dict.fromkeys(asked, True)}
        assert extras.wired(conf, board, Ids()) == len(asked) - len(left)
        assert [name for name in ("oled", "sd") if name in conf["extras"]] == left
    assert said[0] == "extras.oled: found wires that are those of extras.sd, allowed a board that has it"


async def test_all_that_is_asked_for_runs_under_the_watchdog():
    fake_chip.Pin(8).drive(1)
    chip = Controller("ssd1306")
    kept_i2c, machine.I2C = machine.I2C, lambda id, sda, scl: I2C(chip)
    fake_chip.ADC.mv["Pin(1)"] = 3300
    gateway = Gateway()
    gateway.journal.cursor = lambda number: None
    gateway.journal.reader = lambda ordinal: Thing(start=lambda ordinal: None, lost=0)
    kept = []
    gateway.health = Thing(keep=lambda name, start, limit_ms: kept.append((name, start)))
    conf = {"gatewayId": "pole-07", "network": {}, "extras": dict.fromkeys(("led", "oled", "sd", "powerFail"), True)}
    board = {
        "led": {"kind": "ws2812", "pin": 48}, "oled": {"kind": "ssd1306", "bus": "i2c", "at": 60},
        "i2c": {"id": 0, "sda": 14, "scl": 21}, "ladder": dict(LADDER, pin=1),
        "powerFail": {"pin": 8, "activeLow": True},
        "sd": {"kind": "mmc", "slot": 0, "sck": 41, "cmd": 40, "data": [10]},
    }  # fmt: skip
    assert extras.wired(conf, board, Ids()) == 0
    extras.start(gateway, conf["extras"])
    machine.I2C = kept_i2c
    assert [name for name, _ in kept] == ["powerFail", "sd", "led", "oled"]
    tasks = [asyncio.create_task(start(Life())) for name, start in kept if name in ("led", "oled")]
    await asyncio.sleep_ms(1200)
    assert isinstance(gateway.buses[0].recorder, Seen) and chip.text()[0] == "METERS       8/8"
    for task in tasks:
        task.cancel()


def test_what_the_chip_refuses_is_told_and_the_rest_runs():
    said, kept = [], []
    gateway = Gateway()
    log.error = lambda area, text: said.append("%s: %s" % (area, text))
    gateway.health = Thing(keep=lambda name, start, limit_ms: kept.append(name))
    conf = {
        "led": {"kind": "gpio", "pin": 45}, "oled": {"kind": "ssd1306", "bus": "i2c", "at": 60},
        "i2c": {"id": 7, "sda": 14, "scl": 21}, "powerFail": {"pin": 99}, "names": Names(),
    }  # fmt: skip
    extras.start(gateway, conf)
    assert kept == ["led"] and len(said) == 2 and said[0] == "extras: powerFail: ValueError('invalid pin',)"
    assert gateway.buses[0].recorder is gateway
