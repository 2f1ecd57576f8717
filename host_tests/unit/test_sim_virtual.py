"""The firmware's own master on the simulated line in virtual time: what the benches of the bus stand on."""

import json
import time

import pytest

from meshems import paths
from meshems.sim import timing
from meshems.sim.uart import Settings
from meshems.sim.virtual import VirtualError, VirtualLine, poll, serve

UNITS = [
    {"serial": "SN-1", "address": 1, "profile": "eastron-sdm120"},
    {"serial": "SN-2", "address": 2, "profile": "chint-ddsu666"},
    {"serial": "SN-3", "address": 3, "profile": "hiking-dds238-2"},
]


def run(*faults, count=60, units=UNITS, **more):
    spec = {"units": units, "faults": list(faults), "restless": True}
    return poll(spec, more.pop("settings", Settings(9600)), count, **more)


def kinds(done):
    return {one.struck for one in done.polls if not one.ok}


def test_each_poll_tells_what_was_read_and_what_the_unit_held():
    done = run()
    assert len(done.polls) >= 60 and all(one.ok and not one.wrong for one in done.polls)
    for one in done.polls:
        assert len(one.requests) == len(one.held) == 1 and one.values
        assert one.began_us < one.requests[0]["mono_us"][0] < one.ended_us
    volts = [one.values["32.7.0"] for one in done.polls if "32.7.0" in one.values]
    assert {unit for _, unit in volts} == {"V"} and len(set(volts)) > 10, "restless units"
    assert [one.serial for one in done.polls[:2]] == ["SN-1", "SN-1"]


def test_the_same_polls_come_out_the_same():
    late = {"kind": "late", "every": 4, "late_ms": 480, "late_to_ms": 1880}
    first, second = run(late), run(late)
    assert first.log == second.log
    assert [one.values for one in first.polls] == [one.values for one in second.polls]


def test_nobody_waits_for_a_time_out():
    began = time.monotonic()
    done = run({"kind": "silent"}, count=200)
    assert done.us > 100_000_000 and time.monotonic() - began < done.us / 1e6
    assert kinds(done) == {"silent"} and not any(one.ok for one in done.polls)


@pytest.mark.parametrize("kind", ["glitch", "echo", "noise_after", "gap"])
def test_what_arrives_whole_is_read(kind):
    done = run({"kind": kind})
    assert all(one.ok and not one.wrong for one in done.polls)


@pytest.mark.parametrize("kind", ["crc", "truncated", "exception", "busy", "wrong_unit", "wrong_function", "short"])
def test_what_is_no_reply_gives_no_value(kind):
    done = run({"kind": kind, "every": 3, "refusals": 1})
    assert kinds(done) == {kind} and not any(one.wrong for one in done.polls)
    assert any(one.ok for one in done.polls)


def test_strict_units_are_content_with_the_silence_the_master_keeps():
    done = run({"kind": "strict"}, count=100)
    assert all(one.ok for one in done.polls)
    found = timing.judge(done.log, 9600, "8N1")
    assert (found.gap_violations, found.collisions, found.unanswered) == (0, 0, 0)
    assert found.shortest_us >= 3645


def test_late_replies_and_babble_make_collisions_and_no_wrong_value():
    late = {"kind": "late", "every": 3, "late_ms": 480, "late_to_ms": 1880}
    babble = {"kind": "unasked", "serial": "SN-3", "period_ms": 3000, "babble_bytes": 200}
    done = run(late, babble, count=200)
    assert timing.judge(done.log, 9600, "8N1").collisions > 5
    assert not any(one.wrong for one in done.polls) and any(one.ok for one in done.polls)


def test_a_reply_that_is_taken_for_another_is_found_out(tmp_path):
    """One block only, and replies that come when the master has long asked again: nothing could protect it."""
    profile = json.loads((paths.PROFILES / "chint-ddsu666.json").read_text())
    profile["blk"] = profile["blk"][:1]
    profile["q"] = [row for row in profile["q"] if row[1] == 0]
    (tmp_path / "chint-ddsu666.json").write_text(json.dumps(profile))
    late = {"kind": "late", "every": 2, "late_ms": 2020, "late_to_ms": 2060}
    done = run(late, units=UNITS[1:2], profiles=tmp_path)
    wrong = [one for one in done.polls if one.wrong]
    assert wrong and all(one.ok and set(one.wrong) <= set(one.values) for one in wrong)


@pytest.mark.parametrize("settings", [Settings(1200, "8E1"), Settings(19200), Settings(115200, "8N2")])
@pytest.mark.parametrize("grain", [1, 10])
def test_the_line_may_be_set_otherwise_and_the_loop_be_as_coarse_as_the_chips(settings, grain):
    done = run(settings=settings, grain=grain, count=20)
    assert all(one.ok for one in done.polls)
    assert timing.judge(done.log, settings.baud, settings.format).gap_violations == 0


def test_what_a_unit_does_not_answer_is_no_wrong_value_but_none():
    done = run({"kind": "silent", "serial": "SN-2"})
    assert {one.serial for one in done.polls if not one.ok} == {"SN-2"}
    assert all(one.held and not one.values and one.text for one in done.polls if not one.ok)


def test_a_bad_spec_and_a_failing_script_are_named(tmp_path):
    with pytest.raises(ValueError, match="units"):
        poll({"units": []}, Settings(9600), 1)
    script = tmp_path / "fails.py"
    script.write_text("import virtual_bus\njob, clock, uart = virtual_bus.connect()\nraise ValueError(job['what'])\n")
    with pytest.raises(VirtualError, match="ValueError: nothing"):
        serve(VirtualLine(Settings(9600), {}, print), script, {"what": "nothing"}, print)
    script.write_text("import no_such_module\n")
    with pytest.raises(VirtualError, match="no_such_module"):
        serve(VirtualLine(Settings(9600), {}, print), script, {"what": "x" * 1_000_000}, print)


def test_a_script_that_comes_to_no_end_is_ended(tmp_path):
    script = tmp_path / "loops.py"
    script.write_text("import virtual_bus\nvirtual_bus.connect()\nwhile True:\n    pass\n")
    with pytest.raises(VirtualError, match="status -9"):
        serve(VirtualLine(Settings(9600), {}, print), script, {}, print, limit_s=0.5)


def test_another_script_has_the_uart_and_the_clock(tmp_path):
    script = tmp_path / "scan.py"
    script.write_text(
        "import asyncio, virtual_bus\n"
        "job, clock, uart = virtual_bus.connect()\n"
        "async def main():\n"
        "    uart.init(baudrate=2400, parity=0)\n"
        "    uart.write(bytes([1, 2, 3]))\n"
        "    await asyncio.sleep_ms(5000)\n"
        "    virtual_bus.tell([clock.us, uart.any(), uart.readinto(bytearray(9)), uart.txdone()])\n"
        "asyncio.run(main())\n"
    )
    told = []
    line = VirtualLine(Settings(9600), {}, print)
    serve(line, script, {}, told.append)
    assert told == [[5_000_000, 0, None, True]] and str(line.gateway) == "2400 8E1"
