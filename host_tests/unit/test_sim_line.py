"""The simulated line keeps the time of a wire, and what is on it is Modbus."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymodbus.framer.rtu import FramerRTU

from meshems import paths
from meshems.sim import spec, timing
from meshems.sim.line import Line, Settings

UNIT = {"serial": "SN-1", "address": 1, "profile": "eastron-sdm120", "load_w": 250, "start_wh": 1234500}
OTHER = {"serial": "SN-2", "address": 2, "profile": "chint-ddsu666", "load_w": 250, "start_wh": 1000}
LATE_S = 0.03  # what a quiet machine may add
TRIES = 8


def sealed(*body):
    frame = bytes(body)
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


READ = sealed(1, 4, 0, 0, 0, 32)  # 69 bytes come back


def steadily(check):
    """Run `check` until it holds: a busy machine delays a line, but never hurries it."""
    for attempt in range(TRIES):
        try:
            return check()
        except AssertionError:
            if attempt == TRIES - 1:
                raise
            time.sleep(0.05 * attempt)


class Bench:
    """A line with two units, and the gateway's end of its terminal."""

    def __init__(self, link, settings, faults=()):
        said = {"turnaround_ms": 20, "jitter_ms": 0, "units": [UNIT, OTHER], "faults": [dict(one) for one in faults]}
        self.log = []
        stations = spec.stations(spec.load(json.loads(json.dumps(said)), paths.PROFILES), paths.PROFILES, settings)
        self.line = Line(link, settings, stations, self.log.append)

    def __enter__(self):
        self.line.__enter__()
        self.tty = os.open(self.line.link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        return self

    def __exit__(self, *error):
        os.close(self.tty)
        self.line.__exit__(*error)

    def ask(self, *pieces, count=999, within_s=2.0, pause_s=0.0):
        """Write the pieces, return (what came back, seconds to its first and its last byte)."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.tty, 4096)
        began = time.monotonic()
        for piece in pieces:
            os.write(self.tty, piece)
            time.sleep(pause_s)
        got, first, last = b"", 0.0, 0.0
        while len(got) < count and time.monotonic() - began < within_s:
            try:
                got += os.read(self.tty, 999)
            except BlockingIOError:
                time.sleep(0.0005)
                continue
            last = time.monotonic() - began
            first = first or last
        return got, first, last


@pytest.fixture
def bench(tmp_path):
    with Bench(tmp_path / "line", Settings(9600)) as made:
        yield made


@pytest.mark.parametrize(("baud", "form", "bits"), [(9600, "8N1", 10), (19200, "8E1", 11), (4800, "8N2", 11)])
def test_a_reply_takes_the_time_of_the_wire(tmp_path, baud, form, bits):
    char = bits / baud
    with Bench(tmp_path / "line", Settings(baud, form)) as bench:

        @steadily
        def _():
            got, first, last = bench.ask(READ, count=69)
            assert len(got) == 69 and got[:3] == bytes([1, 4, 64])
            assert 0 <= first - (9 * char + 0.02) < LATE_S
            assert 0 <= last - (77 * char + 0.02) < LATE_S


def test_no_reply_is_ever_faster_than_the_wire(bench):
    for _ in range(5):
        _, first, last = bench.ask(READ, count=69)
        assert first >= 9 * 10 / 9600 + 0.02
        assert last >= 77 * 10 / 9600 + 0.02


def test_the_reply_comes_in_slices_and_not_at_once(bench):
    @steadily
    def _():
        os.write(bench.tty, READ)
        sizes = []
        until = time.monotonic() + 2
        while sum(sizes) < 69 and time.monotonic() < until:
            try:
                sizes.append(len(os.read(bench.tty, 999)))
            except BlockingIOError:
                time.sleep(0.0003)
        assert sum(sizes) == 69
        assert len(sizes) > 20


def test_a_request_in_two_pieces_is_one_frame(bench):
    @steadily
    def _():
        assert len(bench.ask(READ[:3], READ[3:], count=69, within_s=0.5)[0]) == 69


def test_a_request_with_a_hole_of_more_than_three_and_a_half_characters_is_two_broken_frames(bench):
    got, _, _ = bench.ask(READ[:3], READ[3:], pause_s=0.1, within_s=0.3)
    assert got == b""
    assert ["garbage" in record for record in bench.log] == [True, True]


def test_the_log_tells_when_request_and_reply_were_on_the_wire(bench):
    @steadily
    def _():
        bench.log.clear()
        before = time.monotonic()
        _, first, last = bench.ask(READ, count=69)
        time.sleep(0.01)
        request, reply = bench.log
        assert (request["what"], request["serial"], request["unit"], request["fc"]) == ("request", "SN-1", 1, 4)
        assert (reply["address"], reply["count"], reply["fault"], reply["intact"]) == (0, 32, None, True)
        assert request["mono_us"][1] - request["mono_us"][0] == pytest.approx(8 * 10 / 9600 * 1e6, abs=2)
        assert reply["mono_us"][0] / 1e6 - before == pytest.approx(first, abs=LATE_S)
        assert reply["mono_us"][1] / 1e6 - before == pytest.approx(last, abs=LATE_S)
        assert reply["utc_us"][1] / 1e6 == pytest.approx(time.time(), abs=1)


def test_no_silence_in_the_log_is_shorter_than_it_was(bench):
    """A byte of the gateway's is picked up after it was written, one of a unit's is handed over before it is read."""
    written, seen = [], []
    for _ in range(10):
        written.append(time.monotonic() * 1e6)
        assert len(bench.ask(READ, count=69)[0]) == 69
        seen.append(time.monotonic() * 1e6)
    time.sleep(0.05)
    requests = [record["mono_us"] for record in bench.log if record["what"] == "request"]
    replies = [record["mono_us"] for record in bench.log if record["what"] == "reply"]
    assert all(begin >= at - 1 for (begin, _), at in zip(requests, written, strict=True))
    assert all(end <= at + 1 for (_, end), at in zip(replies, seen, strict=True))


def test_the_words_in_the_log_are_those_on_the_wire(bench):
    got, _, _ = bench.ask(READ, count=69)
    time.sleep(0.05)  # the line writes it down after the last byte
    assert [int.from_bytes(got[3 + 2 * i : 5 + 2 * i], "big") for i in range(32)] == bench.log[1]["words"]


@pytest.mark.parametrize("announced", ["2400 8N1", "9600 8E1", "9600 8O1", "9600 7E1"])
def test_other_settings_than_the_lines_are_not_understood(bench, announced):
    side = bench.line.link.with_name("line.line")
    side.write_text(announced + "\n")
    assert bench.ask(READ, within_s=0.2)[0] == b""
    side.write_text("9600 8N1\n")
    assert len(bench.ask(READ, count=69)[0]) == 69


def test_a_gateway_that_differs_in_its_stop_bits_alone_is_understood(bench):
    bench.line.link.with_name("line.line").write_text("9600 8N2\n")
    assert len(bench.ask(READ, count=69)[0]) == 69, "receivers look at the first stop bit only"


def test_a_unit_that_is_not_there_and_a_broken_crc_get_silence(bench):
    assert bench.ask(sealed(9, 4, 0, 0, 0, 2), within_s=0.1)[0] == b""
    assert bench.ask(READ[:-1] + b"x", within_s=0.1)[0] == b""


def test_a_hushed_line_is_silent_and_stays(bench):
    bench.line.silent = True
    assert bench.ask(READ, within_s=0.15)[0] == b""
    assert bench.log == []


def test_an_echoing_line_repeats_the_request_before_the_reply(tmp_path):
    with Bench(tmp_path / "line", Settings(9600), [{"kind": "echo"}]) as bench:
        got, _, _ = bench.ask(READ, count=77)
    assert got[:8] == READ and len(got) == 77


def test_a_fault_holds_for_its_span_and_its_unit_only(tmp_path):
    with Bench(tmp_path / "line", Settings(19200), [{"kind": "silent", "serial": "SN-1", "from": 0, "to": 1}]) as bench:
        assert bench.ask(READ, within_s=0.15)[0] == b""
        assert len(bench.ask(sealed(2, 3, 0x20, 0, 0, 2), count=9)[0]) == 9
        time.sleep(1.1)
        assert len(bench.ask(READ, count=69)[0]) == 69
        time.sleep(0.05)
    assert [record.get("fault") for record in bench.log] == ["silent", None, None, None, None]


def test_a_late_reply_comes_when_it_is_late(tmp_path):
    with Bench(tmp_path / "line", Settings(19200), [{"kind": "late", "late_ms": 200}]) as bench:

        @steadily
        def _():
            got, first, _ = bench.ask(READ, count=69)
            assert len(got) == 69 and 0.22 < first < 0.22 + LATE_S + 0.01


def test_a_late_reply_does_not_hold_up_another_units(tmp_path):
    fault = {"kind": "late", "serial": "SN-1", "late_ms": 600}
    with Bench(tmp_path / "line", Settings(19200), [fault]) as bench:
        assert bench.ask(READ, within_s=0.05)[0] == b""
        got, _, _ = bench.ask(sealed(2, 3, 0x20, 0, 0, 2), count=9)
        assert got[:3] == bytes([2, 3, 4]), "the other one is first on the wire"
        assert bench.ask(count=69)[0][:3] == bytes([1, 4, 64])


def test_the_link_goes_with_the_line_and_nothing_else_is_overwritten(tmp_path):
    link = tmp_path / "line"
    with Bench(link, Settings(9600)):
        assert link.is_symlink()
    assert not link.exists() and not link.is_symlink()
    link.write_text("mine")
    with pytest.raises(FileExistsError, match="not a link"):
        Bench(link, Settings(9600))
    assert link.read_text() == "mine"


def test_a_stale_link_is_replaced(tmp_path):
    link = tmp_path / "line"
    link.symlink_to("/dev/pts/nowhere")
    with Bench(link, Settings(9600)) as bench:
        assert len(bench.ask(READ, count=69)[0]) == 69


def test_the_command_says_what_it_serves_and_logs_what_was_on_the_line(tmp_path):
    link, file, log = tmp_path / "line", tmp_path / "spec.json", tmp_path / "log.jsonl"
    faults = [{"kind": "glitch", "serial": "SN-2", "every": 2}]
    file.write_text(json.dumps({"units": [UNIT, dict(OTHER, baud=2400, format="8E1")], "faults": faults}))
    command = [sys.executable, "-m", "meshems.cli", "sim-meters", "--pty", link, "--spec", file, "--log", log]
    with subprocess.Popen(command, cwd=paths.ROOT / "tools", stdout=subprocess.PIPE, text=True) as process:
        told = [process.stdout.readline().split() for _ in range(4)]
        tty = os.open(link, os.O_RDWR | os.O_NOCTTY)
        os.write(tty, READ)
        until = time.monotonic() + 5
        while '"reply"' not in log.read_text() and time.monotonic() < until:
            time.sleep(0.02)
        os.close(tty)
        process.terminate()
        assert process.wait() == 0
    assert told[0] == [f"{link}:", "9600", "8N1,", "2", "units"]
    assert told[1] == ["1", "SN-1", "eastron-sdm120"]
    assert told[2] == ["2", "SN-2", "chint-ddsu666", "at", "2400", "8E1"]
    assert told[3][:7] == ["fault", "glitch", "of", "SN-2,", "every", "2,", "from"]
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["what"] for record in records] == ["line", "request", "reply"]
    found = timing.judge(records)
    assert (found.requests, found.answered, found.gap_violations) == (1, 1, 0)


@pytest.mark.parametrize(("baud", "form"), [(9600, "7E1"), (0, "8N1"), (9600, "8X1")])
def test_settings_that_no_line_has_are_refused(baud, form):
    with pytest.raises(ValueError, match="allowed"):
        Settings(baud, form)


def test_a_waiting_line_costs_next_to_nothing(tmp_path):
    with Bench(tmp_path / "line", Settings(9600)):
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.05


def test_paths_lead_into_the_checkout():
    assert (paths.PROFILES / "eastron-sdm120.json").is_file()
    assert (paths.SCHEMAS / "sim.json").is_file()
    assert Path(paths.BOARDS / "desktop").is_dir()
