"""Variable-length integers: seven bits a byte, low bits first; signed ones zigzag first (0 -1 1 -2 ...).

The encoding of Protocol Buffers (protobuf.dev, "Encoding", Base 128 Varints). `buf` is a bytearray or a
memoryview; positions are byte offsets.
"""


def put(buf, at, value):
    """Write `value` (>= 0) at `at`; return the offset after it. IndexError when the buffer ends first."""
    while value > 127:
        buf[at] = value & 127 | 128
        value >>= 7
        at += 1
    buf[at] = value
    return at + 1


def put_signed(buf, at, value):
    """Write any integer at `at`; return the offset after it. IndexError when the buffer ends first."""
    return put(buf, at, value * 2 if value >= 0 else -value * 2 - 1)


def get(buf, at):
    """Return (value, offset after it). IndexError when the buffer ends first, ValueError beyond 70 bits."""
    value = shift = 0
    while True:
        byte = buf[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")


def get_signed(buf, at):
    """Return (value, offset after it) of a zigzag integer; raises as `get`."""
    value, at = get(buf, at)
    return (value >> 1) ^ -(value & 1), at
