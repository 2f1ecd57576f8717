"""meshems.image: what goes into the flash, read by others."""

import hashlib
import subprocess

import pytest
from esp_idf_defs import PartitionTable
from littlefs import LittleFS

import esp_images
from meshems import boards, image
from meshems.run import interpreter

ESP32, S3 = boards.CHIPS["esp32"], boards.CHIPS["esp32s3"]
READER = """
import binascii, hashlib, os, vfs
class Flash:
    def readblocks(self, n, buf, off=0):
        flash.seek(n * 4096 + off)
        flash.readinto(buf)
    def writeblocks(self, n, buf, off=0):
        raise OSError(30)
    def ioctl(self, op, arg):
        return {4: 256, 5: 4096}.get(op, 0)
def walk(path):
    for name, kind, *_ in os.ilistdir(path):
        if kind == 0x4000:
            walk(path + "/" + name)
        else:
            with open(path + "/" + name, "rb") as file:
                print(path[2:] + "/" + name, binascii.hexlify(hashlib.sha256(file.read()).digest()).decode())
flash = open("image", "rb")
vfs.mount(vfs.VfsLfs2(Flash(), readsize=32, progsize=32, lookahead=32), "/m")
walk("/m")
"""
FILES = {"main.py": b"print(1)\n", "lib/a/b.mpy": bytes(range(256)) * 40, "lib/empty.json": b"", "z": b"z" * 128}


def test_the_table_is_read_by_others_and_its_md5_is_right():
    rows = boards.layout(boards.read("nesl-865b"))
    table = PartitionTable.from_binary(image.partition_table(rows))
    table.verify(partition_table_offset=image.TABLE)
    table.verify_size_fits(16 << 20)
    assert [(row.name, row.type, row.subtype, row.offset, row.size) for row in table] == [tuple(row) for row in rows]


def test_a_table_with_a_bit_changed_is_refused_by_others():
    table = bytearray(image.partition_table(boards.layout(boards.read("nesl-865b"))))
    table[9] ^= 1
    with pytest.raises(Exception, match="MD5"):
        PartitionTable.from_binary(bytes(table))


def test_micropython_mounts_the_file_system_as_the_chip_does(tmp_path):
    (tmp_path / "image").write_bytes(image.filesystem(FILES, 256 * 4096))
    done = subprocess.run([interpreter(), "-c", READER], cwd=tmp_path, capture_output=True, text=True)
    found = dict(line.split() for line in done.stdout.splitlines())
    assert found == {f"/{path}": hashlib.sha256(data).hexdigest() for path, data in FILES.items()}, done.stderr


def test_the_file_system_is_littlefs_2_0_and_the_same_bytes_each_time():
    made = image.filesystem(FILES, 256 * 4096)
    assert made == image.filesystem(dict(reversed(FILES.items())), 256 * 4096) and len(made) == 256 * 4096
    fs = LittleFS(mount=False, block_size=4096, block_count=256)
    fs.context.buffer[:] = made
    fs.mount()
    assert fs.fs_stat().disk_version == 0x00020000 and fs.fs_stat().name_max == 255
    assert image.contents(made) == FILES


def test_what_does_not_fit_is_refused_with_both_sizes():
    with pytest.raises(image.ImageError, match="1 files of 70000 bytes: found no room, expected to fit 65536 bytes"):
        image.filesystem({"big": b"x" * 70000}, 65536)


def test_what_is_no_file_system_is_refused():
    with pytest.raises(image.ImageError, match="expected littlefs 2 of 65536 bytes"):
        image.contents(b"\xff" * 65536)


def test_an_update_keeps_what_the_gateway_keeps_and_takes_the_new_code():
    mine = {"gateway.json": b"{}", "secrets.json": b"s" * 200, "ids.0": b"1", "ca.der": b"0", "profiles/my.json": b"1"}
    old = {"main.py": b"1", "lib/a.mpy": b"1", "lib/gone.mpy": b"1", "schema/old.json": b"1", "board.json": b"1"}
    new = {"main.py": b"new", "lib/a.mpy": b"new", "board.json": b"new", "profiles/x.json": b"{}"}
    merged = image.carry_over(image.filesystem(old | mine, 64 * 4096), image.filesystem(new, 32 * 4096))
    assert len(merged) == 32 * 4096
    assert image.contents(merged) == new | mine


def test_a_bootloader_learns_the_size_of_the_flash_and_keeps_a_right_hash():
    bootloader, _ = image.split(esp_images.stand_in("esp32s3"), S3)
    for size, code in ((4, 2), (8, 3), (16, 4)):
        changed = image.with_flash_size(bootloader, size)
        assert changed[3] == code << 4 | 0x0F
        assert image.end_of(changed, 0, S3, "bootloader") == len(bootloader)
        assert changed[4:-32] == bootloader[4:-32]
    bare = esp_images.image(9, [(0x3FC88000, b"boot")], hashed=False)
    assert image.with_flash_size(bare, 16)[4:] == bare[4:]


@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda data: b"", "the bootloader at 0x0: found the end of the file, expected an ESP image"),
        (lambda data: b"MZ" + data[2:], "the bootloader at 0x0: found 0x4D, expected an ESP image, 0xE9"),
        (lambda data: data[:60] + b"!" + data[61:], "the bootloader: found a wrong checksum"),
        (lambda data: data[:20] + b"!" + data[21:], "the bootloader: found a wrong SHA-256"),
        (lambda data: data[:-1], "the program: found a wrong checksum or too few bytes"),
        (lambda data: data[:0x10000], "the program at 0x10000: found the end of the file"),
        (lambda data: data[:0x10000] + b"\xff" * 99, "the program at 0x10000: found 0xFF"),
    ],
)
def test_an_image_that_is_broken_is_refused_with_what_was_found(spoil, text):
    with pytest.raises(image.ImageError) as error:
        image.split(spoil(esp_images.stand_in("esp32s3")), S3)
    assert text in str(error.value)


def test_an_image_of_another_chip_is_refused():
    with pytest.raises(image.ImageError, match="found an image for chip 0, expected one for chip 9"):
        image.split(esp_images.stand_in("esp32s3", number=0), S3)
    with pytest.raises(image.ImageError):
        image.split(esp_images.stand_in("esp32s3"), ESP32)  # laid out for another offset too
