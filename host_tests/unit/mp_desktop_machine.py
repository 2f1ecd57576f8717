"""The desktop's `machine` behaves as the chip's: pins, clock, watchdog, resets, and a UART on a line that is dead."""
import errno
import os
import sys
import time

import machine
from machine import RTC, UART, WDT, Pin


def refused(kind, text, call, *given, **named):
    try:
        call(*given, **named)
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError("not refused")


def uart(id=1, baudrate=9600, **named):
    given = {"tx": 17, "rx": 18, "txbuf": 512, "rxbuf": 512, "timeout": 0, "timeout_char": 0}
    given.update(named)
    return UART(id, baudrate, **given)


def took_ms(call, *given):
    began = time.ticks_us()
    call(*given)
    return time.ticks_diff(time.ticks_us(), began) // 1000


def restarted(cause):
    """Return a freshly started `machine`."""
    os.putenv("MESHEMS_RESET_CAUSE", str(cause))
    sys.modules.pop("machine")
    import machine as fresh

    return fresh


def test_what_the_interpreter_has_of_machine_is_still_there():
    assert machine.idle and machine.mem32 and "desktop" in machine.__file__


def test_a_pin_is_one_object_and_keeps_its_level():
    pin = Pin(4, Pin.OUT, value=1)
    assert pin() == 1 and Pin(4) is pin is Pin(pin)
    pin.off()
    assert pin.value() == 0 == Pin(4).value()
    pin(1)
    pin.toggle()
    assert pin.value() == 0 and pin.value(1) is None and pin.value() == 1


def test_an_input_reads_its_pull_and_not_what_was_written():
    pin = Pin(5, Pin.IN, Pin.PULL_UP)
    pin.value(0)
    assert pin.value() == 1
    pin.init(Pin.IN, Pin.PULL_DOWN)
    assert pin.value() == 0
    pin.init(Pin.IN, None)
    assert pin.value() == 0


def test_pins_that_the_chip_has_not_are_refused():
    for number in (-1, 22, 25, 49, "x", None):
        refused(ValueError, "invalid pin", Pin, number)


def test_the_rtc_reads_2000_after_power_on_and_runs():
    now = RTC().datetime()
    assert now[:6] == (2000, 1, 1, 5, 0, 0) and len(now) == 8
    time.sleep_ms(2)
    assert RTC().datetime() > now


def test_the_rtc_takes_microseconds_and_finds_the_weekday_itself():
    RTC().datetime((2026, 11, 3, 0, 12, 30, 15, 250000))
    *date, micro = RTC().datetime()
    assert date == [2026, 11, 3, 1, 12, 30, 15] and 250000 <= micro < 900000
    refused(ValueError, "requested length 8", RTC().datetime, (2026, 11, 3))


def test_the_rtc_outlives_a_restart():
    RTC().datetime((2026, 11, 3, 0, 12, 30, 15, 250000))
    sys.modules.pop("time")
    assert restarted(machine.WDT_RESET).RTC().datetime()[:5] == (2026, 11, 3, 1, 12)


def test_rtc_memory_outlives_a_reset_and_not_a_power_cut():
    assert RTC().memory() == b""
    RTC().memory(b"\x00kept")
    assert restarted(machine.WDT_RESET).RTC().memory() == b"\x00kept"
    assert restarted(machine.PWRON_RESET).RTC().memory() == b""
    RTC().memory(bytes(2048))
    refused(ValueError, "buffer too long", RTC().memory, bytes(2049))


def test_the_watchdog_writes_each_feed_for_its_hardware():
    dog = WDT(timeout=30000)
    with open("flash/wdt") as file:
        assert file.read() == "30000 1\n"
    dog.feed()
    dog.feed()
    with open("flash/wdt") as file:
        assert file.read() == "30000 3\n"
    WDT(timeout=60000)
    with open("flash/wdt") as file:
        assert file.read() == "60000 4\n"


def test_a_program_that_is_asked_to_stop_is_interrupted_once_at_the_next_feed():
    dog = WDT()
    with open("flash/stop", "w"):
        pass
    try:
        dog.feed()
        raise AssertionError
    except KeyboardInterrupt:
        pass
    dog.feed()


def test_the_watchdog_cannot_be_stopped_but_a_reset_stops_it():
    refused(ValueError, "WDT timeout too short", WDT, timeout=999)
    refused(ValueError, "", WDT, 1)
    dog = WDT()
    assert not hasattr(dog, "deinit") and not hasattr(dog, "stop")
    restarted(machine.WDT_RESET)
    assert "wdt" not in os.listdir("flash")


def test_the_reset_cause_is_power_on_unless_the_parent_says_otherwise():
    assert machine.reset_cause() == machine.PWRON_RESET == 1
    assert restarted(3).reset_cause() == machine.WDT_RESET


def test_resets_end_the_process_with_their_status():
    for call, status in ((machine.reset, 75), (machine.soft_reset, 76)):
        try:
            call()
        except SystemExit as end:
            assert end.args == (status,)
        else:
            raise AssertionError


def test_the_chips_address_is_of_its_directory():
    here = machine.unique_id()
    assert here == machine.unique_id() and len(here) == 6 and here[0] & 3 == 2
    os.mkdir("other")
    os.chdir("other")
    assert machine.unique_id() != here


def test_a_uart_is_refused_what_the_chip_refuses():
    refused(ValueError, "REPL UART buffer size is fixed", uart, 0)
    refused(ValueError, "UART(3) does not exist", uart, 3)
    refused(ValueError, "UART(-1) does not exist", uart, -1)
    refused(ValueError, "default pins", UART, 1, 9600)
    refused(ValueError, "default pins", uart, rx=None)
    refused(ValueError, "invalid pin", uart, tx=-1)
    refused(OSError, "ESP_FAIL", uart, rxbuf=128)
    refused(OSError, "ESP_FAIL", uart, rxbuf=0)
    refused(OSError, "ESP_FAIL", uart, txbuf=128)
    refused(OSError, "ESP_FAIL", uart, txbuf=1)
    refused(ValueError, "invalid data bits", uart, bits=9)
    refused(ValueError, "invalid parity", uart, parity=2)
    refused(ValueError, "invalid stop bits", uart, stop=3)
    refused(OSError, "ESP_ERR_INVALID_ARG", uart, timeout_char=200)
    refused(TypeError, "", uart, mode=1)
    uart(rxbuf=129, txbuf=129)
    uart(txbuf=0)


def test_a_uart_is_one_object_that_keeps_what_init_does_not_give():
    port = uart(parity=0, stop=2)
    assert uart(2) is not port is uart(1, 19200)
    assert port._wire_us(10) == 10 * 12 * 1000000 // 19200
    port.init(4800)
    assert port._wire_us(1) == 12 * 1000000 // 4800
    port.deinit()
    refused(ValueError, "default pins", port.init, 9600)
    port.init(tx=17, rx=18)
    assert port._wire_us(1152) == 100000


def test_a_line_without_a_terminal_is_silence():
    port = uart()
    assert port.any() == 0 and port.read() is None and port.read(5) is None and port.readinto(bytearray(5)) is None
    assert port.write(b"hello") == 5 and port.read(0) == b""


def test_a_closed_port_reads_and_writes_none():
    port = uart()
    port.deinit()
    port.deinit()
    assert port.read() is None and port.read(1) is None and port.write(b"x") is None and not port.txdone()
    refused(OSError, "ESP_FAIL", port.any)
    refused(OSError, "", port.flush)


def test_flush_blocks_until_the_last_stop_bit_has_left():
    port = uart(baudrate=1200)
    assert port.txdone()
    assert took_ms(port.write, bytes(48)) < 200  # they take 400 ms on the wire
    assert not port.txdone()
    assert 150 <= took_ms(port.flush) < 600
    assert port.txdone() and took_ms(port.flush) < 100


def test_a_write_beyond_the_buffers_blocks_until_the_rest_fits():
    assert took_ms(uart(1, txbuf=256).write, bytes(256 + 128)) < 150
    # 300 more bytes than ring and FIFO take have to leave first, at 960 bytes a second
    assert 312 <= took_ms(uart(2, txbuf=256).write, bytes(256 + 128 + 300)) < 550


def test_flush_without_a_send_buffer_times_out_at_once():
    port = uart(1, 115200, txbuf=0)
    port.write(bytes(100))
    try:
        port.flush()
    except OSError as error:
        assert error.errno == errno.ETIMEDOUT
    else:
        raise AssertionError


def test_timeouts_below_a_tick_are_none_and_others_round_down():
    def reads():
        for _ in range(20):
            assert port.read(1) is None is port.readinto(bytearray(3))

    port = uart(timeout=9)
    assert took_ms(reads) < 40 * 9
    port.init(timeout=19)
    assert 40 * 9 < took_ms(reads) < 40 * 19


def test_poll_says_writable_always_and_readable_never_on_a_dead_line():
    port = uart()
    assert port.ioctl(3, 1 | 4) == 4 and port.ioctl(3, 1) == 0
    assert port.ioctl(10, 0) == -errno.EINVAL


def test_an_input_has_the_level_that_the_desk_says():
    pin = Pin(8, Pin.IN, Pin.PULL_UP)
    pin.irq(lambda pin: None, Pin.IRQ_FALLING | Pin.IRQ_RISING)
    assert pin() == 1
    with open("pins.json", "w") as file:
        file.write('{"8": 0, "1": 1650, "2": 3300}')
    assert pin() == 0 and Pin(9, Pin.IN, Pin.PULL_UP)() == 1
    read = [machine.ADC(Pin(number), atten=machine.ADC.ATTN_11DB).read_uv() for number in (1, 2, 3)]
    assert read == [1650000, 3100000, 3100000]
    refused(ValueError, "invalid pin", machine.ADC, Pin(21))


def test_nobody_answers_on_i2c():
    bus = machine.I2C(0, sda=Pin(14), scl=Pin(21))
    assert bus.scan() == []
    refused(OSError, "19", bus.readfrom, 0x27, 1)
    refused(OSError, "19", bus.writevto, 0x3C, (b"\0", b"\xae"))
    refused(ValueError, "doesn't exist", machine.I2C, 2)


def test_a_card_is_the_file_in_the_slot_and_errors_are_numbers():
    import vfs

    with open("sd.img", "wb") as file:
        for _ in range(400):
            file.write(bytes(512))
    card = machine.SDCard(slot=2, sck=Pin(12), mosi=Pin(11), miso=Pin(13), cs=Pin(10))
    refused(OSError, "INVALID_STATE", machine.SDCard, 2)
    vfs.VfsFat.mkfs(card)
    vfs.mount(vfs.VfsFat(card), "/sd")
    with open("/sd/a", "w") as file:
        file.write("kept")
    vfs.umount("/sd")
    os.rename("sd.img", "drawer.img")
    buf = bytearray(512)
    assert card.ioctl(4, 0) == -1 and card.readblocks(0, buf) == -5 and card.writeblocks(0, buf) == -5
    card.deinit()
    os.rename("drawer.img", "sd.img")
    vfs.mount(vfs.VfsFat(machine.SDCard(slot=2, cs=Pin(10))), "/sd")
    with open("/sd/a") as file:
        assert file.read() == "kept"


def test_a_name_that_the_chip_does_not_have_is_not_there():
    assert not hasattr(machine, "DAC") and machine.Timer(1).deinit() is None
