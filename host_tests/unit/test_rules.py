"""Every rule of `make lint` fires on a bad sample and lets a good one pass; so does the check against the stubs."""

import pytest

from lint import rules, typecheck

LIB, GATEWAY, CLOCK = "firmware/lib/x.py", "firmware/gateway/x.py", "firmware/gateway/clock.py"
TEST, INSIDE = "host_tests/unit/test_x.py", "host_tests/unit/mp_x.py"
MARK = "TO" + "DO"  # put together, so that this file keeps the rule itself

# rule, path, bad, good
SAMPLES = [
    ("syntax", LIB, "def f(:", "def f(): pass"),
    ("float", LIB, "x = 0.5", "x = 5"),
    ("float", LIB, "x = 1e3", "x = 1000"),
    ("float", LIB, "x = 2j", "x = 2"),
    ("float", LIB, "x = float(y)", "x = int(y)"),
    ("float", LIB, "x = map(float, y)", "x = isinstance(y, float) or type(y) is float"),
    ("float", LIB, "x = 10 ** -3", "x = 10 ** 3"),
    ("division", LIB, "x = y / 2", "x = y // 2"),
    ("division", GATEWAY, "x /= 2", "x //= 2"),
    ("format", LIB, "x = '%.1f' % y", "x = '%d%%free %5d' % (y, z)"),
    ("format", LIB, "x = b'%g' % y", "x = b'%s' % y"),
    ("format", LIB, "x = f'{y:.2f}'", "x = f'{y:02x}'"),
    ("format", LIB, "x = '{:6.1e}'.format(y)", "x = '{:>6}'.format(y)"),
    ("format", LIB, "x = format(y, '.3f')", "x = format(y, 'x')"),
    ("struct", LIB, "import struct\nx = struct.unpack('<f', y)", "import struct\nx = struct.unpack('<IHBq', y)"),
    ("struct", LIB, "from struct import pack_into as p\np('>2d', b, 0, y)", "def p(*a): pass\np('>2d', b, 0, y)"),
    ("struct", LIB, "import ustruct\nF = '<BL'\nx = ustruct.calcsize(F)", "import ustruct\nx = ustruct.calcsize('<I')"),
    ("struct", LIB, "from array import array\nx = array('l')", "from array import array\nx = array('I')"),
    ("math", LIB, "import math", "import random"),
    ("math", GATEWAY, "from math import floor", "from lib import fixed"),
    ("time", LIB, "import time\nx = time.time()", "import time\nx = time.ticks_ms()"),
    ("time", GATEWAY, "import time as t\nx = t.gmtime()", "import time as t\nx = t.ticks_diff(1, 2)"),
    ("time", GATEWAY, "from time import time_ns", "from time import ticks_ms"),
    ("time", GATEWAY, "import utime\nx = utime.localtime()", "import utime\nx = utime.ticks_us()"),
    ("time", GATEWAY, "import ntptime\nntptime.settime()", "from lib import ntp\nntp.ask()"),
    ("sleep", LIB, "import time\ntime.sleep_ms(5)", "import asyncio\nasync def f(): await asyncio.sleep_ms(5)"),
    ("sleep", LIB, "from time import sleep as pause\npause(1)", "def pause(n): pass\npause(1)"),
    ("sleep", CLOCK, "import time\ntime.sleep(1)", "import time\nx = time.time()"),
    ("platform", LIB, "import sys\nx = sys.platform", "import sys\nx = sys.path"),
    ("platform", LIB, "from sys import implementation", "from sys import print_exception"),
    ("platform", GATEWAY, "import os\nx = os.uname()", "import os\nx = os.listdir()"),
    ("platform", GATEWAY, "import platform", "import machine"),
    ("except", LIB, "try: f()\nexcept: pass", "try: f()\nexcept OSError: pass"),
    ("except", LIB, "try: f()\nexcept BaseException: pass", "try: f()\nexcept (OSError, ValueError): pass"),
    ("print", LIB, "print(1)", "raise ValueError"),
    ("print", GATEWAY, "print(1)", "from gateway import log\nlog.info('x')"),
    ("import", LIB, "from gateway import log", "from lib import fixed"),
    ("import", LIB, "import gateway.log", "import lib.fixed"),
    ("import", LIB, "from ..gateway import log", "from . import fixed"),
    ("import", LIB, "x = __import__('gateway.log')", "x = __import__('lib.proto.' + name)"),
    ("import", GATEWAY, "import main", "from lib.media import rs485"),
    ("import", "firmware/main.py", "import boot as main", "from gateway import app"),
    ("size", LIB, "".join(f"def f{i}(a): return a + {i}\n" for i in range(400)), "def f(a): return a"),
    ("skip", TEST, "import pytest\n@pytest.mark.skip\ndef test_x(): assert f()",  # rule: a sample
     "def test_x(): assert f()"),
    ("skip", TEST, "import pytest\n@pytest.mark.skipif(a)\ndef test_x(): assert f()",  # rule: a sample
     "def skip(ms): return now + ms\ndef test_x(): assert skip(5)"),
    ("skip", TEST, "from pytest import mark\n@mark.xfail\ndef test_x(): assert f()",  # rule: a sample
     "def test_x(): assert line.skip(2)"),
    ("skip", TEST, "import pytest\ndef test_x():\n    pytest.skip('no')\n    assert f()",  # rule: a sample
     "def test_skip(): assert f()"),
    ("skip", TEST, "from pytest import importorskip as need",  # rule: a sample
     "from pytest import raises as need"),
    ("skip", TEST, "__test__ = False", "test = False"),
    ("assert", TEST, "def test_x():\n    f()\n    assert True\n    assert f()", "def test_x(): assert f() is True"),
    ("assert", INSIDE, "def test_x():\n    assert f()\n    assert 1, 'one'", "def test_x():\n    assert f(), 'one'"),
    ("assert", TEST, "def test_x():\n    assert (f() == 1, 'why')", "def test_x():\n    assert f() == (1, 'why')"),
    ("assert", TEST, "def test_x():\n    assert f() or True", "def test_x():\n    assert f() or g()"),
    ("assert", TEST, "def test_x():\n    x = f()\n    assert x == x", "def test_x():\n    assert f() == f()"),
    ("assert", TEST, "def test_x():\n    try:\n        assert f()\n    except Exception:\n        pass",
     "def test_x():\n    try:\n        assert f()\n    except OSError:\n        pass"),
    ("assert", INSIDE, "def test_x():\n    try:\n        assert f()\n    except:\n        pass",
     "def test_x():\n    try:\n        assert f()\n    except Exception as e:\n        kept.append(e)"),
    ("no-assert", TEST, "def test_x(): f()", "def check(): assert g()\ndef f(): check()\ndef test_x(): f()"),
    ("no-assert", INSIDE, "async def test_x(): await f()", "async def test_x():\n    if f(): raise AssertionError"),
    ("no-assert", TEST, "def test_x(): assert True", "def test_x():\n    with raises(OSError): f()"),
    ("unfinished", "tools/x.py", f"x = 1  # {MARK}: more", "x = 1  # more is not needed"),
    ("unfinished", "host_tests/wasm/x.mjs", f"let x; // {MARK}", "let x; // enough"),
    ("number", GATEWAY, "x = 1  # as issue 12 asks", "x = 1  # see github.com/micropython/micropython/issues/1"),
    ("number", LIB, '"""Does what #12 says."""', '"""Does what RFC 3927 says; slot 12."""'),
    ("number", "tools/x.py", "x = 1  # fixes #7", "x = '#7'"),
    ("host", "requirements/run.txt", "--index-url https://example.org/simple", "rich==15.0.0"),
    ("host", "package-lock.json", '{"resolved": "https://example.org/x.tgz"}', '{"integrity": "sha512-x"}'),
    ("large", "docs/x.bin", "x" * 1_000_001, "x"),
]  # fmt: skip


@pytest.fixture
def broken(tmp_path):
    """broken(path, source) -> the rules that a project breaks which holds that one file and what must be there."""

    def broken(path, source):
        for name in ("README.md", "LICENSE", ".ci/run", path):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(source if name == path else "")
        return {row.split(": ")[1] for row in rules.check(tmp_path)}

    return broken


@pytest.mark.parametrize("rule, path, bad, good", SAMPLES)
def test_a_rule_fires_on_the_bad_sample_and_passes_the_good_one(broken, rule, path, bad, good):
    assert rule in broken(path, bad)
    assert broken(path, good) == set()


def test_a_helper_of_the_same_name_in_another_file_does_not_count(broken, tmp_path):
    (tmp_path / "host_tests" / "unit").mkdir(parents=True)
    (tmp_path / "host_tests" / "unit" / "fake_x.py").write_text("def seen(x): return x")
    assert broken(TEST, "def seen(x): assert x\ndef test_x(): seen(1)") == set()
    assert broken(TEST, "from fake_x import seen\ndef test_x(): seen(1)") == {"no-assert"}


def test_every_rule_has_a_sample():
    assert {sample[0] for sample in SAMPLES} | {"missing"} == set(rules.RULES)


def test_a_project_without_its_first_files_is_told_which(tmp_path):
    assert [row.split(":")[0] for row in rules.check(tmp_path)] == ["README.md", "LICENSE", ".ci/run"]


def test_a_line_may_say_why_it_stands_as_it_is(broken):
    assert broken(LIB, "x = 1 / 2  # rule: shown to the installer only") == set()


def test_what_tools_leave_behind_is_not_looked_at(broken):
    assert broken(".pytest_cache/v/x.py", "x = 1  # fixes #7") == set()


def test_a_reason_is_needed(broken):
    assert broken(LIB, "x = 1 / 2  # rule:") == {"division"}


def test_the_clock_reads_the_time_of_day(broken):
    assert broken(CLOCK, "import time\nx = time.time_ns()") == set()


def test_the_log_prints(broken):
    assert broken("firmware/gateway/log.py", "print(1)") == set()


@pytest.mark.parametrize("source, word", [
    ("import hashlib\ndef f(): return hashlib.sha512(b'')", "sha512"),
    ("import time\ndef f(): return time.monotonic()", "monotonic"),
    ("from machine import UART\ndef f(): return UART.RS485", "RS485"),
    ("from machine import Pin\ndef f(): return Pin(1, pulling=1)", "pulling"),
    ("import contextlib", "contextlib"),
])  # fmt: skip
def test_what_a_chip_lacks_is_found_for_both_boards(tmp_path, capsys, source, word):
    (tmp_path / "x.py").write_text(source)
    assert typecheck.main(tmp_path) == 1
    rows = [row for row in capsys.readouterr().out.splitlines() if word in row]
    assert {row.split(":")[0] for row in rows} == set(typecheck.BOARDS)


def test_firmware_that_uses_what_the_chips_have_passes(tmp_path, capsys):
    (tmp_path / "x.py").write_text("import time\nfrom machine import UART\nx = [UART(1, tx=1), time.ticks_ms()]")
    assert typecheck.main(tmp_path) == 0, capsys.readouterr().out
