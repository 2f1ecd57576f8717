"""The file on the SD card is, row by row, what `meshems logs` makes of the journal that it mirrors."""

import csv
import subprocess
from pathlib import Path

from meshems.logs import HEADS, Names, Store, read, rows
from mp_plugin import environment, micropython

HERE = Path(__file__).parent


def test_the_card_holds_what_meshems_logs_prints(tmp_path):
    done = subprocess.run(
        [micropython(), "-X", "heapsize=4M", str(HERE / "fixture_mirror.py")],
        cwd=tmp_path, env=environment(HERE), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "done 141", done
    image = tmp_path / "flash/journal.bin"
    names = Names.beside(image)
    store = Store(read(image)[0], names)
    told = [[str(field) for field in row] for record in store.records() for row in rows(record, names)]
    with (tmp_path / "card.csv").open(newline="") as file:
        head, *card = csv.reader(file)
    assert tuple(head) == HEADS and store.left_out == {}
    assert card == told and len(card) > 500
