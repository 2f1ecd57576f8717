"""The suite `bus`: the arithmetic of the limits, what its judge makes of a line's log, its line, and its report."""

import json
import re
from xml.etree import ElementTree

import pytest

from meshems.benches import bus_judge, bus_limit, bus_line, bus_plot, bus_run, bus_virtual, rig
from meshems.benches.figures import Figure, table
from meshems.sim.faults import sealed
from meshems.sim.line import Settings

GAP_S = 0.003646


@pytest.mark.parametrize(
    ("baud", "turnaround_ms", "one", "eight"),
    [
        (1200, 5, 16.67, 32.0), (1200, 20, 16.67, 32.0), (1200, 60, 17.28, 36.9), (2400, 20, 8.44, 16.9),
        (9600, 5, 2.11, 4.22), (9600, 20, 2.41, 6.62), (19200, 20, 1.41, 4.91), (115200, 20, 0.60, 3.72),
    ],
)  # fmt: skip
def test_the_limit_is_characters_turnaround_and_silence(baud, turnaround_ms, one, eight):
    settings = Settings(baud)
    assert bus_limit.cycle_s(settings, 20, [40], turnaround_ms / 1000) == pytest.approx(one, rel=0.007)
    assert bus_limit.cycle_s(settings, 20, [2] * 8, turnaround_ms / 1000) == pytest.approx(eight, rel=0.005)


def test_a_parity_bit_makes_the_limit_longer():
    assert bus_limit.cycle_s(Settings(9600, "8E1"), 20, [40], 0.02) == pytest.approx(2.61, rel=0.005)


def request(first_us, last_us, k=None, unit=1, address=0):
    return {"what": "request", "mono_us": [first_us, last_us], "k": k, "unit": unit, "fc": 3, "address": address}


def reply(first_us, last_us, k, words, intact=True):
    return {"what": "reply", "mono_us": [first_us, last_us], "k": k, "words": words, "intact": intact}


def test_a_request_is_too_early_when_the_line_was_not_silent_for_the_whole_gap():
    def early(start_us):
        return bus_judge.gap_violations([request(0, 8000), reply(28000, 40000, 1, []), request(start_us, 60000)], GAP_S)

    assert [early(start) for start in (39000, 40000, 43644, 43646, 50000)] == [1, 1, 1, 0, 0]


def test_a_request_after_one_that_nobody_answered_is_judged_by_the_end_of_that():
    assert bus_judge.gap_violations([request(0, 8000), request(9000, 17000)], GAP_S) == 1
    assert bus_judge.gap_violations([request(0, 8000), request(508000, 516000)], GAP_S) == 0


def test_a_reply_that_came_late_in_the_log_counts_where_it_was_on_the_line():
    log = [request(0, 8000), request(100000, 108000), reply(90000, 99000, 1, [])]
    assert bus_judge.gap_violations(log, GAP_S) == 1


def test_a_cycle_is_measured_from_the_first_request_to_the_last():
    log = [request(1000000 + i * 120000, 1000000 + i * 120000 + 8000) for i in range(41)]
    assert bus_judge.cycle_s(log, 20) == pytest.approx(2.4)


def test_a_cycle_with_a_silent_meter_is_measured_from_one_turn_of_a_meter_to_its_next():
    log = [request(i * 500000, i * 500000 + 8000, unit=1 + i % 2) for i in range(9)]
    assert bus_judge.steady_cycle_s(log, 1) == pytest.approx(1.0)


BLOCKS = [[3, 0, 2], [3, 100, 2]]
LOG = [
    request(1000, 9000, 1), reply(29000, 40000, 1, [1, 2]),
    request(51000, 59000, 2, address=100), reply(79000, 90000, 2, [3, 4]),
    request(101000, 109000, 3), reply(129000, 140000, 3, [5, 6], intact=False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("poll", "expected"),
    [
        ([1, 0, 500, 41000, [1, 2]], (1, 0, 0)),
        ([1, 0, 500, 41000, None], (0, 0, 1)),
        ([1, 0, 500, 41000, [3, 4]], (0, 1, 0)),  # another block's
        ([1, 0, 500, 41000, [1]], (0, 1, 0)),  # not all that was asked for
        ([1, 1, 50500, 91000, [3, 4]], (1, 0, 0)),
        ([1, 0, 50500, 91000, [3, 4]], (0, 1, 0)),  # the line was asked for another block
        ([2, 1, 50500, 91000, [3, 4]], (0, 1, 0)),  # another unit's
        ([1, 0, 50500, 91000, [1, 2]], (0, 1, 0)),  # right, but of an earlier poll
        ([1, 0, 100500, 141000, [5, 6]], (0, 1, 0)),  # of a reply that was no good
    ],
)
def test_a_value_is_right_when_an_intact_reply_to_this_very_poll_carried_it(poll, expected):
    assert bus_judge.verdict([poll], BLOCKS, LOG) == expected


def row(fault=None):
    job = {"units": [1, 2, 3], "turnaround_ms": 20, "timeout_ms": 500, "fault": fault}
    return bus_line.Row(job)


def ask(station, unit, count=2):
    return station.hear(sealed(bytes([unit, 3, 0, 100, 0, count])), 0.0, 1.0)


def test_the_lines_meters_give_other_values_for_each_request():
    station = row()
    answers = [ask(station, 1) for _ in range(3)]
    assert len({tuple(answer.reply["words"]) for answer in answers}) == 3
    assert [answer.reply["k"] for answer in answers] == [1, 2, 3]
    assert all(answer.reply["intact"] and answer.delay_s == 0.02 for answer in answers)
    assert not ask(station, 9).wire and not station.hear(b"\x01\x03\x00", 0.0, 1.0).wire


@pytest.mark.parametrize(
    ("kind", "intact", "differs"),
    [("late", True, False), ("glitch", True, True), ("echo", True, False), ("wrong_unit", False, True),
     ("short", False, True)],
)  # fmt: skip
def test_a_fault_strikes_its_units_each_so_manyth_time(kind, intact, differs):
    station = row({"kind": kind, "units": [2], "every": 2})
    plain = [ask(station, 1), ask(station, 2)]
    struck = ask(station, 2)
    for answer in plain:
        assert answer.reply["intact"] and answer.reply["fault"] is None and answer.delay_s == 0.02
    data = b"".join(word.to_bytes(2, "big") for word in struck.reply["words"])
    whole = sealed(bytes([2, 3, 4]) + data)
    assert struck.reply["intact"] is intact and (struck.wire != whole) is differs
    assert (0.5 <= struck.delay_s <= 1.9) if kind == "late" else struck.delay_s == 0.02
    assert station.echoes(0.0) is (kind == "echo")


def test_a_bound_of_the_limit_is_judged_as_their_ratio():
    assert Figure("bus.x_s", 2.45, "s", limit=2.41, bound=1.03, of_limit=True).ok
    assert not Figure("bus.x_s", 2.49, "s", limit=2.41, bound=1.03, of_limit=True).ok
    line = json.loads(Figure("bus.x_s", 2.49, "s", limit=2.41, bound=1.03, of_limit=True).line())
    assert (line["limit"], line["bound"], line["ok"]) == (2.41, 1.03, False)
    assert list(line) == ["name", "value", "unit", "peer", "peer_value", "limit", "bound", "ok"]
    cells = [list(column.cells) for column in table([Figure("x", 1, "s", limit=2, bound=1.03, of_limit=True)]).columns]
    assert ["1.03 x limit"] in cells


@pytest.fixture(scope="module")
def runner():
    with rig.Rig() as bench:
        yield bus_run.Runner(bench)


@pytest.mark.parametrize("client", [bus_run.OURS, "pymodbus-sync", "pymodbus-async", "minimalmodbus"])
def test_every_client_reads_what_was_on_the_line(runner, client):
    blocks = [[3, 0, 2], [4, 100, 5]]
    done = runner.run(client, bus_run.Job(blocks, 8, units=((1, 2),), settings=Settings(115200)))
    assert bus_judge.verdict(done.polls, blocks, done.log) == (8, 0, 0)
    assert [poll[:2] for poll in done.polls] == [[1, 0], [1, 1], [2, 0], [2, 1]] * 2


def test_ours_reads_two_lines_at_once_and_its_steps_are_timed(runner):
    job = bus_run.Job([[3, 0, 2]], 4, units=((1, 2), (3,)), settings=Settings(115200), steps=True)
    done = runner.run(bus_run.OURS, job)
    assert [len(bus_judge.requests(log)) for log in done.logs] == [4, 4]
    assert {poll[0] for poll in done.polls} == {1, 2, 3}
    assert [name for name, *_ in done.tasks] == ["main", "read"] and all(row[1] for row in done.tasks)


def test_ours_in_virtual_time_is_never_wrong_and_loses_what_is_broken(tmp_path):
    profiles = bus_virtual.profile(tmp_path / "profiles", [[3, 0, 2], [3, 100, 2]])
    assert bus_virtual.faults(profiles, (1, 2), "glitch", 1, 20) == (20, 0, 0)
    assert bus_virtual.faults(profiles, (1, 2), "short", 1, 20) == (0, 0, 20)
    assert bus_virtual.gap_violations(profiles, (1, 2), 20) == 0
    late = bus_virtual.faults(profiles, (1, 2), "late", 3, 60)
    assert late.right and late.nothing and not late.wrong


def test_a_peer_that_cannot_be_fetched_is_one_line_that_names_no_host(monkeypatch, tmp_path):
    monkeypatch.setattr(bus_run, "UMODBUS_FOLDER", tmp_path / "peer")
    index = "http://127.0.0.1:9/simple"
    settings = {"INDEX_URL": index, "RETRIES": "0", "NO_CACHE_DIR": "1", "CONFIG_FILE": "/dev/null"}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(rig.BenchError) as error:
        bus_run.fetch()
    said = str(error.value)
    assert said.startswith("micropython-modbus 2.3.7 could not be fetched: ")
    assert "\n" not in said and "127.0.0.1" not in said and not (tmp_path / "peer").exists()


def figures():
    peers = ["micropython-modbus", "pymodbus-sync"]
    found = [Figure("bus.cycle_40regs_s", 2.44, "s", peer, 2.39, 2.41, 1.03, True) for peer in peers]
    found += [Figure("bus.cycle_8x2regs_s", 6.8, "s", peer, 6.2, 6.617, 1.08, True) for peer in peers]
    found += [Figure("bus.gap_violations", 0, "of 380", peer, 177, None, 0) for peer in peers]
    found += [Figure("bus.wrong_values", 0, "of 5000", peer, 900, None, 0) for peer in peers]
    found.append(Figure("bus.two_buses_ratio", 0.52, "", limit=0.5, bound=0.55))
    return [json.loads(one.line()) for one in found]


def test_the_picture_has_a_bar_for_each_client_and_a_line_at_the_limit():
    picture = bus_plot.svg(figures())
    ElementTree.fromstring(picture)  # it is well-formed
    assert picture.count(bus_plot.OUR) == 4 and picture.count(bus_plot.THEIR) == 8
    ours, line = (
        float(re.search(pattern, picture)[1])
        for pattern in (bus_plot.OUR + r'" x="150" y="\d+" width="([\d.]+)"', bus_plot.LIMIT + r'" x1="([\d.]+)"')
    )
    assert line - 150 == pytest.approx(ours * 2.41 / 2.44, abs=0.2)


def test_the_table_has_one_line_a_figure_and_a_column_for_each_peer():
    lines = bus_plot.table(figures()).splitlines()
    assert lines[0] == "| figure | ours | limit | bound | micropython-modbus | pymodbus-sync |"
    assert lines[2] == "| `bus.cycle_40regs_s` | 2.44 | 2.41 | 1.03 x limit | 2.39 | 2.39 |"
    assert lines[-1] == "| `bus.two_buses_ratio` | 0.52 | 0.5 | 0.55 |  |  |"
    assert len(lines) == 7
