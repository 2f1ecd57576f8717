"""Two copies of a small file: what was saved is there, whatever happened to the last attempt."""
import os

from lib import twin

WASM = True

OLD, MIDDLE, NEW = b"first", b"", b"the third, which is longer than the chunk: " + bytes(range(200))


class Cut(OSError):
    pass


class TornFile:
    """A file of which only the first bytes reach the medium, as when the power goes while it is written."""

    def __init__(self, path, left):
        self.file = open(path, "wb")
        self.left = left

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: self.left])
        if len(data) > self.left:
            self.left = 0
            raise Cut()
        self.left -= len(data)


def save_torn(name, data, left):
    """Save with the power going after `left` bytes; return whether it went."""
    twin.open = lambda path, mode: TornFile(path, left) if mode == "wb" else open(path, mode)
    try:
        twin.save(name, data)
        return False
    except Cut:
        return True
    finally:
        del twin.open


def content(path):
    with open(path, "rb") as file:
        return file.read()


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


def test_the_last_one_saved_is_loaded():
    assert twin.load("t") is None
    for data in (OLD, MIDDLE, NEW, OLD, NEW):
        twin.save("t", data)
        assert twin.load("t") == data


def test_names_are_apart():
    twin.save("a", OLD)
    twin.save("b", NEW)
    assert twin.load("a") == OLD and twin.load("b") == NEW


def test_save_touches_only_the_copy_that_is_not_in_force():
    twin.save("t", OLD)
    for data in (MIDDLE, NEW, OLD, MIDDLE):
        in_force = twin.load("t")
        before = content("t.0"), content("t.1") if "t.1" in os.listdir() else None
        twin.save("t", data)
        after = content("t.0"), content("t.1")
        kept = [old for old, new in zip(before, after) if old == new]
        assert len(kept) == 1 and kept[0][8:] == in_force


def test_a_write_torn_at_any_byte_keeps_the_former_data():
    for whole in range(8 + len(NEW)):
        name = "t%d" % whole
        twin.save(name, OLD)
        twin.save(name, MIDDLE)
        assert save_torn(name, NEW, whole)
        assert twin.load(name) == MIDDLE, whole
        twin.save(name, NEW)
        assert twin.load(name) == NEW, whole


def test_a_write_that_reached_its_last_byte_counts():
    twin.save("t", OLD)
    assert not save_torn("t", NEW, 8 + len(NEW))
    assert twin.load("t") == NEW


def test_the_first_write_torn_at_any_byte_leaves_nothing():
    for whole in range(8 + len(NEW)):
        name = "t%d" % whole
        assert save_torn(name, NEW, whole)
        assert twin.load(name) is None, whole


def test_torn_again_and_again_the_former_data_stay():
    twin.save("t", OLD)
    for whole in range(8 + len(NEW)):
        assert save_torn("t", NEW, whole)
        assert twin.load("t") == OLD


def test_a_flipped_bit_anywhere_falls_back_to_the_former_data():
    twin.save("t", OLD)
    twin.save("t", MIDDLE + b"x")
    path = "t.1"
    good = content(path)
    for i in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[i] ^= 1 << bit
            put(path, bad)
            assert twin.load("t") == OLD, (i, bit)


def test_erased_or_zeroed_flash_is_no_copy():
    for filling in (b"\xff", b"\x00"):
        for length in (0, 1, 7, 8, 9, 64, 4096):
            put("t.0", filling * length)
            put("t.1", filling * length)
            assert twin.load("t") is None
            twin.save("t", NEW)
            assert twin.load("t") == NEW


def test_equal_copies_are_one():
    twin.save("t", OLD)
    put("t.1", content("t.0"))
    assert twin.load("t") == OLD
    twin.save("t", NEW)
    assert twin.load("t") == NEW
