"""A small file kept as two copies, NAME.0 and NAME.1: whatever the moment of a power cut, one of them is whole.

    twin.save("slots", data)
    twin.load("slots")

A copy is u32 CRC32, u32 generation (both little-endian), data; the CRC covers generation and data. `save` only ever
touches the copy that is not in force. For what changes rarely: each `save` costs an erase of a flash block.
"""
from binascii import crc32
from struct import pack, unpack

_SEED = 1  # of the CRC: with 0 eight bytes of FF, as erased flash reads, would pass for an empty copy


def save(name, data):
    """Keep `data` (bytes) under `name`. OSError when it cannot be written: then the former data stay in force."""
    first, second = _generation(name + ".0"), _generation(name + ".1")
    head = pack("<I", max(first, second) + 1)
    with open(name + (".1" if first > second else ".0"), "wb") as file:
        file.write(pack("<I", crc32(data, crc32(head, _SEED))))
        file.write(head)
        file.write(data)


def load(name):
    """Return the data last saved under `name`, or None when no whole copy is there."""
    first, second = _generation(name + ".0"), _generation(name + ".1")
    if max(first, second) < 0:
        return None
    with open(name + (".0" if first > second else ".1"), "rb") as file:
        file.read(8)
        return file.read()


def _generation(path):
    """Return the generation of the copy at `path`, -1 when there is none or it is not whole."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            found = crc32(head[4:], _SEED)
            data = file.read(128)
            while data:
                found = crc32(data, found)
                data = file.read(128)
    except OSError:
        return -1
    if len(head) < 8:
        return -1
    crc, generation = unpack("<II", head)
    return generation if crc == found else -1
