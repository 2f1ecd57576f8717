"""Modbus RTU frames, bytes only: Modbus application protocol V1.1b3, Modbus over serial line V1.02.

A reply is searched for at any offset: stray bytes, an echo and the frames of others are passed over.
"""

import struct

from micropython import const

_EXCEPTION = const(0x80)  # added to the function of a reply that says no
_SHORT = const(5)  # bytes of an exception: unit, function, code, CRC


def crc(buf, start, end):
    """Return the CRC-16 of buf[start:end]; it goes out low byte first, and a frame with its CRC gives 0.

    Of the polynomial 0xA001, a byte at a time: the usual table's entry n is n<<6 ^ n<<7, and 0xC001 with it where n
    has an odd number of ones, which 0x6996 tells of four bits.
    """
    value = 0xFFFF
    for i in range(start, end):
        n = (value ^ buf[i]) & 255
        value = value >> 8 ^ n << 6 ^ n << 7
        if 0x6996 >> ((n ^ n >> 4) & 15) & 1:
            value ^= 0xC001
    return value


def request(unit, function, address, number):
    """Return the frame that reads `number` registers or coils from `address` on; by 5 and 6 it writes `number`."""
    frame = bytearray(8)
    struct.pack_into(">BBHH", frame, 0, unit, function, address, number)
    struct.pack_into("<H", frame, 6, crc(frame, 0, 6))
    return frame


def find(buf, got, head, length):
    """Return the offset of the reply in buf[:got]: `length` bytes that begin with `head`, or an exception.

    A negative number means none yet: at least that many more bytes are missing. None means that it came, damaged.
    """
    missing = length
    damaged = False
    for i in range(got):
        if buf[i] != head[0]:
            continue
        size = length
        if i + 1 < got and buf[i + 1] != head[1]:
            if buf[i + 1] != head[1] | _EXCEPTION:
                continue
            size = _SHORT
        elif buf[i : min(i + len(head), got)] != head[: got - i]:
            continue
        if i + size > got:
            missing = min(missing, i + size - got)
        elif crc(buf, i, i + size) == 0:
            return i
        elif size == length:
            damaged = True
    return None if damaged and missing == length else -missing
