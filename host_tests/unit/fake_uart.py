"""A serial line with its own time: tests of the bus run without waiting, and every microsecond is accounted for.

    clock = fake_uart.Clock(rs485, modbus)          these modules and asyncio now live in the clock's time
    uart = fake_uart.UART(clock, 9600, reply=slave)

The clock only moves when every task sleeps, or while something blocks. Ticks wrap at 2^30 as on the chip; with
`grain` a sleep ends at the next multiple of so many ms, as on the chip (10). The UART is as strict as the chip's: None
where nothing is there, a short count, a receive buffer that overflows, a `flush` that blocks.
"""

import asyncio

PERIOD = 1 << 30
KEPT = 100  # frames of UART.sent


class Clock:
    """Stands in for the module `time` in `modules`, and for the clock of asyncio."""

    def __init__(self, *modules, start_us=0, grain=1):
        self.us = start_us
        self.grain = grain
        self.slept = 0  # how often the loop went to sleep
        self._origin = asyncio.core.ticks() + 600000  # ahead of real time, which the task queue's C code sees
        self._start = start_us
        asyncio.core.ticks = lambda: self._origin + (self.us - self._start) // 1000
        asyncio.core._io_queue = self
        for module in modules:
            module.time = self

    def wait_io_event(self, ms):
        assert ms >= 0, "every task waits for something that never comes"
        if ms:
            self.slept += 1
            self.us += ms * 1000 - self.us % 1000  # ticks are whole: a sleep may be up to 1 ms shorter than asked for
            self.us += -self.us % (self.grain * 1000)

    def ticks_ms(self):
        return self.us // 1000 % PERIOD

    def ticks_us(self):
        return self.us % PERIOD

    def ticks_diff(self, a, b):
        return (a - b + PERIOD // 2) % PERIOD - PERIOD // 2

    def ticks_add(self, a, b):
        return (a + b) % PERIOD


class Pin:
    """The driver-enable pin: `edges` are (us, level)."""

    def __init__(self, clock):
        self._clock = clock
        self.edges = []

    def __call__(self, level):
        self.edges.append((self._clock.us, level))


class UART:
    """machine.UART with a line behind it.

    `reply(frame)` is called with each frame that was sent and returns [(us after its last bit, bytes), ...]: what
    comes back. `sent` holds the last frames, (us of the first bit, us of the last, bytes), `early` how often a request
    began less than 3.5 characters after the last byte on the line, `blocked` the us that each flush took.
    """

    def __init__(self, clock, baud=9600, bits=10, reply=None, echo=False, rxbuf=512):
        self._clock = clock
        self._rxbuf = rxbuf
        self._echo = echo
        self.char_us = bits * 1000000 / baud
        self.reply = reply
        self.sent = []
        self.blocked = []
        self.settings = None
        self.early = self.overflows = self.reads = 0
        self.fail = None  # an OSError that the next call raises
        self._coming = []  # (us at which the byte is complete, byte), in order
        self._end = -1000000  # us at which the last bit left or came

    def arrive(self, us, data):
        """Let `data` begin to come in at `us`."""
        self._coming += [(us + (i + 1) * self.char_us, byte) for i, byte in enumerate(data)]
        self._coming.sort()

    def _check(self):
        if self.fail:
            error, self.fail = self.fail, None
            raise error

    def init(self, **settings):
        self.settings = settings
        self._coming = []

    def write(self, frame):
        self._check()
        frame = bytes(frame)
        start = max(self._clock.us, self._end if self.sent else 0)
        before = [self._end] + [us for us, _ in self._coming if us <= start]
        if start - max(before) < min(3.5 * self.char_us, 1750 if self.char_us < 500 else 1e9) - 1:
            self.early += 1
        self._end = start + len(frame) * self.char_us
        self.sent.append((start, self._end, frame))
        del self.sent[:-KEPT]
        if self._echo:
            self.arrive(start, frame)
        for after, data in self.reply(frame) if self.reply else ():
            self.arrive(self._end + after, data)
        return len(frame)

    def flush(self):
        self._check()
        wait = max(0, self._end - self._clock.us)
        self.blocked.append(wait)
        self._clock.us += int(wait) + 1

    def any(self):
        return len([1 for us, _ in self._coming if us <= self._clock.us])

    def readinto(self, buf):
        self._check()
        self.reads += 1
        there = self.any()
        if there > self._rxbuf:
            self.overflows += 1
            del self._coming[: there - self._rxbuf]
            there = self._rxbuf
        n = min(there, len(buf))
        if not n:
            return None
        for i in range(n):
            buf[i] = self._coming[i][1]
        self._end = max(self._end, self._coming[n - 1][0])
        del self._coming[:n]
        return n


def crc(data):
    """The CRC bit by bit, as the specification draws it: not the code under test."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return bytes((value & 255, value >> 8))


def frame(*parts):
    """Return the bytes of the parts (numbers or bytes) with their CRC."""
    data = b"".join([bytes((part,)) if isinstance(part, int) else part for part in parts])
    return data + crc(data)


class Meter:
    """Answers reads of its unit: `registers` is {(function, address): word}, what is not in it is exception 2."""

    def __init__(self, unit, registers, delay_us=20000):
        self.unit = unit
        self.registers = registers
        self.delay_us = delay_us
        self.asked = 0

    def answer(self, request):
        """Return the reply to a request as bytes; b"" when it is for somebody else."""
        if request[0] != self.unit or crc(request[:6]) != request[6:]:
            return b""
        self.asked += 1
        function = request[1]
        address, count = request[2] << 8 | request[3], request[4] << 8 | request[5]
        data = b""
        for at in range(address, address + count):
            word = self.registers.get((function, at))
            if word is None:
                return frame(self.unit, function | 128, 2)
            data += bytes((word >> 8, word & 255))
        return frame(self.unit, function, len(data), data)

    def __call__(self, request):
        reply = self.answer(request)
        return [(self.delay_us, reply)] if reply else []
