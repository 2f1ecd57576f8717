"""The judge of a line's log finds what it is there to find, and imports nothing of what it judges."""

import ast
import json
import subprocess
import sys

import pytest

from meshems import paths
from meshems.sim import timing


def said(what, first, last, **more):
    return {"what": what, "mono_us": [first, last], "n": 0, **more}


LINE = {"what": "line", "baud": 9600, "format": "8N1"}  # 3.5 characters of 10 bits are 3645.83 us


def test_the_judge_imports_nothing_of_the_firmware_and_nothing_of_the_simulator():
    tree = ast.parse((paths.ROOT / "tools/meshems/sim/timing.py").read_text())
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("baud", "form", "us"),
    [
        (9600, "8N1", 3645.83), (9600, "8E1", 4010.42), (19200, "8N1", 1822.92), (19201, "8N1", 1750),
        (115200, "8N2", 1750),
    ],
)  # fmt: skip
def test_the_silence_is_three_and_a_half_characters_and_fixed_above_19200_baud(baud, form, us):
    assert timing.gap_us(baud, form) == pytest.approx(us, abs=0.01)


@pytest.mark.parametrize(("silence", "violations"), [(3644, 1), (3645, 0), (3646, 0), (0, 1), (-500, 1)])
def test_a_request_has_to_come_so_long_after_the_last_byte(silence, violations):
    log = [LINE, said("reply", 0, 10_000), said("request", 10_000 + silence, 20_000)]
    found = timing.judge(log)
    assert (found.gap_violations, found.shortest_us) == (violations, silence)


@pytest.mark.parametrize("who", ["request", "reply", "unasked"])
def test_the_last_byte_counts_whoever_sent_it(who):
    log = [LINE, said(who, 0, 10_000), said("request", 13_000, 20_000)]
    assert timing.judge(log).gap_violations == 1


def test_what_was_written_down_later_may_have_been_on_the_line_before():
    log = [LINE, said("request", 0, 8000), said("request", 50_000, 58_000), said("reply", 20_000, 49_000)]
    assert timing.judge(log).gap_violations == 1


def test_a_long_reply_counts_although_a_short_one_began_after_it():
    log = [LINE, said("reply", 0, 90_000), said("reply", 10_000, 20_000), said("request", 91_000, 99_000)]
    assert timing.judge(log).shortest_us == 1000


def test_the_first_request_has_nothing_before_it():
    found = timing.judge([LINE, said("request", 0, 8000)])
    assert (found.gap_violations, found.shortest_us) == (0, None)


def test_answered_unanswered_garbage_and_collisions_are_counted():
    log = [
        LINE, said("request", 0, 8000) | {"n": 1}, said("reply", 30_000, 40_000) | {"n": 1, "fault": "crc"},
        said("request", 50_000, 58_000) | {"n": 2}, said("request", 90_000, 98_000, garbage="00") | {"n": 3},
        said("collision", 50_000, 51_000),
    ]  # fmt: skip
    found = timing.judge(log)
    assert (found.requests, found.answered, found.unanswered, found.garbage, found.collisions) == (3, 1, 2, 1, 1)


def test_a_log_that_does_not_say_how_the_line_is_set_is_refused_unless_the_caller_does():
    with pytest.raises(ValueError):
        timing.judge([said("request", 0, 8000)])
    assert timing.judge([said("request", 0, 8000)], 1200, "8N1").gap_us == pytest.approx(29166.67, abs=0.01)


def test_a_log_is_judged_from_the_command_line(tmp_path):
    log = [LINE, said("reply", 0, 10_000), said("request", 11_000, 20_000)]
    file = tmp_path / "line.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in log))
    command = [sys.executable, "-m", "meshems.sim.timing", str(file)]
    done = subprocess.run(command, cwd=paths.ROOT / "tools", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["gap_violations"] == 1
