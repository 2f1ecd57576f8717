"""Stands in for what few gateways use of `machine`, loaded by the first who asks for it: ADC, I2C, SDCard, Timer.

    pins.json   {"8": 0, "1": 1650}: levels of inputs, and what lies at an ADC pin, in mV; read at each call
    sd.img      the card in the slot, a file of blocks; without it the slot is empty
"""
import os

import desktop

BLOCK = 512


class ADC:
    """At 11 dB: nothing above 3.1 V is told apart. An open pin of a ladder is at 3.3 V."""

    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = range(4)
    _most = 950, 1250, 1750, 3100  # mV, data sheet of the ESP32-S3

    def __init__(self, pin, atten=ATTN_0DB):
        if not 1 <= pin._id <= 20:
            raise ValueError("invalid pin")
        self._id = pin._id
        self._limit = self._most[atten]

    def read_uv(self):
        """Return the voltage in uV."""
        return min(desktop.level(self._id, 3300), self._limit) * 1000


class I2C:
    """A bus with nobody on it."""

    def __init__(self, id, *, scl=None, sda=None, freq=400000, timeout=50000):
        if id not in (0, 1):
            raise ValueError("I2C(%d) doesn't exist" % id)

    def _nobody(self, address, *args, **kwargs):
        raise OSError(19)

    readfrom = readfrom_into = writeto = writevto = readfrom_mem = readfrom_mem_into = writeto_mem = _nobody

    def scan(self):
        """Return the addresses that answer."""
        return []


class SDCard:
    """The card that is in the slot while this object lives; a host that is in use is refused."""

    _taken = False

    def __init__(self, slot=1, width=1, cd=None, wp=None, miso=None, mosi=None, sck=None, cs=None, cmd=None, data=None):
        if not 0 <= slot <= 3:
            raise ValueError("slot number must be between 0 and 3 inclusive")
        if SDCard._taken:
            raise OSError(-259, "ESP_ERR_INVALID_STATE")
        SDCard._taken = True
        self._inode = self._found()

    @staticmethod
    def _found():
        try:
            return os.stat("sd.img")[1]
        except OSError:
            return None

    def _there(self):
        return self._inode is not None and self._inode == self._found()

    def deinit(self):
        """Give the host back."""
        SDCard._taken = False

    def readblocks(self, block, buf):
        """Fill `buf`; return 0, or a negative number of an error."""
        if not self._there():
            return -5
        with open("sd.img", "rb") as file:
            file.seek(block * BLOCK)
            file.readinto(buf)
        return 0

    def writeblocks(self, block, buf):
        """Write `buf`; return 0, or a negative number of an error."""
        if not self._there():
            return -5
        with open("sd.img", "r+b") as file:
            file.seek(block * BLOCK)
            file.write(buf)
        return 0

    def ioctl(self, op, arg):
        """The block device protocol: 1 begins, 4 count, 5 size."""
        if not self._there():
            return -1
        return os.stat("sd.img")[6] // BLOCK if op == 4 else BLOCK if op == 5 else 0


class Timer:
    """Never fires: nothing interrupts this interpreter."""

    ONE_SHOT, PERIODIC = 0, 1

    def __init__(self, id, **settings):
        if not -1 <= id < 4:
            raise ValueError("invalid Timer number, max 4")

    def init(self, *, mode=PERIODIC, freq=None, period=0xFFFFFFFF, callback=None):
        pass

    def deinit(self):
        pass
