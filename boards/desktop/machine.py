"""Stands in for the chip's `machine`: UART on a terminal, Pin, RTC, WDT, resets, as strict as an ESP32-S3.

    MESHEMS_UART1=/dev/pts/5        the terminal of UART 1; without it the line is dead
    MESHEMS_RESET_CAUSE=3           what reset_cause() says; 1 (power-on) when it is not set

What the chip refuses is refused with the chip's exception. What it takes but should not be given is refused too:
a UART without pins (its defaults are those of the flash chip) and a parity other than None, 0 or 1.
"""
import errno
import hashlib
import io
import os
import sys
import termios
import time

import desktop

_path = sys.path
sys.path = ()  # so that this finds the built-in module and not this file
try:
    from machine import *  # noqa: F403
finally:
    sys.path = _path

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

BAUDS = {1200: 9, 2400: 11, 4800: 12, 9600: 13, 19200: 14, 38400: 15, 57600: 4097, 115200: 4098}  # Linux: termbits.h
CSIZE, CSTOPB, PARENB, PARODD = 0x30, 0x40, 0x100, 0x200  # likewise; macOS has the flags 4 bits higher

FIFO = 128  # bytes of hardware FIFO behind each ring buffer
TICK_MS = 10  # of FreeRTOS: what waits in ticks rounds down to it


def reset():
    """End the process with status 75: the parent starts it again, with the cause HARD_RESET."""
    raise SystemExit(75)


def soft_reset():
    """End the process with status 76: the parent starts it again, with the cause SOFT_RESET."""
    raise SystemExit(76)


def reset_cause():
    """Return why this process was started."""
    return int(os.getenv("MESHEMS_RESET_CAUSE") or PWRON_RESET)


def unique_id():
    """Return the 6 bytes of the chip's own address: another for each state directory."""
    digest = bytearray(hashlib.sha256(os.getcwd().encode()).digest()[:6])
    digest[0] = digest[0] & 0xFC | 2  # unicast, locally administered
    return bytes(digest)


desktop.remove("flash/wdt")  # a reset stops the watchdog, and power-on loses the RTC's memory
if reset_cause() == PWRON_RESET:
    desktop.remove("flash/rtc.mem")


def __getattr__(name):
    """Find what few use (parts.py)."""
    if name in ("ADC", "I2C", "SDCard", "Timer"):
        import parts

        return getattr(parts, name)
    raise AttributeError(name)


class Pin:
    """A GPIO: an output reads what was written, an input what pins.json says, else its pull. No interrupt comes."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2
    _all = {}

    def __new__(cls, id, *args, **kwargs):
        if isinstance(id, Pin):
            return id
        if not isinstance(id, int) or not 0 <= id <= 48 or 22 <= id <= 25:
            raise ValueError("invalid pin")
        if id not in cls._all:
            pin = super().__new__(cls)
            pin._id, pin._mode, pin._pull, pin._latch = id, cls.IN, None, 0
            cls._all[id] = pin
        return cls._all[id]

    def __init__(self, id, *args, **kwargs):
        if args or kwargs:
            self.init(*args, **kwargs)

    def init(self, mode=None, pull=-1, *, value=None):
        """Set what is given; the value takes effect before the mode, so that an output starts with it."""
        if value is not None:
            self._latch = 1 if value else 0
        if mode is not None:
            self._mode = mode
        if pull != -1:
            self._pull = pull

    def value(self, level=None):
        """Return the level, or set it."""
        if level is not None:
            self._latch = 1 if level else 0
        elif self._mode == self.IN:
            return desktop.level(self._id, 1 if self._pull == self.PULL_UP else 0)
        else:
            return self._latch

    __call__ = value

    def irq(self, handler=None, trigger=IRQ_FALLING | IRQ_RISING):
        """Take a handler that will never be called."""

    def on(self):
        self._latch = 1

    def off(self):
        self._latch = 0

    def toggle(self):
        self._latch ^= 1

    def __repr__(self):
        return "Pin(%d)" % self._id


class SPI:
    """A bus to hand to network.LAN; transfers are not emulated."""

    def __init__(self, id, baudrate=500000, *, sck=None, mosi=None, miso=None):
        if id not in (1, 2):
            raise ValueError("SPI(%d) doesn't exist" % id)

    def write(self, buf):
        """Send `buf` to nobody."""


class UART(io.IOBase):
    """A serial port on the terminal MESHEMS_UART<id>; what is written leaves at once, but takes its time on the wire.

    A real serial port gets speed, parity and stop bits from each init(). A pseudo-terminal carries none of them: they
    are said in <terminal>.line too, "9600 8N1"; not beside a device in /dev.
    """

    _all = {}

    def __new__(cls, id, *args, **kwargs):
        if id == 0:
            raise ValueError("REPL UART buffer size is fixed")
        if id not in (1, 2):
            raise ValueError("UART(%d) does not exist" % id)
        if id not in cls._all:
            uart = super().__new__(cls)
            uart._path = os.getenv("MESHEMS_UART%d" % id)
            uart._tty = None
            uart._on = False
            uart._end = time.ticks_us()  # when the last bit will have left
            cls._all[id] = uart
        return cls._all[id]

    def __init__(self, id, *args, **kwargs):
        self.init(*args, **kwargs)

    def init(self, baudrate=0, bits=0, parity=-1, stop=0, *, tx=None, rx=None, txbuf=-1, rxbuf=-1,
             timeout=-1, timeout_char=-1):
        """Set what is given, keep the rest, and discard the input."""
        if not self._on:
            if tx is None or rx is None:
                raise ValueError("tx and rx are needed: the chip's default pins are those of its flash")
            self._baud, self._bits, self._parity, self._stop = 115200, 8, None, 1
            self._txbuf, self._buf, self._timeout, self._timeout_char = 256, bytearray(256), 0, 0
        else:
            self._wait_us(min(self._left_us(), 1000000))
        if 0 <= rxbuf <= FIFO or 0 < txbuf <= FIFO:
            raise OSError(1, "ESP_FAIL")
        for pin in (tx, rx):
            if pin is not None:
                Pin(pin)
        if bits not in (0, 5, 6, 7, 8):
            raise ValueError("invalid data bits")
        if parity not in (-1, None, 0, 1):
            raise ValueError("invalid parity")
        if stop not in (0, 1, 2):
            raise ValueError("invalid stop bits")
        if timeout_char // (12000 // (baudrate or self._baud) + 1) > 92:
            raise OSError(-258, "ESP_ERR_INVALID_ARG")
        self._baud = baudrate or self._baud
        self._bits = bits or self._bits
        self._stop = stop or self._stop
        if parity != -1:
            self._parity = parity
        if txbuf >= 0:
            self._txbuf = txbuf
        if rxbuf >= 0 and rxbuf != len(self._buf):
            self._buf = bytearray(rxbuf)
        if timeout >= 0:
            self._timeout = timeout
        if timeout_char >= 0:
            self._timeout_char = timeout_char
        self._view = memoryview(self._buf)
        self._on = True
        self._char_bits = 1 + self._bits + (self._parity is not None) + self._stop
        self._announce()
        self._set()
        self._open()
        self._count = len(self._buf)  # a full ring: what waits in the terminal is dropped
        self._pump()
        self._count = 0

    def deinit(self):
        """Give up the port; init() takes it again, from the defaults on."""
        self._on = False

    def _announce(self):
        if self._path and not self._path.startswith("/dev/"):
            parity = "N" if self._parity is None else "EO"[self._parity]
            try:
                desktop.save(self._path + ".line", "%d %d%s%d\n" % (self._baud, self._bits, parity, self._stop))
            except OSError:
                pass  # nobody can write there: the line takes the settings as matching

    def _open(self):
        """Open the terminal if it is there: raw, and a read that finds nothing returns at once."""
        if self._path and not self._tty:
            try:
                self._tty = open(self._path, "r+b")
                termios.setraw(self._tty.fileno())
                mode = termios.tcgetattr(self._tty.fileno())
                mode[6] = [0 if isinstance(c, int) else c for c in mode[6]]  # VMIN and VTIME are the two ints
                termios.tcsetattr(self._tty.fileno(), termios.TCSANOW, mode)
            except OSError:
                self._tty = None
                return
            self._set()

    def _set(self):
        """Give the terminal its speed and format. A pseudo-terminal keeps what it can of them and ignores it."""
        if not self._tty:
            return
        linux = termios.B9600 == BAUDS[9600]
        up = 0 if linux else 4
        flags = CSIZE & (self._bits - 5) << 4 | (self._stop == 2 and CSTOPB)
        if self._parity is not None:
            flags |= PARENB | (self._parity and PARODD)
        try:
            mode = termios.tcgetattr(self._tty.fileno())
            mode[2] = mode[2] & ~((CSIZE | CSTOPB | PARENB | PARODD) << up) | flags << up
            mode[4] = mode[5] = BAUDS.get(self._baud, mode[5]) if linux else self._baud
            termios.tcsetattr(self._tty.fileno(), termios.TCSANOW, mode)
        except OSError:
            pass  # a pseudo-terminal takes no parity; one that was hung up is noticed at the next read

    def _hang_up(self):
        self._tty.close()
        self._tty = None

    def _pump(self):
        """Take what has arrived into the ring; what does not fit is lost, as in the chip."""
        if self._tty and self._on:
            try:
                if self._count < len(self._buf):
                    self._count += self._tty.readinto(self._view[self._count :])
                if self._count == len(self._buf):
                    while self._tty.read(FIFO):
                        pass
            except OSError:
                self._hang_up()

    def _wait(self, ms):
        """Return how many bytes are there, as soon as there are some or when `ms`, in whole ticks, have passed."""
        end = time.ticks_add(time.ticks_ms(), ms // TICK_MS * TICK_MS)
        self._pump()
        while not self._count and time.ticks_diff(end, time.ticks_ms()) > 0:
            time.sleep_ms(1)
            self._pump()
        return self._count

    def _take(self, view):
        """Move bytes from the ring into `view`; return how many."""
        n = min(self._count, len(view))
        view[:n] = self._view[:n]
        self._count -= n
        if self._count:
            self._buf[: self._count] = self._buf[n : n + self._count]
        return n

    def any(self):
        """Return the number of bytes that can be read at once."""
        if not self._on:
            raise OSError(1, "ESP_FAIL")
        self._pump()
        return self._count

    def readinto(self, buf, nbytes=-1):
        """Fill `buf`, or its first `nbytes`, as far as bytes come in time; return the count, None when none came."""
        view = memoryview(buf)
        if nbytes >= 0:
            view = view[:nbytes]
        got, ms = 0, self._timeout
        while self._on and got < len(view) and self._wait(ms):
            got += self._take(view[got:])
            ms = self._timeout_char
        return got if got or not len(view) else None

    def read(self, nbytes=-1):
        """Return at most `nbytes` bytes, or all that come in time; None when there are none."""
        if nbytes is None or nbytes < 0:
            data, ms = b"", self._timeout
            while self._on and self._wait(ms):
                data += self._view[: self._count]
                self._count = 0
                ms = self._timeout_char
            return data or None
        buf = bytearray(nbytes)
        got = self.readinto(buf)
        return None if got is None else bytes(memoryview(buf)[:got])

    def write(self, buf):
        """Send `buf`; return its length, after blocking until the rest fits the ring and the FIFO."""
        if not self._on:
            return None
        n = len(buf)
        now = time.ticks_us()
        if time.ticks_diff(self._end, now) < 0:
            self._end = now
        self._end = time.ticks_add(self._end, self._wire_us(n))
        self._open()
        if self._tty:
            try:
                self._tty.write(buf)
            except OSError:  # the other end is gone; it is looked for again with the next write
                self._hang_up()
        self._wait_us(self._left_us() - self._wire_us(self._txbuf + FIFO))
        return n

    def _wire_us(self, n):
        return n * self._char_bits * 1000000 // self._baud

    def _left_us(self):
        return time.ticks_diff(self._end, time.ticks_us())

    def _wait_us(self, us):
        if us > 0:
            time.sleep_us(us)

    def txdone(self):
        """Return whether the last stop bit has left."""
        return self._on and self._left_us() <= 0

    def flush(self):
        """Block until the last stop bit has left; OSError ETIMEDOUT at the chip's limit: at once with a small txbuf."""
        limit_us = (3 + self._txbuf) * 26000 // self._baud * TICK_MS * 1000
        left_us = self._left_us()
        self._wait_us(min(left_us, limit_us))
        if left_us > limit_us or not self._on:
            raise OSError(errno.ETIMEDOUT)

    def ioctl(self, op, arg):
        """The stream protocol: 3 polls (1 readable, 4 writable, which it always is), 1 flushes."""
        if op == 3:
            return (1 if arg & 1 and self.any() else 0) | arg & 4
        if op == 1:
            self.flush()
            return 0
        return -errno.EINVAL


class RTC:
    """The clock that runs through every reset but power-on, and 2048 bytes that survive with it."""

    def datetime(self, value=None):
        """Return (year, month, day, weekday from Monday = 0, hour, minute, second, microsecond), or set it."""
        if value is None:
            second, micro = divmod(time._clock_us(), 1000000)
            year, month, day, hour, minute, second, weekday, _ = time._fields(second)
            return year, month, day, weekday, hour, minute, second, micro
        if len(value) != 8:
            raise ValueError("requested length 8 but object has length %d" % len(value))
        year, month, day, _, hour, minute, second, micro = value
        time._set_clock_us(time._unix_s(year, month, day, hour, minute, second) * 1000000 + micro)

    def memory(self, data=None):
        """Return the bytes kept, or keep `data`."""
        if data is None:
            try:
                with open("flash/rtc.mem", "rb") as file:
                    return file.read()
            except OSError:
                return b""
        if len(data) > 2048:
            raise ValueError("buffer too long")
        with open(desktop.flash("rtc.mem"), "wb") as file:
            file.write(data)


class WDT:
    """The watchdog: feed() writes "timeout_ms count" to ./flash/wdt, the parent is the hardware. Nothing stops it."""

    _count = 0

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout < 1000:
            raise ValueError("WDT timeout too short")
        self._timeout = timeout
        self._file = open(desktop.flash("wdt"), "w")
        self._stop = desktop.flash("stop")
        self.feed()

    def feed(self):
        """Start the interval anew: one write of a line that never gets shorter, so that a reader finds it whole.

        Raises KeyboardInterrupt when the parent made ./flash/stop: a chip hears Ctrl-C between two operations, while
        the unix port hears SIGINT within one, and a collection of garbage that is left half-way locks the heap.
        """
        WDT._count += 1
        self._file.seek(0)
        self._file.write("%d %d\n" % (self._timeout, WDT._count))
        try:
            os.remove(self._stop)
        except OSError:
            return  # nobody asked
        raise KeyboardInterrupt
