"""The plugin that runs tests inside MicroPython: each way in which a test can fail to pass is seen."""

import os
import re
import subprocess
import sys
import textwrap

import pytest

from mp_plugin import ROOT, micropython


@pytest.fixture
def run(tmp_path):
    """run(source, *args) -> (outcomes {test: PASSED|FAILED}, all that pytest printed) of a file mp_sample.py."""

    def run(source, *args, **environment):
        (tmp_path / "unit").mkdir()
        (tmp_path / "unit" / "mp_sample.py").write_text(textwrap.dedent(source))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-v", "-p", "host_tests.mp_plugin", "-c", str(ROOT / "pyproject.toml"),
             f"--rootdir={tmp_path}", "-p", "no:cacheprovider", *args, str(tmp_path)],
            cwd=ROOT, env=dict(os.environ, **environment), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        outcomes = dict(re.findall(r"^\S*mp_sample\.py::(\S+) (PASSED|FAILED)", done.stdout, re.MULTILINE))
        return outcomes, done.stdout + done.stderr

    return run


def script(folder, commands):
    """The path of a new shell script."""
    path = folder / "script"
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)
    return str(path)


def test_a_function_runs_inside_micropython_and_passes(run):
    outcomes, _ = run("import sys\ndef test_here(): assert sys.implementation.name == 'micropython'")
    assert outcomes == {"test_here": "PASSED"}


def test_a_failed_assertion_shows_the_traceback_of_micropython_and_how_to_repeat_it(run):
    outcomes, output = run("def test_sum(): assert 1 + 1 == 3, 'arithmetic'")
    assert outcomes == {"test_sum": "FAILED"}
    assert "AssertionError: arithmetic (exit status 1)" in output
    assert 'mp_sample.py", line 1, in test_sum' in output
    assert re.search(r"by hand: MICROPYPATH=boards/desktop:firmware:\S+ \S+micropython -X heapsize=1M -c", output)


@pytest.mark.parametrize("way", ["sys.exit(0)", "raise SystemExit"])
def test_a_script_that_ends_early_with_status_0_has_not_passed(run, way):
    outcomes, output = run(f"import sys\ndef test_early(): {way}")
    assert outcomes == {"test_early": "FAILED"}
    assert "it stopped before its end (exit status 0)" in output


def test_a_status_other_than_0_fails_although_the_end_was_reached(run, tmp_path):
    outcomes, output = run("def test_x(): pass", MICROPYTHON=script(tmp_path, f'{micropython()} "$@"; exit 3'))
    assert outcomes == {"test_x": "FAILED"}
    assert "exit status 3" in output


def test_what_a_test_prints_cannot_pass_for_the_end_marker(run):
    outcomes, _ = run("import sys\ndef test_fake():\n    print('end-0123456789abcdef')\n    sys.exit(0)")
    assert outcomes == {"test_fake": "FAILED"}


def test_an_async_test_runs_to_its_end_and_can_fail_there(run):
    outcomes, _ = run("""
        import asyncio
        async def test_good():
            await asyncio.sleep_ms(1)
        async def test_bad():
            await asyncio.sleep_ms(1)
            assert False
    """)
    assert outcomes == {"test_good": "PASSED", "test_bad": "FAILED"}


def test_a_test_that_never_ends_is_stopped(run):
    outcomes, output = run("TIMEOUT = {'test_for_ever': 1}\ndef test_for_ever():\n    while True: pass")
    assert outcomes == {"test_for_ever": "FAILED"}
    assert "stopped after 1 s" in output


def test_the_heap_is_what_the_file_says(run):
    outcomes, output = run("""
        HEAP = {"test_small": "64k"}
        def test_small():
            bytearray(70000)
        def test_default():
            bytearray(70000)
    """)
    assert outcomes == {"test_small": "FAILED", "test_default": "PASSED"}
    assert "MemoryError" in output


def test_each_test_has_a_process_and_an_empty_folder_of_its_own(run):
    outcomes, _ = run("""
        import os
        seen = []
        def test_one():
            seen.append(1)
            open("left behind", "w").close()
        def test_two():
            assert not seen and not os.listdir()
    """)
    assert outcomes == {"test_one": "PASSED", "test_two": "PASSED"}


def test_micropython_names_another_interpreter(run, tmp_path):
    outcomes, output = run("def test_x(): pass", MICROPYTHON=script(tmp_path, "echo not this one"))
    assert outcomes == {"test_x": "FAILED"}
    assert "not this one" in output


def test_a_missing_interpreter_is_said_in_one_line(run):
    outcomes, output = run("def test_x(): pass", MICROPYTHON="/nowhere/micropython")
    assert outcomes == {"test_x": "FAILED"}
    assert "/nowhere/micropython not found" in output


def test_wasm_tests_run_on_32_bits_each_in_a_fresh_interpreter(run):
    outcomes, output = run("""
        import sys
        WASM = True
        TIMEOUT = {"test_for_ever": 1}
        def test_width():
            sys.modules["left"] = 1
            assert sys.maxsize == 2**31 - 1
        def test_for_ever():
            while "left" not in sys.modules and sys.maxsize == 2**31 - 1: pass
        def test_firmware():
            from lib import fixed
            assert "left" not in sys.modules and fixed.text(230100, -3) == "230.1"
        def test_early():
            sys.exit(0)
        async def test_not_there():
            pass
    """)
    wasm = {name.partition("[")[0]: outcome for name, outcome in outcomes.items() if name.endswith("[wasm32]")}
    assert wasm == {
        "test_width": "PASSED", "test_for_ever": "FAILED", "test_firmware": "PASSED", "test_early": "FAILED",
    }  # fmt: skip
    assert outcomes["test_width"] == "FAILED" and outcomes["test_firmware"] == "PASSED"
    assert "stopped after 1 s" in output


@pytest.mark.parametrize(
    "source, said",
    [
        ("def helper(): pass", "no test_ function"),
        ("def test_a(): pass\ndef test_a(): pass", "there twice"),
        ("def test_a(x): pass", "takes arguments"),
        ("def test_a():\n    yield 1", "is a generator"),
        ("HEAP = {'test_b': '64k'}\ndef test_a(): pass", "which is not a test here"),
        ("WASM = 1\ndef test_a(): pass", "WASM is no bool"),
    ],
)
def test_a_file_whose_tests_would_not_run_is_an_error(run, source, said):
    outcomes, output = run(source)
    assert outcomes == {} and said in output and "1 error" in output
