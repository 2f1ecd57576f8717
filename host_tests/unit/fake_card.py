"""An SD card as `machine.SDCard` gives it: blocks of 512, errors as numbers and not as exceptions, no card, cut off.

A card keeps its blocks over a cut; what the slot holds is `Slot.card`, None when it is empty.
"""
import vfs

BLOCK = 512


class Card:
    """As another computer has it. `cut`: after so many blocks nothing more is written; `weak`: no write succeeds."""

    def __init__(self, blocks=400, fat=True):
        self.data = bytearray(BLOCK * blocks)
        self.cut = None
        self.weak = False
        self.written = 0
        if fat:
            vfs.VfsFat.mkfs(self)
        self.written = 0

    def readblocks(self, block, buf):
        at = block * BLOCK
        buf[:] = memoryview(self.data)[at : at + len(buf)]
        return 0

    def writeblocks(self, block, buf):
        for i in range(len(buf) // BLOCK):
            if self.weak or self.cut is not None and self.written >= self.cut:
                return -5
            at = (block + i) * BLOCK
            self.data[at : at + BLOCK] = memoryview(buf)[i * BLOCK : i * BLOCK + BLOCK]
            self.written += 1
        return 0

    def ioctl(self, op, arg):
        return {4: len(self.data) // BLOCK, 5: BLOCK}.get(op, 0)


class Slot:
    """Stands for machine.SDCard: a host that is taken twice, or with a pin too few, is refused as on the chip.

    A card that was taken out is gone for this object, though it or another be put in.
    """

    card = None
    taken = False
    tries = 0

    def __init__(self, slot=1, width=1, sck=None, miso=None, mosi=None, cs=None, cmd=None, data=None):
        Slot.tries += 1
        if Slot.taken:
            raise OSError(-259, "ESP_ERR_INVALID_STATE")
        assert (slot in (2, 3)) == (cs is not None) and (data is None or len(data) == width)
        self._card = Slot.card
        Slot.taken = True

    def deinit(self):
        Slot.taken = False

    def _there(self):
        return self._card is not None and self._card is Slot.card

    def readblocks(self, block, buf):
        return self._card.readblocks(block, buf) if self._there() else -5

    def writeblocks(self, block, buf):
        return self._card.writeblocks(block, buf) if self._there() else -5

    def ioctl(self, op, arg):
        return self._card.ioctl(op, arg) if self._there() else -1
