"""`meshems bench journal`: what its figures say, and that its parts run."""

import ast
import json
import subprocess
from pathlib import Path

import pytest

from meshems import paths
from meshems.benches import journal, rig
from meshems.benches.figures import Figure
from mp_plugin import micropython

UNIT = Path(__file__).resolve().parent
RING = {"blocks": 3100, "readings": 700_000, "erases": 3100, "hottest": 13, "ring": 248, "puts": 23_000, "cursors": 92}


@pytest.mark.parametrize(("value", "ok"), [(49_999, False), (50_000, True), (60_000, True)])
def test_a_bound_may_be_the_least(value, ok):
    assert Figure("x", value, "cuts", bound=50_000, at_least=True).ok is ok


def test_the_six_traps_are_those_of_the_tests():
    tree = ast.parse((UNIT / "fake_mutants.py").read_text())
    table = next(n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "MUTANTS")
    assert tuple(key.value for key in table.keys)[: len(journal.MUTANTS)] == journal.MUTANTS
    assert len(journal.MUTANTS) == 6


def test_years_are_those_of_the_hottest_block():
    minutes = 365.25 * 24 * 60
    one = 100_000 / (3100 / 700_000 * 30 * minutes / 248 * (13 * 248 / 3100))
    assert journal.years(RING, 1) == round(one)
    cursors = 100_000 / (92 / 23_000 * minutes / 8)
    assert journal.years(RING, 8) == round(cursors) < 4 * one


def test_lost_cuts_and_a_mutant_that_is_not_seen_miss_their_bounds():
    cuts = [{"single": 20_000, "nested": 30_000, "lost": 1, "said": ["few of operation 7 at 0: lost: 3"]}]
    assert [figure.ok for figure in journal._cuts(cuts)[0]] == [True, False]
    seen = {("mutant", name): {"tried": 9, "wrong": 1, "example": "x"} for name in journal.MUTANTS}
    assert journal._mutants(seen)[0][0].ok
    seen["mutant", "no checksum"] = {"tried": 9, "wrong": 0, "example": ""}
    assert not journal._mutants(seen)[0][0].ok


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("journal_cuts.py", ("1", "3000", "1"), {"lost": 0, "said": []}),
        ("journal_cuts.py", ("mutant", "no checksum"), {}),
        ("journal_life.py", ("ring", "register", "16"), {"ring": 8, "inline": 1, "ahead": 0}),
        ("journal_life.py", ("lfs", "json"), {}),
    ],
)
def test_the_scripts_run_and_end_with_json(script, arguments, says):
    path = f"{paths.BOARDS / 'desktop'}:{paths.FIRMWARE}:{rig.SCRIPTS}:.frozen"
    done = subprocess.run(
        [micropython(), "-X", "heapsize=32m", str(rig.SCRIPTS / script), *arguments],
        env={"MICROPYPATH": path}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said.items() >= says.items()
