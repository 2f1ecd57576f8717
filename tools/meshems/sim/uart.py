"""Characters as a UART makes and takes them: a baud rate, a format, and what one set so hears of one set otherwise.

heard(bytes, Settings(9600, "8E1"), Settings(9600, "8N1"))      # [(end in us, byte, good), ...]

A receiver waits for a falling edge, looks at the middle of each bit, and looks at the first stop bit only, as the
common parts do (16550, ESP32, STM32). Hence 8N1 and 8N2 understand each other; every other difference does not go well.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Uart:
    """How a UART is set: baud rate, and data bits, parity and stop bits as in "8N1". ValueError for what none can."""

    baud: int = 9600
    format: str = "8N1"

    def __post_init__(self) -> None:
        data, parity, stop = self.format
        if data not in "5678" or parity not in "NEO" or stop not in "12" or self.baud <= 0:
            raise ValueError(f"{self}: no UART can be set so")

    @property
    def data_bits(self) -> int:
        """Return how many bits of data a character has."""
        return int(self.format[0])

    @property
    def parity(self) -> int | None:
        """Return the sum of the data and parity bits modulo 2: 0 even, 1 odd, None without parity."""
        return {"N": None, "E": 0, "O": 1}[self.format[1]]

    @property
    def bits(self) -> int:
        """Return how many bits a character has: start bit, data, parity, stop bits."""
        return 1 + self.data_bits + (self.parity is not None) + int(self.format[2])

    @property
    def char_s(self) -> float:
        """Return how long one character takes."""
        return self.bits / self.baud

    @property
    def gap_s(self) -> float:
        """Return the silence that ends a frame (Modbus over serial line V1.02, 2.5.1.1)."""
        return 3.5 * self.char_s if self.baud <= 19200 else 0.00175

    def __str__(self) -> str:
        return f"{self.baud} {self.format}"


@dataclass(frozen=True)
class Settings(Uart):
    """How a Modbus line is set. ValueError for what is none."""

    def __post_init__(self) -> None:
        if self.format not in ("8N1", "8E1", "8O1", "8N2", "8E2", "8O2"):
            raise ValueError(f"format {self.format}: allowed 8N1 8E1 8O1 8N2 8E2 8O2")
        if not 300 <= self.baud <= 1_000_000:
            raise ValueError(f"baud {self.baud}: allowed 300 to 1000000")


Heard = list[tuple[float, int, bool]]  # (us from the first start bit to the character's end, byte, no error in it)


def heard(data: bytes, sender: Uart, receiver: Uart) -> Heard:
    """Return what `receiver` makes of `data` that `sender` sends without a pause."""
    if (sender.baud, sender.data_bits, sender.parity) == (receiver.baud, receiver.data_bits, receiver.parity):
        return [((i + 1) * sender.char_s * 1e6, byte, True) for i, byte in enumerate(data)]
    return sampled(levels(data, sender), 1e6 / sender.baud, receiver)


def levels(data: bytes, sender: Uart) -> list[int]:
    """Return the levels of the line while `data` is sent, bit by bit."""
    line: list[int] = []
    for byte in data:
        bits = [byte >> i & 1 for i in range(sender.data_bits)]
        if sender.parity is not None:
            bits.append((sum(bits) + sender.parity) % 2)
        line += [0, *bits, *[1] * int(sender.format[2])]
    return line


def sampled(line: list[int], bit_us: float, receiver: Uart) -> Heard:
    """Return the characters that a receiver finds in levels of `bit_us` each, before and after which the line rests."""
    step = 1e6 / receiver.baud

    def level(at_us: float) -> int:
        index = int(at_us / bit_us)
        return line[index] if index < len(line) else 1

    found: Heard = []
    free_us = 0.0
    for edge in [i for i in range(len(line)) if not line[i] and (i == 0 or line[i - 1])]:
        start = edge * bit_us
        if start < free_us or level(start + step / 2):  # in the middle of a character; a spike
            continue
        after = receiver.data_bits + (receiver.parity is not None)
        bits = [level(start + (i + 1.5) * step) for i in range(after)]
        stop_us = start + (after + 1.5) * step
        good = level(stop_us) == 1 and receiver.parity in (None, sum(bits) % 2)
        byte = sum(bit << i for i, bit in enumerate(bits[: receiver.data_bits]))
        found.append((start + receiver.bits * step, byte, good))
        free_us = stop_us
    return found
