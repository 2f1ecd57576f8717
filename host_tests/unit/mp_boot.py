"""boot.py: counts boots, and keeps the application from running when it should not; gateway/rescue: the page."""
import io
import os
import sys

import esp32
import machine
from machine import HARD_RESET, PWRON_RESET, SOFT_RESET, WDT_RESET

import fake_chip
from fake_oled import I2C, Controller
from gateway import app, epoch, log, rescue

CRASHED = "three crashes in a row"
HELD = "the button is held"


def nvs(key):
    return esp32.NVS("gw").get_i32(key)


def boots(*causes):
    return [fake_chip.boot(cause) for cause in causes]


def healthy():
    """What a boot does that has run well for a minute."""
    epoch.lasted(esp32.NVS("gw"))


def test_three_crashes_in_a_row_are_safe_mode_and_two_are_not():
    fake_chip.describe()
    assert boots(PWRON_RESET, WDT_RESET, HARD_RESET) == ["", "", ""]
    assert boots(WDT_RESET) == [CRASHED]
    assert boots(WDT_RESET) == [CRASHED]


def test_the_power_switched_off_and_on_is_a_new_attempt():
    fake_chip.describe()
    assert boots(PWRON_RESET, WDT_RESET, WDT_RESET, WDT_RESET)[-1] == CRASHED
    assert boots(PWRON_RESET) == [""]


def test_power_that_flickers_is_no_crash():
    fake_chip.describe()
    assert boots(*[PWRON_RESET] * 30) == [""] * 30
    assert boots(WDT_RESET, WDT_RESET) == ["", ""]


def test_a_boot_that_ran_well_ends_the_row():
    fake_chip.describe()
    for _ in range(5):
        assert boots(WDT_RESET, WDT_RESET) == ["", ""]
        healthy()


def test_resets_that_are_wished_are_no_crashes():
    fake_chip.describe()
    assert boots(PWRON_RESET, SOFT_RESET, SOFT_RESET, SOFT_RESET, SOFT_RESET) == [""] * 5
    assert nvs("short") == 1
    for _ in range(6):
        app.main()  # there is no configuration: nothing to run, which is an orderly end
        assert boots(HARD_RESET) == [""]


def test_an_application_that_fails_resets_the_board_and_after_three_times_it_is_safe_mode():
    from gateway import build

    fake_chip.describe()

    def broken(kind):
        raise MemoryError("too small")

    build.gateway = broken
    told = []
    cause = PWRON_RESET
    while not fake_chip.boot(cause):
        try:
            app.main()
            raise AssertionError("it goes on")
        except SystemExit as end:
            assert end.value == 75  # machine.reset() of the desktop
        told.append(machine.RTC().memory())
        cause = HARD_RESET
    assert len(told) == 3 and told[0].endswith(b"E app: failed: MemoryError('too small',)\n"), told


def test_the_causes_of_seven_boots_are_kept():
    fake_chip.describe()
    boots(PWRON_RESET, PWRON_RESET, WDT_RESET, SOFT_RESET, PWRON_RESET, 4, SOFT_RESET, HARD_RESET)
    assert nvs("causes") == 0x1351452


def test_nvs_that_was_erased_and_nvs_that_fails_start_the_application():
    fake_chip.describe()
    boots(PWRON_RESET, WDT_RESET, WDT_RESET)
    for key in ("short", "causes"):
        esp32.NVS("gw").erase_key(key)
    assert boots(WDT_RESET) == [""]

    class Broken:
        def __init__(self, space):
            raise OSError(-4355)

    kept, esp32.NVS = esp32.NVS, Broken
    try:
        assert boots(WDT_RESET, WDT_RESET, WDT_RESET, WDT_RESET) == [""] * 4
    finally:
        esp32.NVS = kept


def test_boot_comes_through_when_no_other_file_of_the_firmware_is_there():
    [firmware] = [folder for folder in sys.path if folder.endswith("firmware")]
    with open("boot.py", "w") as copy, open(firmware + "/boot.py") as file:
        copy.write(file.read())
    sys.path[:] = [folder for folder in sys.path if folder != firmware] + [""]
    for name in list(sys.modules):
        if name.startswith(("gateway", "lib")):
            del sys.modules[name]
    assert boots(PWRON_RESET, WDT_RESET, WDT_RESET) == [""] * 3 and nvs("short") == 3


def test_a_broken_description_of_the_board_does_not_stop_boot():
    fake_chip.describe()
    with open("board/board.json", "w") as file:
        file.write('{"name": ')
    assert boots(PWRON_RESET, WDT_RESET) == ["", ""] and nvs("short") == 2


def test_a_button_held_at_the_start_is_safe_mode():
    fake_chip.describe(button={"pin": 0})
    assert boots(PWRON_RESET) == [""]  # the pull-up
    pin = machine.Pin(0)
    pin.value = lambda: 0
    assert boots(PWRON_RESET) == [HELD] and fake_chip.Timer.all == {}


def test_a_button_of_the_ladder_held_at_the_start_is_safe_mode_and_an_open_door_is_not():
    fake_chip.describe(ladder={"pin": 1, "idle": 3300, "a": 1650, "b": 2760, "door": 0})
    for mv, safe in ((3300, ""), (3100, ""), (1650, HELD), (2760, HELD), (1900, HELD), (0, ""), (100, "")):
        fake_chip.ADC.mv["Pin(1)"] = mv
        assert boots(PWRON_RESET) == [safe], mv


def test_a_short_press_is_not_held():
    fake_chip.describe(button={"pin": 0})
    levels = [0, 0, 0, 1]
    machine.Pin(0).value = lambda: levels.pop(0)
    assert boots(PWRON_RESET) == [""] and levels == []


def test_safe_mode_tries_again_each_hour_and_one_more_crash_is_enough_to_come_back():
    fake_chip.describe()
    assert boots(PWRON_RESET, WDT_RESET, WDT_RESET, WDT_RESET)[-1] == CRASHED
    [(mode, period, callback)] = fake_chip.Timer.all.values()
    assert (mode, period) == (fake_chip.Timer.ONE_SHOT, 3600000)
    try:
        callback(None)
        raise AssertionError("no reset")
    except SystemExit:
        pass
    assert boots(HARD_RESET) == [""]
    assert boots(WDT_RESET) == [CRASHED]
    rescue.timer.deinit()
    assert fake_chip.Timer.all == {}


def test_safe_mode_has_its_light():
    fake_chip.describe(led={"kind": "gpio", "pin": 45}, button={"pin": 0})
    light = machine.Pin(45)
    assert boots(PWRON_RESET) == [""] and light.value() == 0
    machine.Pin(0).value = lambda: 0
    assert boots(PWRON_RESET) == [HELD] and light.value() == 1


def test_safe_mode_is_on_the_screen_and_one_that_does_not_answer_changes_nothing():
    chip = Controller("sh1106")
    bus = I2C(chip)
    machine.I2C = lambda id, sda, scl: bus
    fake_chip.describe(oled={"kind": "sh1106", "bus": "i2c", "at": 60}, i2c={"id": 0, "sda": 14, "scl": 21})
    esp32.NVS("gw").set_i32("boot", 41)
    assert boots(PWRON_RESET, WDT_RESET, WDT_RESET, WDT_RESET)[-1] == CRASHED
    assert chip.text()[:5] == ["SAFE MODE", "three crashes in", " a row", "boot number 41", "4 short ones in"]
    bus.left = 0
    assert boots(WDT_RESET) == [CRASHED] and fake_chip.Timer.all


def test_safe_mode_starts_no_watchdog_and_a_running_one_does_not_reset_it():
    fake_chip.describe(button={"pin": 0})
    machine.Pin(0).value = lambda: 0
    assert boots(PWRON_RESET) == [HELD] and "wdt" not in os.listdir("flash")
    assert boots(SOFT_RESET) == [HELD]  # the application had started one, and a soft reset does not stop it
    with open("flash/wdt") as file:
        assert int(file.read().split()[0]) > 7 * 86400000


def test_the_page_has_the_counters():
    fake_chip.describe()
    boots(PWRON_RESET, WDT_RESET)
    esp32.NVS("gw").set_i32("boot", 41)
    log.error("bus 0", "SN-1 is lost: \xe9")
    page = "\n".join(rescue.page("asked for"))
    for words in (
        "SAFE MODE: asked for", "number 41, 2 short ones in a row; causes, newest first: watchdog, power on",
        " B used, ", "journal 64 kB", "0 records, 0 of 8 blocks, next 0", "E bus 0: SN-1 is lost", "Ctrl-D",
    ):  # fmt: skip
        assert words in page, (words, page)


def test_the_page_comes_up_on_a_board_where_everything_is_broken():
    fake_chip.describe()

    class Broken:
        def __getattr__(self, name):
            raise OSError(5)

    for name in ("esp32", "lib.journal"):
        sys.modules[name] = Broken()
    page = rescue.page(CRASHED)
    assert "journal    OSError(5,)" in page and "partitions OSError(5,)" in page, page


def test_main_runs_the_application_unless_it_is_safe_mode():
    started = []
    app.main = lambda: started.append(1)
    main = [folder for folder in sys.path if folder.endswith("firmware")][0] + "/main.py"
    with io.open(main) as file:
        text = file.read()
    for names, count in (({"safe": HELD}, 0), ({"safe": ""}, 1), ({}, 2)):
        exec(text, names)
        assert len(started) == count
