"""The bits of the journal's ring on flash: block headers and frames. Specification: docs/journal.md.

Knows nothing of order, of ordinals or of what to do next: neighbours `Journal` (writes) and `reader.Reader` (reads).
"""
import struct
from binascii import crc32

from micropython import const

BLOCK = const(4096)
HEAD = const(32)  # bytes of a block header; the first frame begins after it
_UNIT = const(16)  # frames begin at its multiples: what an encrypted partition can program
MAX = const(504)  # bytes of payload; a frame is at most 512
_MAGIC = const(0x4A4D)  # "MJ"
_VERSION = const(1)
_HEADER = const("<HBBIIIIIII")


def size(length):
    """Return the bytes that a frame with `length` bytes of payload takes on flash."""
    return (8 + length + _UNIT - 1) & -_UNIT


def load_header(dev, block, buf):
    """Return (seq, ordinal, t0, erases, boots, blocks) of a block, or None. `buf` is a bytearray of HEAD bytes."""
    dev.readblocks(block, buf, 0)
    if buf[0] != _MAGIC & 255 or buf[1] != _MAGIC >> 8 or buf[2] != _VERSION or buf[3] != HEAD:
        return None
    fields = struct.unpack(_HEADER, buf)
    return fields[3:9] if crc32(memoryview(buf)[:28]) == fields[9] else None


def store_header(dev, block, buf, fields):
    """Program the header of an erased block; return whether it reads back. OSError from the device."""
    struct.pack_into(_HEADER, buf, 0, _MAGIC, _VERSION, HEAD, *fields, 0)
    struct.pack_into("<I", buf, 28, crc32(memoryview(buf)[:28]))
    dev.writeblocks(block, buf, 0)
    return load_header(dev, block, buf) == fields


class Frame:
    """One frame's buffer, and a walk through the frames of one block.

    `seek` chooses the block, each `step` loads a frame: then kind, first, count, payload are its own, `off` is the
    offset after it. `bad` says that something damaged was passed since it was last set to False.
    """

    def __init__(self, dev):
        self.dev = dev
        # What the CRC covers before the payload lies together: 2 seq u32, 6 offset u16, 8 the frame's first four
        # bytes. 12 its CRC, 16 its payload; the frame itself begins at 8, aligned for DMA.
        self._raw = bytearray(16 + MAX)
        self._view = memoryview(self._raw)
        self._front = self._view[8:16]

    def buffer(self):
        """Return a memoryview of where a payload lies."""
        return self._view[16:]

    def seek(self, block, seq, off):
        """Go to offset `off` of the block with the number `seq`."""
        self.block, self._seq, self.off = block, seq, off
        self.bad = False

    def step(self, end):
        """Load the next valid frame that begins before `end`; return False when there is none."""
        raw = self._raw
        while self.off < end:
            off = self.off
            self.dev.readblocks(self.block, self._front, off)
            word = raw[8] | raw[9] << 8
            if word == 0xFFFF and not self.bad:
                self.off = (off | 255) + 1  # blank: a session ended here, the next one began at a new page
                continue
            length = word & 4095
            if length <= MAX and off + 8 + length <= BLOCK:
                self.payload = self._view[16 : 16 + length]
                if length:
                    self.dev.readblocks(self.block, self.payload, off + 8)
                if self._crc(off) == struct.unpack_from("<I", raw, 12)[0]:
                    place = raw[10] | raw[11] << 8
                    self.kind, self.first, self.count = word >> 12, place >> 6, place & 63
                    self.off += size(length)
                    return True
            self.bad = True  # its length is not to be trusted: look at each place where a frame may begin
            self.off += _UNIT
        return False

    def _crc(self, off):
        struct.pack_into("<IH", self._raw, 2, self._seq, off)
        return crc32(self.payload, crc32(self._view[2:12]))

    def store(self, off, word, place, payload):
        """Program a frame at `off` of the block; return whether it reads back as it was meant."""
        raw, view = self._raw, self._view
        end = 16 + len(payload)
        self.payload = view[16:end]
        self.payload[:] = payload
        struct.pack_into("<HH", raw, 8, word, place)
        crc = self._crc(off)
        struct.pack_into("<I", raw, 12, crc)
        whole = view[8 : 8 + size(len(payload))]
        for i in range(end, 8 + len(whole)):
            raw[i] = 0xFF
        try:
            self.dev.writeblocks(self.block, whole, off)
            self.dev.readblocks(self.block, whole, off)
        except OSError:
            return False
        return self.payload == payload and struct.unpack_from("<HHI", raw, 8) == (word, place, crc)
