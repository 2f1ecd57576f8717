"""Flash images that released versions have written: the firmware and the desk read every one of them, record by record.

host_tests/data/journal-VERSION.zip was made by fixture_journal.py of that version: an image, the board's ids and
schemas, and stored.json, what went in.
"""

import json
import zipfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from meshems.journal import Image
from meshems.logs import EPOCH, Names, Store
from test_journal import run

DATA = Path(__file__).resolve().parents[1] / "data"
FIXTURES = sorted(DATA.glob("journal-*.zip"))

READ = """
import json
from fake_journal import boot, rest
from fake_nor import Nor
from gateway.events import CODES
from gateway.ids import Ids
from gateway.records import EVENT, FLAGGED, LOST, RECORDS, Decoder

with open("journal.bin", "rb") as file:
    data = file.read()
nor = Nor(len(data) // 4096)
nor.fill(data)
journal = boot(nor)
ids = Ids()
decoder = Decoder(ids.names())
reader, rows = journal.reader(0), []
for kind, ordinal, count, payload, fresh in rest(reader):
    assert kind == RECORDS
    if fresh:
        decoder.forget()
    decoder.begin(payload)
    for i in range(count):
        uptime, slot, tag, what, values = decoder.record()
        if tag == EVENT:
            row = uptime, slot, CODES.split()[what[0]], json.loads(what[3])
        elif tag == LOST:
            row = uptime, slot, "lost", None
        else:
            row = uptime, slot, "suspect" if tag & FLAGGED else "good", list(values)
        rows.append((ordinal + i, decoder.boot) + row)
print(json.dumps([journal.first, journal.next, [journal.cursor(i) for i in (1, 2)], reader.lost - journal.first, rows]))
slots, cursors = [ids.slot("SN-%d" % i) for i in range(1, 6)], [ids.cursor(n) for n in ("operator", "village")]
for i in range(60):  # and goes on with it
    assert journal.append(RECORDS, bytes(100), 2, 1) == rows[-1][0] + 1 + 2 * i
journal.put(1, journal.next)
again = boot(nor)
print(json.dumps([again.next - rows[-1][0] - 1, again.cursor(1) == again.next, slots, cursors]))
"""


def test_there_is_an_image_of_this_version():
    from meshems import __version__

    assert DATA / f"journal-{__version__}.zip" in FIXTURES
    assert all(file.stat().st_size < 50_000 for file in FIXTURES)


@pytest.fixture(params=FIXTURES, ids=lambda file: file.stem)
def board(request, tmp_path):
    """A folder with what is in the fixture, and what was stored, by fixture_journal.py."""
    with zipfile.ZipFile(request.param) as packed:
        packed.extractall(tmp_path)
    return tmp_path, json.loads((tmp_path / "stored.json").read_text())


def test_the_firmware_reads_what_was_stored_and_goes_on(board):
    folder, stored = board
    read, gone_on = (json.loads(line) for line in run(READ, folder))
    rows = [[ordinal, boot, uptime // 10, *rest] for ordinal, boot, uptime, *rest in stored["rows"]]
    cursors = [stored["cursors"][number] for number in "12"]
    assert read == [stored["first"], stored["next"], cursors, 0, rows]
    assert gone_on == [120, True, [1, 2, 3, 4, 5], [1, 2]]


def test_the_desk_reads_what_was_stored(board):
    folder, stored = board
    store = Store(Image((folder / "journal.bin").read_bytes()), Names([folder]))
    assert (store.image.first, store.image.next, store.image.lost) == (stored["first"], stored["next"], 0)
    assert store.image.cursors == {int(number): at for number, at in stored["cursors"].items()}
    records = list(store.records())
    assert len(records) == len(stored["rows"]) and not store.left_out
    for record, (ordinal, boot, uptime, slot, kind, what) in zip(records, stored["rows"], strict=True):
        assert (record.ordinal, record.boot, record.uptime, record.slot) == (ordinal, boot, uptime // 10, slot)
        if boot in stored["dated"]:
            ms = stored["boots"][boot - 1] + uptime
            assert record.time == EPOCH + timedelta(seconds=ms // 10 * 10 / 1000 - EPOCH.timestamp())
            assert (record.source, record.bound) == ("ntp", 25)
        else:
            assert (record.time, record.source, record.bound) == (None, "none", None)
        if kind in ("good", "suspect"):
            schema = 1 if slot % 2 else 2
            columns = store.names.columns(schema)
            expected = [
                (obis, Decimal(value).scaleb(exponent), unit)
                for (obis, unit, exponent), value in zip(columns, what, strict=True)
                if value is not None
            ]
            assert [(one.obis, one.value, one.unit) for one in record.registers] == expected
            quality = "suspect" if kind == "suspect" or record.time is None else "good"
            assert {one.quality for one in record.registers} == {quality}
        elif kind == "lost":
            assert (record.kind, record.registers, record.severity) == ("comms_lost", [], "")
        else:
            assert (record.kind, json.loads(record.detail)) == (kind, what)
            assert (record.severity, record.state) == {"comms_lost": ("warn", "set")}.get(kind, ("info", "once"))
