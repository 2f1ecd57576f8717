"""The journal written by the firmware and read by the desk's own reader, and the example of docs/journal.md."""

import json
import random
import re
import subprocess
from pathlib import Path

import pytest

from meshems.journal import BLOCK, Frame, Image
from mp_plugin import environment, micropython

HERE = Path(__file__).resolve().parent
DOC = (HERE.parents[1] / "docs" / "journal.md").read_text()

LIVES = """
import json, random
from fake_cuts import World, again
from fake_journal import rest
from fake_nor import Nor, PowerCut
from lib.journal.mount import give_up

for seed in range({seeds}):
    random.seed(seed)
    nor = Nor(13 + seed % 4)
    world = World(nor)
    world.boot()
    for boot in range(seed % 9):
        nor.cut_at, nor.cut_mode = nor.ops + random.randrange(400), again()
        try:
            while True:
                world.append()
                if random.randrange(5) == 0:
                    world.put(random.randrange(3), world.next)
                world.journal.prepare()
        except PowerCut:
            nor.cut_at, nor.shaky = -1, {{}}
        world.boot()
    for _ in range(seed % 5):
        nor.flip(random.randrange(len(nor.image)), 1 << random.randrange(8))
    head = world.journal.head
    if head >= 0 and seed % 3 == 0:
        nor.flip(world.journal.block(head) * 4096 + 9, 4)
    world.boot()
    journal = world.journal
    if seed % 7 == 0 and not journal.empty:
        give_up(journal)
        for _ in range(seed):
            journal.append(1, b"new", 1)
    reader = journal.reader(journal.first)
    with open("%d.bin" % seed, "wb") as file:
        file.write(nor.image)
    print(json.dumps([
        journal.empty, journal.first, journal.next, [journal.cursor(i) for i in range(3)],
        [frame[:3] + (frame[3].hex(), frame[4]) for frame in rest(reader)],
    ]))
"""

EXAMPLE = """
from fake_journal import boot
from fake_nor import Nor
from gateway import clock
from gateway.records import KEY, LOST, RECORDS, Encoder

payload = memoryview(bytearray(99))
encoder = Encoder(3)
at = encoder.begin(payload, 6500, clock.NTP, (1782138600000, 40))
at = encoder.add(payload, at, 0, (6500, 1, 0, 2, [1234567, 230100, -1500]))
at = encoder.add(payload, at, 12, (6512, 2, LOST, None, None))
nor = Nor(16)
journal = boot(nor)
journal.append(RECORDS, payload[:at], 2)
journal.put(7, 2)
with open("example.bin", "wb") as file:
    file.write(nor.image)
"""


def run(program, folder):
    """Runs a program inside MicroPython in `folder`; its lines."""
    done = subprocess.run(
        [micropython(), "-X", "heapsize=4M", "-c", program],
        cwd=folder, env=environment(HERE), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_desk_reads_what_the_firmware_reads_after_cuts_and_rot(tmp_path):
    lines = run(LIVES.format(seeds=60), tmp_path)
    assert len(lines) == 60
    frames = 0
    for seed, line in enumerate(lines):
        empty, first, following, cursors, found = json.loads(line)
        image = Image((tmp_path / f"{seed}.bin").read_bytes())
        assert (image.empty, image.first, image.next) == (empty, first, following), seed
        assert [image.cursors.get(i) for i in range(3)] == cursors, seed
        assert [[f.kind, f.ordinal, f.count, f.payload.hex(), f.fresh] for f in image.frames()] == found, seed
        frames += len(found)
    assert frames > 1000


@pytest.mark.parametrize("data", [b"", bytes(20 * BLOCK), b"\xff" * 20 * BLOCK, random.Random(1).randbytes(20 * BLOCK)])
def test_an_image_without_a_journal_is_empty(data):
    image = Image(data)
    assert (image.empty, image.first, image.next, image.lost, image.cursors) == (True, 0, 0, 0, {})
    assert list(image.frames()) == []


def example(name):
    """The bytes of the block ```hex <name> of docs/journal.md."""
    return bytes.fromhex(re.search(f"```hex {name}\n(.*?)```", DOC, re.DOTALL)[1])


def test_the_example_in_the_documentation_is_what_the_firmware_writes(tmp_path):
    run(EXAMPLE, tmp_path)
    image = (tmp_path / "example.bin").read_bytes()
    for name, block in (("ring block 0", 8), ("cursor block 0", 0)):
        text = example(name)
        assert image[block * BLOCK :][: len(text)].hex(" ", 4) == text.hex(" ", 4)
        assert set(image[block * BLOCK + len(text) : (block + 1) * BLOCK]) == {0xFF}


def test_the_example_in_the_documentation_can_be_read():
    cursors, ring = example("cursor block 0"), example("ring block 0")
    image = Image(cursors.ljust(8 * BLOCK, b"\xff") + ring.ljust(8 * BLOCK, b"\xff"))
    assert (image.first, image.next, image.cursors, image.lost) == (0, 2, {7: 2}, 0)
    assert [(b.index, b.seq, b.ordinal, b.t0, b.erases, b.boots) for b in image.blocks] == [(8, 0, 0, 0, 1, 1)]
    assert list(image.frames()) == [Frame(0, 32, 1, 0, 2, ring[40:64], True)]


def test_lost_records_are_counted():
    ring = bytearray(example("ring block 0").ljust(8 * BLOCK, b"\xff"))
    ring[40] ^= 1
    image = Image(b"\xff" * 8 * BLOCK + bytes(ring))
    assert (image.next, list(image.frames())) == (0, [])  # the newest frame cannot be told from a torn one
    slot = example("cursor block 0").ljust(8 * BLOCK, b"\xff")
    assert Image(slot + bytes(ring)).lost == 2
