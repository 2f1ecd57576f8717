"""Modbus RTU frames, bytes only: Modbus application protocol V1.1b3, Modbus over serial line V1.02.

A reply is searched for at any offset: stray bytes, an echo and the frames of others are passed over.
"""

import struct

from micropython import const

_EXCEPTION = const(0x80)  # added to the function of a reply that says no
_OVERHEAD = const(5)  # unit, function, byte count; and the two bytes of CRC at the end

# of the polynomial 0xA001, four bits at a time
_CRC = (
    0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
    0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
)  # fmt: skip


def crc(buf, start, end):
    """Return the CRC-16 of buf[start:end]; it goes out low byte first, and a frame with its CRC gives 0."""
    table = _CRC
    value = 0xFFFF
    for i in range(start, end):
        value ^= buf[i]
        value = value >> 4 ^ table[value & 15]
        value = value >> 4 ^ table[value & 15]
    return value


def request(buf, unit, function, address, count):
    """Write the request to read `count` registers from `address` on into the 8 bytes of `buf`."""
    struct.pack_into(">BBHH", buf, 0, unit, function, address, count)
    struct.pack_into("<H", buf, 6, crc(buf, 0, 6))


def find(buf, got, unit, function, size):
    """Return the offset of the reply in buf[:got]: `size` bytes of data, or an exception.

    A negative number means none yet: at least that many more bytes are missing.
    """
    missing = size + _OVERHEAD
    for i in range(got):
        if buf[i] != unit:
            continue
        length = size + _OVERHEAD
        if i + 1 < got and buf[i + 1] != function:
            if buf[i + 1] != function | _EXCEPTION:
                continue
            length = _OVERHEAD
        elif i + 2 < got and buf[i + 2] != size:
            continue
        if i + length > got:
            missing = min(missing, i + length - got)
        elif crc(buf, i, i + length) == 0:
            return i
    return -missing
