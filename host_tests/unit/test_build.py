"""What ships is .mpy: every module of the firmware compiles for the chip and fits a small heap."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lint.rules import MPY_BYTES, mpy_size
from mp_plugin import ROOT

FIRMWARE = ROOT / "firmware"
MODULES = sorted(FIRMWARE.rglob("*.py"))


@pytest.fixture(scope="module")
def sizes():
    """{path from firmware/: bytes of .mpy}, 0 for a module that mpy-cross refuses."""
    with ThreadPoolExecutor() as pool:
        names = (str(module.relative_to(FIRMWARE)) for module in MODULES)
        return dict(zip(names, pool.map(mpy_size, MODULES), strict=True))


def test_every_module_compiles(sizes):
    assert "main.py" in sizes
    assert [name for name, size in sizes.items() if size == 0] == []


def test_no_module_is_larger_than_4_kb(sizes, capsys):
    with capsys.disabled():
        largest = max(sizes, key=sizes.get)
        print(f"\n{len(sizes)} modules, {sum(sizes.values())} bytes of .mpy, largest {largest} with {sizes[largest]}")
    assert {name: size for name, size in sizes.items() if size > MPY_BYTES} == {}
