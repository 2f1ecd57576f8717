"""What ships is the source with other spellings, and nothing else."""

import ast
import subprocess

import pytest

from meshems import paths, ship
from meshems.benches.rig import program
from meshems.run import interpreter


def short(**modules):
    """Return {name: source as it ships} of small modules."""
    trees = {name: ast.parse(source) for name, source in modules.items()}
    ship.shorten(trees)
    return {name: ast.unparse(tree) for name, tree in trees.items()}


def test_a_private_name_is_the_same_word_wherever_it_is_used():
    shipped = short(
        one="class Ring:\n    def __init__(self):\n        self._oldest = 3",
        two="def mount(ring):\n    ring._oldest = 4",
    )
    [of_one] = {node.attr for node in ast.walk(ast.parse(shipped["one"])) if isinstance(node, ast.Attribute)}
    [of_two] = {node.attr for node in ast.walk(ast.parse(shipped["two"])) if isinstance(node, ast.Attribute)}
    assert of_one == of_two == "_a"


def test_names_that_never_meet_share_a_spelling():
    shipped = short(one="_first = 1", two="_second = 2")
    assert shipped == {"one": "_a = 1", "two": "_a = 2"}


def test_names_that_meet_through_a_third_module_stay_two():
    shipped = short(one="x._first = 1", two="x._second = 2", three="x._first = x._second")
    assert shipped["three"] == "x._a = x._b"


def test_names_of_a_class_and_of_its_base_in_another_module_stay_two():
    base = "class Base:\n    def __init__(self):\n        self._held = 1"
    sub = "from base import Base\n\nclass Sub(Base):\n    def more(self):\n        self._added = 2"
    shipped = short(**{"base.py": base, "sub.py": sub})
    spelled = {node.attr for text in shipped.values() for node in ast.walk(ast.parse(text)) if hasattr(node, "attr")}
    assert spelled == {"_a", "_b"}


def test_a_private_name_of_somebody_else_is_left_alone():
    assert short(one="asyncio.core._io_queue.queue_read(_sock)\n_sock = 1")["one"] == (
        "asyncio.core._io_queue.queue_read(_a)\n_a = 1"
    )


def test_an_argument_passed_by_name_keeps_it():
    shipped = short(one="def sent(topic, retain):\n    return (topic, retain)", two="sent(b'', retain=True)")
    assert shipped["one"].splitlines()[0] == "def sent(_a, retain):"


def test_an_argument_bound_again_inside_keeps_its_name():
    source = "def outer(n, m):\n    return [n for n in range(m)]"
    assert short(one=source)["one"] == "def outer(n, _a):\n    return [n for n in range(_a)]"


def test_an_argument_never_hides_a_global_of_the_function():
    shipped = short(one="_limit = list\n\ndef fits(size):\n    return size < _limit")
    assert shipped["one"] == "_a = list\n\ndef fits(_b):\n    return _b < _a"


def test_constants_stay_for_the_compiler():
    assert short(one="_MS = const(5)\nx = _MS")["one"] == "_MS = const(5)\nx = _MS"


def test_a_public_constant_stands_as_its_value_wherever_it_is_used():
    one, two = "FIRST, LAST = range(3, 5)\nALONE = const(7)", "from one import ALONE, LAST\ny = ALONE, LAST"
    trees = {"one.py": ast.parse(one), "two.py": ast.parse(two)}
    ship.inline(trees)
    assert [ast.unparse(tree) for tree in trees.values()] == ["", "y = (7, 4)"]


def test_nothing_is_imported_for_the_compiler_alone():
    tree = ast.parse("from micropython import const, schedule\n_MS = const(5)\nx = _MS")
    bare = ast.parse("from micropython import const\ny = 1")
    pair = ast.parse("from micropython import const\n_A, _B = (const(1), const(2))")  # that is no constant to it
    ship.trim({"one.py": tree, "two.py": bare, "three.py": pair})
    assert ast.unparse(pair).splitlines()[0] == "from micropython import const"
    assert ast.unparse(tree) == "from micropython import schedule\n_MS = const(5)\nx = _MS"
    assert ast.unparse(bare) == "y = 1"


def test_a_class_keeps_nothing_that_nobody_reads():
    tree = ast.parse("class One:\n    x = 1")
    ship.trim({"one.py": tree})
    assert ast.unparse(tree) == "class One:\n    del __module__, __qualname__\n    x = 1"


@pytest.mark.parametrize(
    ("said", "ships"),
    [
        ("once.call('gateway.events', 'sent', x)", "once.call('gateway.' + 'events', 'sent', x)"),
        ("once.call(_NAME, 'tell')", "once.call('gateway.' + 'standing', 'tell')"),
        ("once.forget('lib.proto.find')", "once.forget('lib.proto.' + 'find')"),
        ("once.call('lib.twin', 'load')", "once.call('lib.twin', 'load')"),
        ("once.call('lib.journal.mount', 'mount')", "once.call('lib.journal.mount', 'mount')"),
        ("once.call(name, 'load')", "once.call(name, 'load')"),
    ],
)
def test_the_name_of_a_module_that_is_needed_once_is_made_of_texts_that_the_compiler_interns(said, ships):
    tree = ast.parse("_NAME = const('gateway.standing')\n" + said)
    ship.trim({"one.py": tree})
    assert ast.unparse(tree).splitlines()[1] == ships


def test_no_two_names_of_one_module_of_the_firmware_become_one():
    sources = {str(file): ast.parse(file.read_text()) for file in sorted(paths.FIRMWARE.rglob("*.py"))}
    copies = {path: ast.parse(ast.unparse(tree)) for path, tree in sources.items()}
    ship.shorten(copies)
    count = 0
    for path, before in sources.items():
        became = {}
        for old, new in zip(ast.walk(before), ast.walk(copies[path]), strict=True):
            if isinstance(old, ast.Attribute):
                assert became.setdefault(new.attr, old.attr) == old.attr, path
                count += old.attr != new.attr
    assert count > 500


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped")
    ship.build(paths.FIRMWARE, folder, program("MPY_CROSS", "mpy-cross"))
    return folder


def test_it_is_the_same_to_the_byte_each_time(shipped, tmp_path):
    ship.build(paths.FIRMWARE, tmp_path, program("MPY_CROSS", "mpy-cross"))
    for file in shipped.rglob("*.*"):
        assert (tmp_path / file.relative_to(shipped)).read_bytes() == file.read_bytes()


def test_a_module_that_does_not_compile_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("await x\nreturn 5\n")
    with pytest.raises(ship.ShipError, match=r"broken\.py"):
        ship.build(tmp_path, tmp_path / "out", program("MPY_CROSS", "mpy-cross"))


def test_what_ships_reads_a_reply_as_the_source_does(shipped, tmp_path):
    program_text = (
        "from lib.proto.modbus import rtu\n"
        "print(rtu.request(17, 3, 0x6b, 3).hex())\n"
    )
    for firmware in (paths.FIRMWARE, shipped):
        path = f"{paths.BOARDS / 'desktop'}:{firmware}:.frozen"
        done = subprocess.run(
            [interpreter(), "-c", program_text], env={"MICROPYPATH": path}, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.stdout.strip() == "1103006b00037687", done.stderr


def test_what_ships_scales_a_value_by_its_ratio_as_the_source_does(shipped, tmp_path):
    """A class whose base stands in another module: their names must not become one."""
    profile = {
        "blk": [[3, 0, 3, 1]], "lim": [32, 1, 20, 500], "ratio": {"ct": [40, 1]},
        "q": [["31.7.0", 0, 0, "u16", -2, "A", -3, {"plus": [1, "u16", 0], "sign": [2, 1]}]],
    }  # fmt: skip
    program_text = f"from lib.proto import modbus\nprint(modbus.plan({profile!r})[0].decode(b'\\0\\7\\0\\1\\0\\1'))\n"
    for firmware in (paths.FIRMWARE, shipped):
        path = f"{paths.BOARDS / 'desktop'}:{firmware}:.frozen"
        done = subprocess.run(
            [interpreter(), "-c", program_text], env={"MICROPYPATH": path}, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.stdout.strip() == "[-42800]", done.stderr
