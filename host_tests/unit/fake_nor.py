"""NOR flash in RAM behind the calls of `esp32.Partition`: stricter than a chip, and able to lose power anywhere.

A program reaches the cells in slices of at most 64 bytes that do not cross a page of 256 (as ESP-IDF sends them).
Programming 16 bytes that were programmed since their erase is an AssertionError, even where no bit would rise: that
is what ECC and encryption forbid. `trace` collects each operation on the cells; `tear` applies one that was cut off
in the middle; `cut_at` cuts the power in the course of that operation.
"""
import random

BLOCK = 4096
UNIT = 16
PROGRAM_TEARS = ("none", "faint", "half", "random", "whole", "few", "weak")
ERASE_TEARS = ("none", "half", "random", "whole", "few", "weak", "soft", "zeroes", "head", "tail")


class PowerCut(Exception):
    """Raised by the operation in which power was lost, and by every one after it."""


class Nor:
    """`blocks` blocks of erased flash. `erases` counts them by block, `ops` operations on the cells, `reads` calls."""

    def __init__(self, blocks):
        self.image = bytearray(b"\xff" * (blocks * BLOCK))
        self.used = bytearray(blocks * BLOCK // UNIT)  # units programmed since their erase, or not surely erased
        self.erases = [0] * blocks
        self.ops = self.reads = 0
        self.trace = None  # or a list of (address, data of a program or None of an erase, watch())
        self.watch = lambda: None
        self.cut_at = -1
        self.cut_mode = "none"  # or a pair: of a program, of an erase
        self.shaky = {}  # address: bits that read differently each time, until their erase
        self.stuck = {}  # address: bits that no program clears
        self.dead = False  # no program has any effect

    def copy(self, other):
        """Become the same as another flash of this size, but for its counters and faults."""
        self.image[:] = other.image
        self.used[:] = other.used
        self.shaky = dict(other.shaky)

    def fill(self, data, at=0):
        """Put foreign bytes into the cells, as another program would have left them."""
        self.image[at : at + len(data)] = data
        for i in range(len(self.used)):
            if min(memoryview(self.image)[i * UNIT : i * UNIT + UNIT]) != 255:
                self.used[i] = 1

    def flip(self, at, bits):
        """Let bits of a byte rot."""
        self.image[at] ^= bits

    # what a Partition has

    def readblocks(self, block, buf, off=0):
        self.reads += 1
        at = block * BLOCK + off
        assert 0 <= at and at + len(buf) <= len(self.image), "read beyond the partition"
        memoryview(buf)[:] = memoryview(self.image)[at : at + len(buf)]
        for where, bits in self.shaky.items():
            if at <= where < at + len(buf):
                buf[where - at] ^= bits & random.getrandbits(8)

    def writeblocks(self, block, buf, off=None):
        assert off is not None, "without an offset the chip erases first"
        at, data = block * BLOCK + off, memoryview(buf)
        assert at % UNIT == 0 and len(data) % UNIT == 0 and len(data), "an encrypted partition takes 16 bytes"
        assert 0 <= off and off + len(data) <= BLOCK, "program beyond the block"
        while len(data):
            n = min(64, len(data), 256 - at % 256)
            self._operation(at, data[:n])
            at, data = at + n, data[n:]

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.image) // BLOCK
        if op == 5:
            return BLOCK
        if op in (1, 2, 3):  # init, deinit, sync: nothing is kept back
            return 0
        assert op == 6
        self._operation(arg * BLOCK, None)
        return 0

    # what the cells do

    def _operation(self, at, data):
        if self.cut_at >= 0 and self.ops >= self.cut_at:
            if self.ops == self.cut_at:
                self.ops += 1
                self.tear(at, data, self.cut_mode if isinstance(self.cut_mode, str) else self.cut_mode[data is None])
            raise PowerCut
        self.ops += 1
        if self.trace is not None:
            self.trace.append((at, data if data is None else bytes(data), self.watch()))
        self.do(at, data)

    def do(self, at, data):
        """Carry out an operation of the trace."""
        if data is None:
            block = at // BLOCK
            self._calm(at)
            self.erases[block] += 1
            self.image[at : at + BLOCK] = b"\xff" * BLOCK
            self.used[at // UNIT : (at + BLOCK) // UNIT] = bytes(BLOCK // UNIT)
            return
        self._use(at, len(data))
        if self.dead:
            return
        if not self.stuck:
            self.image[at : at + len(data)] = data  # all of it was erased
            return
        for i in range(len(data)):
            self.image[at + i] = data[i] | self.stuck.get(at + i, 0)

    def _use(self, at, n):
        for unit in range(at // UNIT, (at + n) // UNIT):
            assert not self.used[unit], "programmed twice: %d in block %d" % (at % BLOCK, at // BLOCK)
            self.used[unit] = 1

    def _calm(self, at):
        for where in list(self.shaky):
            if at <= where < at + BLOCK:
                del self.shaky[where]

    def tear(self, at, data, mode):
        """Carry out an operation as a power cut leaves it.

        none: it had not begun. half, random: of its bytes, of its bits. whole: complete, and nobody was told. few,
        weak: complete, but one bit, or all, read differently each time. faint, soft: reads as if nothing had been
        programmed, as if well erased, and must not be programmed. zeroes, head, tail: some parts program all cells
        before they erase, and it had done so with all of the block or with half of it.
        """
        if mode == "none":
            return
        if mode == "whole":
            return self.do(at, data)
        old = bytes(memoryview(self.image)[at : at + BLOCK])
        if data is None:
            half = BLOCK // 2
            new = b"\xff" * BLOCK
            if mode == "half":
                new = new[:half] + old[half:]
            elif mode == "random":
                new = bytes(b | random.getrandbits(8) for b in old)
            elif mode in ("zeroes", "head", "tail"):
                new = old[:half] if mode == "tail" else bytes(half)
                new += old[half:] if mode == "head" else bytes(half)
            self._calm(at)
            self.used[at // UNIT : (at + BLOCK) // UNIT] = b"\1" * (BLOCK // UNIT)
        else:
            self._use(at, len(data))
            data = bytes(data)
            half = len(data) // 2
            new = {"half": data[:half] + b"\xff" * (len(data) - half), "faint": b"\xff" * len(data)}.get(mode, data)
            if mode == "random":
                new = bytes(b | random.getrandbits(8) for b in data)
        self.image[at : at + len(new)] = new
        if mode in ("few", "weak"):
            changed = [i for i in range(len(new)) if old[i] != new[i]]
            if changed and mode == "few":
                i = random.choice(changed)
                bits = old[i] ^ new[i]
                while bits & bits - 1:  # one bit of them
                    bits &= bits - 1 if random.getrandbits(1) else -bits
                self.shaky[at + i] = bits
            elif changed:
                for i in changed if len(changed) <= 64 else changed[:32] + [random.choice(changed) for _ in range(32)]:
                    self.shaky[at + i] = old[i] ^ new[i]
