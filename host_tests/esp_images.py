"""Made-up images of MicroPython for tests: real ones are not ours to ship, and their code is not what is tested.

    base = stand_in("esp32s3")          # as ESP32_GENERIC_S3-*.bin is laid out: bootloader, stock table, program
"""

import hashlib
import struct

CHIPS = {"esp32": (0, 0x1000), "esp32s3": (9, 0)}  # number of the chip, offset of its bootloader


def image(number, segments, flash_size=2, hashed=True):
    """An ESP image: header, segments [(address, bytes)], checksum, SHA-256 (ESP-IDF, "App Image Format")."""
    data = struct.pack("<BBBBI", 0xE9, len(segments), 2, flash_size << 4 | 0x0F, segments[0][0])
    data += struct.pack("<B3sHBHH4sB", 0xEE, b"\0\0\0", number, 0, 0, 0xFFFF, b"\0" * 4, hashed)
    checksum = 0xEF
    for address, part in segments:
        data += struct.pack("<II", address, len(part)) + part
        for byte in part:
            checksum ^= byte
    data += b"\0" * (15 - len(data) % 16) + bytes([checksum])
    return data + (hashlib.sha256(data).digest() if hashed else b"")


def stock_table():
    """The partition table of the stock images, without its MD5."""
    rows = [(1, 2, 0x9000, 0x6000, b"nvs"), (1, 1, 0xF000, 0x1000, b"phy_init"), (0, 0, 0x10000, 0x1F0000, b"factory")]
    return b"".join(struct.pack("<HBBII16sI", 0x50AA, *row, 0) for row in rows).ljust(0xC00, b"\xff")


def stand_in(chip, program=b"made-up MicroPython " * 500, number=None):
    """A whole image as published for `chip`; `program` is its second segment. `number` names another chip in it."""
    own, start = CHIPS[chip]
    number = own if number is None else number
    address = 0x3FFB0000 if chip == "esp32" else 0x3FC88000
    code = 0x40080000 if chip == "esp32" else 0x40378000
    program += b"\0" * (-len(program) % 4)
    bootloader = image(number, [(address, b"boot" * 64), (code, b"loader! " * 100)])
    app = image(number, [(address, b"\x32\x54\xcd\xab" + b"\0" * 252), (code, program)])
    flash = bootloader.ljust(0x8000 - start, b"\xff") + stock_table()
    return flash.ljust(0x10000 - start, b"\xff") + app
