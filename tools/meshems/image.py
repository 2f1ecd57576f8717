"""The bytes that go into a board's flash: images of programs, the partition table, the file system.

    bootloader, program = image.split(base, boards.CHIPS["esp32s3"])
    table = image.partition_table(boards.layout(board))
    vfs = image.filesystem({"main.py": b"..."}, 1048576)
    image.contents(vfs)                         # {"main.py": b"..."}
    image.carry_over(vfs_of_the_board, vfs)     # the new firmware with the gateway's own files

Formats: ESP-IDF 5.5, "App Image Format" and "Partition Tables"; the file system is littlefs 2.0 with the geometry of
MicroPython's ports/esp32 (blocks of 4096, read and program 32, cache 128, look-ahead 32).
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping

from littlefs import LittleFS, LittleFSError

from meshems.boards import BLOCK, FIRST, Chip, Partition

TABLE = 0x8000  # where the partition table lies
TABLE_SIZE = 0xC00
MAGIC = 0xE9  # of an image
HEADER = 24
SIZES_MB = {1: 0, 2: 1, 4: 2, 8: 3, 16: 4, 32: 5}  # flash size: the upper four bits of byte 3 of the header
VERSION = 0x00020000  # of the file system: every littlefs 2 reads it
CODE = (".py", ".mpy")


class ImageError(Exception):
    """What is wrong with an image: what was found, what is expected."""


def end_of(data: bytes, at: int, chip: Chip, what: str) -> int:
    """Return where the image that begins at `at` ends; ImageError when it is none, broken, or of another chip."""
    if len(data) < at + HEADER or data[at] != MAGIC:
        found = f"0x{data[at]:02X}" if len(data) > at else "the end of the file"
        raise ImageError(f"the {what} at 0x{at:X}: found {found}, expected an ESP image, 0x{MAGIC:02X}")
    segments, number, hashed = data[at + 1], int.from_bytes(data[at + 12 : at + 14], "little"), data[at + 23]
    if number != chip.number:
        raise ImageError(f"the {what}: found an image for chip {number}, expected one for chip {chip.number}")
    end, checksum = at + HEADER, 0xEF
    for _ in range(segments):
        size = int.from_bytes(data[end + 4 : end + 8], "little")
        for byte in data[end + 8 : end + 8 + size]:
            checksum ^= byte
        end += 8 + size
    end += 16 - (end - at) % 16  # the checksum is the last byte of a row of 16
    if end + 32 * hashed > len(data) or data[end - 1] != checksum:
        raise ImageError(f"the {what}: found a wrong checksum or too few bytes, expected a whole image")
    if hashed and hashlib.sha256(data[at:end]).digest() != data[end : end + 32]:
        raise ImageError(f"the {what}: found a wrong SHA-256 at its end, expected that of its bytes")
    return end + 32 * hashed


def split(base: bytes, chip: Chip) -> tuple[bytes, bytes]:
    """Return (bootloader, program) of an image that begins at the chip's bootloader; ImageError if it is none."""
    start = FIRST - chip.bootloader
    bootloader = base[: end_of(base, 0, chip, "bootloader")]
    return bootloader, base[start : end_of(base, start, chip, "program")]


def with_flash_size(image: bytes, size_mb: int) -> bytes:
    """Return a bootloader that knows the size of the flash: it refuses a partition table that goes beyond it."""
    changed = bytearray(image)
    changed[3] = SIZES_MB[size_mb] << 4 | changed[3] & 15
    if changed[23]:
        changed[-32:] = hashlib.sha256(changed[:-32]).digest()
    return bytes(changed)


def partition_table(rows: Iterable[Partition]) -> bytes:
    """Return the binary partition table, with its MD5."""
    table = b""
    for row in rows:
        table += struct.pack("<HBBII16sI", 0x50AA, row.type, row.subtype, row.offset, row.size, row.name.encode(), 0)
    table += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(table).digest()
    return table.ljust(TABLE_SIZE, b"\xff")


def _mounted(size: int, content: bytes | None = None) -> LittleFS:
    fs = LittleFS(
        mount=False, block_size=BLOCK, block_count=size // BLOCK, read_size=32, prog_size=32, cache_size=128,
        lookahead_size=32, block_cycles=100, disk_version=VERSION,
    )  # fmt: skip
    if content is None:
        fs.format()
    else:
        fs.context.buffer[:] = content
    fs.mount()
    return fs


def filesystem(files: Mapping[str, bytes], size: int) -> bytes:
    """Return a file system of `size` bytes with these files, the same bytes each time; ImageError when too large."""
    fs = _mounted(size)
    try:
        for path, data in sorted(files.items()):
            if "/" in path:
                fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            with fs.open(path, "wb") as file:
                file.write(data)
    except LittleFSError as error:
        total = sum(map(len, files.values()))
        raise ImageError(f"{len(files)} files of {total} bytes: found no room, expected to fit {size} bytes") from error
    return bytes(fs.context.buffer)


def contents(image: bytes) -> dict[str, bytes]:
    """Return the files of a file system, {path: bytes}; ImageError when it is none."""
    try:
        fs = _mounted(len(image), image)
        found = {}
        for folder, _, names in fs.walk("/"):
            for name in names:
                path = f"{folder}/{name}".replace("//", "/").lstrip("/")
                with fs.open(path, "rb") as file:
                    found[path] = bytes(file.read())
    except LittleFSError as error:
        raise ImageError(f"the file system: found {error}, expected littlefs 2 of {len(image)} bytes") from error
    return found


def used(image: bytes) -> int:
    """Return how many bytes of a file system are in use: whole blocks."""
    return int(_mounted(len(image), image).used_block_count) * BLOCK


def carry_over(old: bytes, new: bytes) -> bytes:
    """Return the file system `new` with what the gateway keeps in `old`: configuration, secrets, numbers, certificates.

    Code and schemas are the new ones alone. ImageError when `old` is no file system or both do not fit.
    """
    files = contents(new)
    for path, data in contents(old).items():
        if path not in files and not path.endswith(CODE) and not path.startswith("schema/"):
            files[path] = data
    return filesystem(files, len(new))
