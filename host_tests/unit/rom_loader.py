"""A chip's boot loader behind a pseudo-terminal, with a flash that is a file: esp32-mock-bootloader, made stricter.

    python rom_loader.py LINK FILE --chip esp32s3 --flash 16 --psram 8

A process of its own. LINK is made when it listens. The flash is NOR: a sector is erased to FF when a write first
touches it, and programming only clears bits. What is beyond its end is refused. With --cut N the cable is pulled when
N bytes have been programmed; with --deaf nobody answers; with --stuck ADDRESS a bit there stays 0.
"""

import argparse
import mmap
import os
import zlib
from pathlib import Path
from struct import unpack_from
from threading import Event

from esp32_mock_bootloader import protocol, registers, server

SECTOR = 4096
PSRAM = {0: 0, 2: 2, 4: 4, 8: 1, 16: 3}  # MB: PSRAM_CAP, of which bits 3 and 4 stand in word 4 of EFUSE_BLOCK1
S3_BLOCK1 = 0x60007044  # ESP32-S3 Technical Reference Manual, eFuse controller: EFUSE_RD_MAC_SPI_SYS_0


class Nor(server.FlashImage):
    """The flash: what begins at an offset is erased sector by sector as it is written."""

    def __init__(self, data: mmap.mmap, link: Path, cut: int, stuck: int) -> None:
        self.data = data
        self._link = link
        self._cut, self._stuck = cut, stuck
        self._at = self._erased = self._end = 0
        self._inflate = zlib.decompressobj()
        self.programmed = 0

    def _begin(self, payload: bytes) -> None:
        size, _, _, offset = unpack_from("<IIII", payload, 0)
        if offset % SECTOR or offset + size > len(self.data):
            raise SystemExit(f"a write of {size} bytes at {offset:#x}: not within this flash")
        self._at, self._erased, self._end = offset, offset, offset + size

    def begin_plain(self, payload: bytes) -> None:
        self._begin(payload)

    def begin_defl(self, payload: bytes) -> None:
        self._inflate = zlib.decompressobj()
        self._begin(payload)

    def write_plain_block(self, payload: bytes) -> None:
        self._program(payload[16 : 16 + unpack_from("<I", payload, 0)[0]])

    def write_defl_block(self, payload: bytes) -> None:
        self._program(self._inflate.decompress(payload[16 : 16 + unpack_from("<I", payload, 0)[0]]))

    def _program(self, block: bytes) -> None:
        block = block[: max(0, self._end - self._at)]  # the last block is padded
        for start in range(0, len(block), SECTOR):
            part = block[start : start + SECTOR]
            while self._erased < self._at + len(part):
                self.data[self._erased : self._erased + SECTOR] = b"\xff" * SECTOR
                self._erased += SECTOR
            now = self.data[self._at : self._at + len(part)]
            self.data[self._at : self._at + len(part)] = bytes(a & b for a, b in zip(now, part, strict=True))
            if self._at <= self._stuck < self._at + len(part):
                self.data[self._stuck] &= 0xFE
            self._at += len(part)
            self.programmed += len(part)
            if 0 <= self._cut <= self.programmed:
                self._link.unlink()  # the terminal's number may be another's in a moment
                os._exit(0)

    def erase_region(self, offset: int, size: int) -> None:
        if offset % SECTOR or size % SECTOR or offset + size > len(self.data):
            raise SystemExit(f"an erase of {size} bytes at {offset:#x}: not within this flash")
        self.data[offset : offset + size] = b"\xff" * size


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("link", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--chip", default="esp32s3")
    parser.add_argument("--flash", type=int, default=4)
    parser.add_argument("--psram", type=int, default=0)
    parser.add_argument("--cut", type=int, default=-1)
    parser.add_argument("--stuck", type=int, default=-1)
    parser.add_argument("--deaf", action="store_true")
    given = parser.parse_args()

    size = given.flash << 20
    server._FLASH_END_IDLE_SEC = 1e9  # else it forgets after 3 s that the stub runs, and refuses a slow client
    server._CLIENT_RECV_TIMEOUT = 30  # else a read ends when the client is 50 ms late with its word
    protocol.MOCK_FLASH_ID = (size.bit_length() - 1) << 16 | 0x4020
    if given.psram:
        cap = PSRAM[given.psram]
        registers.rom_profile("esp32s3")[S3_BLOCK1 + 16] = (cap & 3) << 3
        registers.rom_profile("esp32s3")[S3_BLOCK1 + 20] = (cap >> 2) << 19
    if not given.file.exists():
        given.file.write_bytes(b"\xff" * size)
    with given.file.open("r+b") as file, mmap.mmap(file.fileno(), size) as data:
        server._persistent_flash = Nor(data, given.link, given.cut, given.stuck)
        line = server.PtyMasterTransport.create()
        given.link.unlink(missing_ok=True)
        given.link.symlink_to(line.client_path)
        while given.deaf:
            try:
                line.recv(4096)
            except TimeoutError:
                continue
        while True:
            server.handle_client(server.BootloaderConnection(pty=line), Event(), given.chip)


if __name__ == "__main__":
    main()
