"""The desktop's `esp32` behaves as the chip's: NOR rules, bounds, exceptions, and what is durable when."""
import json
import os
import sys

import esp32
from esp32 import NVS, Partition


def journal():
    return Partition.find(Partition.TYPE_DATA, label="journal")[0]


def read(part, block, length, offset=0):
    buf = bytearray(length)
    part.readblocks(block, buf, offset)
    return bytes(buf)


def refused(args, call, *given):
    try:
        call(*given)
    except OSError as error:
        assert error.args == args, error.args
    else:
        raise AssertionError("not refused")


def restarted():
    """Return a freshly started `esp32`."""
    sys.modules.pop("esp32")
    import esp32 as fresh

    return fresh


def test_a_new_partition_is_blank_and_as_big_as_board_json_says():
    part = journal()
    with open([folder for folder in sys.path if "desktop" in folder][0] + "/board.json") as file:
        size = json.load(file)["flash"]["journal"]
    assert part.info() == (1, 6, 0x200000, size, "journal", False)
    assert part.ioctl(4, 0) * part.ioctl(5, 0) == size == os.stat("flash/journal.bin")[6]
    for block in range(part.ioctl(4, 0)):
        assert read(part, block, 4096) == b"\xff" * 4096


def test_find_looks_for_programs_unless_told_otherwise():
    assert Partition.find() == [] and Partition.find(Partition.TYPE_DATA, label="absent") == []
    assert len(Partition.find(Partition.TYPE_DATA)) == len(Partition.find(type=Partition.TYPE_DATA, subtype=6)) == 1
    refused((2,), Partition, "absent")


def test_a_program_only_clears_bits():
    part = journal()
    part.writeblocks(3, b"\xf0\x3c", 100)
    assert esp32.nor_violations == 0
    part.writeblocks(3, b"\x90\x0c", 100)
    assert esp32.nor_violations == 0 and read(part, 3, 4, 99) == b"\xff\x90\x0c\xff"
    part.writeblocks(3, b"\x0f\xff", 100)
    assert esp32.nor_violations == 2 and read(part, 3, 2, 100) == b"\x00\x0c"


def test_a_program_of_any_length_and_place_is_read_back():
    part = journal()
    data = bytes(i * 7 & 0xFF for i in range(5000))
    part.writeblocks(1, memoryview(data), 3001)
    assert read(part, 1, 5000, 3001) == data and read(part, 1, 1, 3000) == b"\xff" == read(part, 1, 1, 8001)
    assert esp32.nor_violations == 0


def test_an_erase_blanks_its_block_and_no_other():
    part = journal()
    for block in (4, 5, 6):
        part.writeblocks(block, bytes(4096), 0)
    assert part.ioctl(6, 5) == 0
    assert read(part, 4, 4096) == bytes(4096) == read(part, 6, 4096) and read(part, 5, 4096) == b"\xff" * 4096


def test_a_write_without_offset_erases_first():
    part = journal()
    part.writeblocks(2, bytes(4096), 0)
    part.writeblocks(2, b"\xa5" * 4096)
    assert read(part, 2, 4096) == b"\xa5" * 4096 and esp32.nor_violations == 0
    refused((-260, "ESP_ERR_INVALID_SIZE"), part.writeblocks, 2, bytes(100))


def test_nothing_is_reached_beyond_the_end():
    part = journal()
    count = part.ioctl(4, 0)
    refused((-260, "ESP_ERR_INVALID_SIZE"), part.readblocks, count - 1, bytearray(4097))
    refused((-260, "ESP_ERR_INVALID_SIZE"), part.writeblocks, count - 1, b"12", 4095)
    refused((-260, "ESP_ERR_INVALID_SIZE"), part.ioctl, 6, count)
    refused((-258, "ESP_ERR_INVALID_ARG"), part.readblocks, count + 1, bytearray(1))
    refused((-258, "ESP_ERR_INVALID_ARG"), part.readblocks, -1, bytearray(1))


def test_ioctl_wants_two_arguments_as_on_the_chip():
    part = journal()
    assert [part.ioctl(op, 0) for op in (1, 2, 3, 7)] == [0, 0, 0, None]
    try:
        part.ioctl(4)
    except TypeError:
        return
    raise AssertionError


def test_content_outlives_a_restart():
    journal().writeblocks(0, b"kept", 12)
    part = restarted().Partition("journal")
    assert read(part, 0, 4, 12) == b"kept"


def test_a_file_of_another_size_is_not_taken():
    os.mkdir("flash")
    with open("flash/journal.bin", "wb") as file:
        file.write(b"\xff" * 4096)
    try:
        journal()
    except ValueError as error:
        assert "flash/journal.bin" in str(error)
    else:
        raise AssertionError
    assert os.stat("flash/journal.bin")[6] == 4096


def test_nvs_keeps_what_was_committed_and_only_that():
    nvs = NVS("gw")
    nvs.set_i32("boot", 7)
    nvs.set_blob("key", b"\x00\x01\xff")
    nvs.commit()
    nvs.set_i32("boot", 8)
    assert nvs.get_i32("boot") == 8 == NVS("gw").get_i32("boot")
    nvs = restarted().NVS("gw")
    assert nvs.get_i32("boot") == 7
    buf = bytearray(b"....")
    assert nvs.get_blob("key", buf) == 3 and buf == b"\x00\x01\xff."


def test_nvs_commits_a_namespace_and_no_other():
    NVS("a").set_i32("n", 1)
    NVS("b").set_i32("n", 2)
    NVS("a").commit()
    fresh = restarted()
    assert fresh.NVS("a").get_i32("n") == 1
    refused((-4354, "ESP_ERR_NVS_NOT_FOUND"), fresh.NVS("b").get_i32, "n")


def test_nvs_says_what_the_chip_says_of_a_missing_key():
    nvs = NVS("gw")
    for call in (nvs.get_i32, nvs.erase_key):
        refused((-4354, "ESP_ERR_NVS_NOT_FOUND"), call, "absent")
    refused((-4354, "ESP_ERR_NVS_NOT_FOUND"), nvs.get_blob, "absent", bytearray(4))
    nvs.set_i32("n", 1)
    refused((-4354, "ESP_ERR_NVS_NOT_FOUND"), nvs.get_blob, "n", bytearray(4))
    nvs.erase_key("n")
    refused((-4354, "ESP_ERR_NVS_NOT_FOUND"), nvs.get_i32, "n")


def test_nvs_names_have_fifteen_characters_at_most():
    NVS("n" * 15).set_i32("k" * 15, 1)
    refused((-4361, "ESP_ERR_NVS_KEY_TOO_LONG"), NVS, "n" * 16)
    refused((-4361, "ESP_ERR_NVS_KEY_TOO_LONG"), NVS("n").set_i32, "k" * 16, 1)
    refused((-4361, "ESP_ERR_NVS_KEY_TOO_LONG"), NVS("n").set_blob, "k" * 16, b"")


def test_nvs_integers_have_32_bits():
    nvs = NVS("gw")
    for value in (-0x80000000, -1, 0, 0x7FFFFFFF):
        nvs.set_i32("n", value)
        assert nvs.get_i32("n") == value
    for value in (-0x80000001, 0x80000000):
        try:
            nvs.set_i32("n", value)
        except OverflowError:
            continue
        raise AssertionError(value)
    assert nvs.get_i32("n") == 0x7FFFFFFF


def test_nvs_wants_a_buffer_that_holds_the_blob():
    nvs = NVS("gw")
    nvs.set_blob("b", b"12345")
    refused((-4364, "ESP_ERR_NVS_INVALID_LENGTH"), nvs.get_blob, "b", bytearray(4))


def test_heap_and_temperature_have_the_chips_shapes():
    for region in esp32.idf_heap_info(esp32.HEAP_DATA):
        total, free, largest, least = region
        assert total >= free >= largest > 0 and free >= least
    assert isinstance(esp32.mcu_temperature(), int)
