"""PCF8574 and PCF8574A: eight lines on I2C, each an output that sinks or an input with a weak pull-up.

    bank = PCF8574(i2c, (0x27, 0x3F), (7, 6, 5, 4, 3, 2, 1, 0), True)
    bank.switch(1, True)        # relay 1 is bit 7, and on when the line is low
    bank.on(1)

The chip has one register and no more: what is written are the latches, what is read are the levels of the lines
(NXP PCF8574, 8.1 and 8.3). It does not know of a reset of the processor, and keeps its lines over one; at power-on all
lines are high. So nothing is written when a bank is made, and no relay moves.
"""
from errno import EIO, ENODEV


class PCF8574:
    """`bits`: the bit of each line, line 1 first; `low`: whether a line is on when it is low. OSError: no answer."""

    def __init__(self, i2c, addresses, bits, low):
        self._i2c = i2c
        self._bits = bytes(bits)
        self._mask = 0
        for bit in bits:
            self._mask |= 1 << bit
        self._low = 255 if low else 0
        for self.at in addresses:
            try:
                self._latch = self.read() | 255 & ~self._mask  # a 1 keeps what is no line of ours an input
                return
            except OSError:
                pass
        raise OSError(ENODEV)

    def read(self):
        """Return the levels of all eight lines, a bit each."""
        return self._i2c.readfrom(self.at, 1)[0]

    def on(self, line):
        """Return whether a line (from 1) is on, by its level."""
        return bool((self.read() ^ self._low) >> self._bits[line - 1] & 1)

    def switch(self, line, on):
        """Switch one line and no other. OSError EIO when its level does not follow: then it may be either."""
        bit = 1 << self._bits[line - 1]
        self._latch = self._latch | bit if on != (self._low == 255) else self._latch & ~bit
        self._i2c.writeto(self.at, bytes((self._latch,)))
        if (self.read() ^ self._latch) & bit:
            raise OSError(EIO)
