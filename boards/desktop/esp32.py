"""Stands in for the chip's `esp32`: flash partitions that keep NOR rules, and the non-volatile store of small values.

A partition is ./flash/<label>.bin, of the size that board.json gives; every call goes straight to the file, so
that a kill loses nothing that returned. `nor_violations` counts the bytes in which a program asked for a bit to
rise from 0 to 1: flash cannot, the bit stays 0, and a test asserts that nobody asked.
"""
import binascii
import json
import os
import sys

import desktop

HEAP_EXEC = 1
HEAP_DATA = 4
BLOCK = 4096
FIRST = 0x200000  # address of the first partition after the firmware

nor_violations = 0
_blank = memoryview(b"\xff" * 256)
_old = bytearray(256)
_files = {}  # label: the open file


def _board_flash():
    for folder in sys.path:
        try:
            with open(folder + "/board.json" if folder else "board.json") as file:
                return json.load(file)["flash"]
        except OSError:
            pass
    raise OSError(2, "board.json")


def _open(label, size):
    if label not in _files:
        path = desktop.flash(label + ".bin")
        try:
            if os.stat(path)[6] != size:
                raise ValueError(path + " is not of the size in board.json")
        except OSError:
            with open(path + ".new", "wb") as file:
                for _ in range(size // len(_blank)):
                    file.write(_blank)
            os.rename(path + ".new", path)
        _files[label] = open(path, "r+b")
    return _files[label]


class Partition:
    """A data partition of board.json. The program's own partitions (BOOT, RUNNING, OTA) are not emulated."""

    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, label):
        sizes = _board_flash()
        if label not in sizes:
            raise OSError(2)
        labels = sorted(sizes)
        before = sum(sizes[other] for other in labels[: labels.index(label)])
        self._info = (self.TYPE_DATA, 6, FIRST + before, sizes[label], label, False)
        self._size = sizes[label]
        self._file = _open(label, self._size)

    @staticmethod
    def find(type=TYPE_APP, subtype=0xFF, label=None):
        """Return the list of those that match; the default type is that of programs, of which there is none."""
        found = [Partition(name) for name in sorted(_board_flash()) if label in (None, name)]
        return [part for part in found if type == part._info[0] and subtype in (0xFF, part._info[1])]

    def info(self):
        """Return (type, subtype, address, size, label, encrypted)."""
        return self._info

    def _seek(self, at, length):
        if not 0 <= at <= self._size:
            raise OSError(-258, "ESP_ERR_INVALID_ARG")
        if at + length > self._size:
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
        self._file.seek(at)

    def readblocks(self, block, buf, offset=0):
        """Fill `buf` from `offset` in `block` on, across blocks if it is longer."""
        self._seek(block * BLOCK + offset, len(buf))
        self._file.readinto(buf)

    def writeblocks(self, block, buf, offset=None):
        """Program `buf`; without `offset` the blocks are erased first, with it only bits that are 1 can change."""
        data = memoryview(buf)
        if offset is None:
            self._erase(block, len(data))
            offset = 0
        at = block * BLOCK + offset
        self._seek(at, len(data))
        for start in range(0, len(data), len(_old)):
            self._program(at + start, data[start : start + len(_old)])

    def _program(self, at, data):
        global nor_violations
        old = memoryview(_old)[: len(data)]
        self._file.seek(at)
        self._file.readinto(old)
        if old != _blank[: len(data)]:
            for i in range(len(data)):
                nor_violations += data[i] & ~old[i] != 0
                old[i] &= data[i]
            data = old
        self._file.seek(at)
        self._file.write(data)

    def _erase(self, block, length):
        self._seek(block * BLOCK, length)
        if length % BLOCK:
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
        for _ in range(length // len(_blank)):
            self._file.write(_blank)

    def ioctl(self, op, arg):
        """The block device protocol: 4 count, 5 size, 6 erase block `arg`; 1 to 3 have nothing to do."""
        if op == 6:
            self._erase(arg, BLOCK)
        elif op == 4:
            return self._size // BLOCK
        elif op == 5:
            return BLOCK
        return 0 if 0 < op <= 6 else None


_live = {}  # namespace: {key: int or hex text}, as every handle of this process sees it


def _stored():
    try:
        with open("flash/nvs.json") as file:
            return json.load(file)
    except OSError:
        return {}


def _name(text):
    if len(text) > 15:
        raise OSError(-4361, "ESP_ERR_NVS_KEY_TOO_LONG")
    return text


class NVS:
    """A namespace of small values; what was not committed is lost with the process."""

    def __init__(self, namespace):
        self._space = _name(namespace)
        if namespace not in _live:
            _live[namespace] = _stored().get(namespace, {})
        self._values = _live[namespace]

    def _get(self, key, kind):
        value = self._values.get(_name(key))
        if not isinstance(value, kind):
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        return value

    def set_i32(self, key, value):
        """Keep a signed 32-bit integer; OverflowError beyond that."""
        if not isinstance(value, int):
            raise TypeError("can't convert to int")
        if not -0x80000000 <= value < 0x80000000:
            raise OverflowError("overflow converting long int to machine word")
        self._values[_name(key)] = value

    def get_i32(self, key):
        """Return the integer kept under `key`; OSError -4354 when there is none."""
        return self._get(key, int)

    def set_blob(self, key, data):
        """Keep a copy of the bytes `data`."""
        self._values[_name(key)] = binascii.hexlify(data).decode()

    def get_blob(self, key, buf):
        """Copy the blob into `buf` and return its length; OSError -4354 when there is none, -4364 when it is longer."""
        data = binascii.unhexlify(self._get(key, str))
        if len(data) > len(buf):
            raise OSError(-4364, "ESP_ERR_NVS_INVALID_LENGTH")
        memoryview(buf)[: len(data)] = data
        return len(data)

    def erase_key(self, key):
        """Forget `key`; OSError -4354 when there is none."""
        self._get(key, (int, str))
        del self._values[key]

    def commit(self):
        """Put this namespace on flash."""
        stored = _stored()
        stored[self._space] = self._values
        desktop.save(desktop.flash("nvs.json"), json.dumps(stored))


def idf_heap_info(capabilities):
    """Return (total, free, largest free block, least ever free) of each region: an idle ESP32-S3's figures."""
    return [(178172, 92164, 63488, 88012), (22308, 21472, 21472, 21472)]


def mcu_temperature():
    """Return the chip's temperature in degrees Celsius: always 40."""
    return 40
