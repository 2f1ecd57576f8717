"""Half-duplex RS-485 over a machine.UART: bytes out, bytes in, and silences; nothing of what they mean.

    line = RS485(machine.UART(1, 9600, tx=17, rx=18, txbuf=512, rxbuf=512), 9600, "8N1")
    async with line.lock:
        await line.drop()
        await line.write(request)
        got = await line.read(line.buf, 25, 500)

Who talks holds `lock` from the first call to the last use of `buf`. Nothing blocks: the time that bytes take on the
wire is known, so a task sleeps that long and then looks. `stats` counts [bytes sent, received, thrown away, echoes that
were not what was sent]. A UART that fails raises its OSError.
"""

import asyncio
import time

from micropython import const

_SENT = const(0)
_RECEIVED = const(1)
_DROPPED = const(2)
_ECHO = const(3)
_BUFFER = const(288)  # the longest frame, 256 bytes, and some noise before it
_ECHO_MS = const(20)  # an echo is complete when the last bit has left; the rest is for the scheduler
_FLUSH_MS = const(15)  # asyncio may wake 10 ms late, and the driver has to be off 3.5 characters after the last bit


class RS485:
    """One line. `de` is called with 1 before and 0 after sending; `echo` says that what is sent is also received."""

    def __init__(self, uart, baud, fmt="8N1", de=None, echo=False):
        self.lock = asyncio.Lock()
        self.buf = memoryview(bytearray(_BUFFER))
        self.stats = [0] * 4
        self._uart = uart
        self._de = de
        self._echo = echo
        self._time(baud, fmt)

    def _time(self, baud, fmt):
        bits = 1 + int(fmt[0]) + (fmt[1] != "N") + int(fmt[2])
        self.char_us = -(-bits * 1000000 // baud)
        # Modbus over serial line V1.02, 2.5.1.1: 3.5 characters, and 1.75 ms at more than 19200 baud
        self.gap_us = 1750 if baud > 19200 else -(-7 * self.char_us // 2)
        self._active = time.ticks_us()  # when something was last seen on the line

    def ms(self, n):
        """Return the time that `n` characters take on the wire, in ms, rounded up."""
        return -(-n * self.char_us // 1000)

    async def set(self, baud, fmt):
        """Change the line's speed and format, for example to 2400, "8E1", and wait for silence."""
        parity = {"N": None, "E": 0, "O": 1}[fmt[1]]
        self._uart.init(baudrate=baud, bits=int(fmt[0]), parity=parity, stop=int(fmt[2]))
        self._time(baud, fmt)
        await self.drop()

    async def write(self, frame):
        """Send `frame`, at most 256 bytes, and return when its last bit has left."""
        ms = self.ms(len(frame))
        if self._de:
            self._de(1)
            try:
                self._uart.write(frame)
                if ms > _FLUSH_MS:
                    await asyncio.sleep_ms(ms - _FLUSH_MS)
                self._uart.flush()
            finally:
                self._de(0)
        else:
            self._uart.write(frame)
            await asyncio.sleep_ms(ms + 1)  # ticks are cut, so one more is at least as long
        self.stats[_SENT] += len(frame)
        if self._echo:
            got = await self.read(self.buf, len(frame), _ECHO_MS)
            if self.buf[:got] != frame:
                self.stats[_ECHO] += 1
        self._active = time.ticks_us()

    async def read(self, view, n, ms):
        """Fill `view` until `n` bytes are there or `ms` have passed since the call; return how many are there."""
        start = time.ticks_ms()
        got = 0
        while True:
            more = self._uart.readinto(view[got:n])
            if more:
                got += more
                self.stats[_RECEIVED] += more
                self._active = time.ticks_us()
            left = ms - time.ticks_diff(time.ticks_ms(), start)
            if got >= n or left <= 0:
                return got
            # cut, not rounded up: the last character is seen within its own time, or 1 ms, of its end
            await asyncio.sleep_ms(min(left, (n - got) * self.char_us // 1000 or 1))

    async def drop(self):
        """Throw away what comes in until the line was silent for `gap_us`, at most for the time of `buf`.

        Return whether it is silent.
        """
        start = time.ticks_ms()
        while True:
            more = self._uart.readinto(self.buf)
            if more:
                self.stats[_DROPPED] += more
                self._active = time.ticks_us()
            wait = self.gap_us - time.ticks_diff(time.ticks_us(), self._active)
            silent = not 0 < wait <= self.gap_us  # beyond the gap: ticks_us wrapped while the line was silent
            if silent or time.ticks_diff(time.ticks_ms(), start) > self.ms(_BUFFER):
                return silent
            await asyncio.sleep_ms(wait // 1000 + 1)
