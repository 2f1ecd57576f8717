"""lib/once: what is needed once gives its memory back."""

import sys

import lib
from fake_nor import Nor
from lib import once
from lib.journal import Journal

WASM = True


def test_a_call_returns_what_the_function_returns_and_leaves_nothing():
    for _ in range(2):
        assert once.call("lib.civil", "unix_s", 1970, 1, 2) == 86400
        assert "lib.civil" not in sys.modules and not hasattr(lib, "civil")


def test_what_raises_leaves_nothing_either():
    try:
        once.call("lib.civil", "unix_s", "1970", 1, 2)
    except TypeError:
        assert "lib.civil" not in sys.modules and not hasattr(lib, "civil")
        return
    raise AssertionError("no TypeError")


def test_a_module_that_was_loaded_before_stays():
    from lib import civil

    assert once.call("lib.civil", "unix_s", 1970, 1, 2) == 86400
    assert sys.modules["lib.civil"] is civil is lib.civil


def test_a_journal_is_mounted_by_code_that_is_gone_then():
    journal = Journal(Nor(12))
    journal.mount()
    assert journal.empty and "lib.journal.mount" not in sys.modules
    journal.append(1, b"x", 1)
    assert journal.next == 1
