"""`import.total_kb`: what the firmware's modules keep on the heap of a 32-bit MicroPython, and the factor to 64 bit.

The gateway says which modules it imports, in which order. They are then imported one by one, from .mpy, on the wasm
build (32 bit) and on the unix port (64 bit), beside stubs that are there before the counting begins. Then both build
the same gateway: the ratio of what it all takes is the factor from one word size to the other.
"""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from meshems.benches import rig
from meshems.benches.figures import Figure

BOUND_KB = 60
HEAP = 8 << 20
FIRST = (
    "asyncio array binascii errno gc hashlib json micropython os random struct sys time "
    "esp32 machine network select socket"
)
MARK = "measured "
NAMES = re.compile(r"n_str_data_bytes=(\d+), n_total_bytes=(\d+)")  # of micropython.qstr_info()


@dataclass(frozen=True)
class Module:
    """What the import of one module adds to the heap, in bytes; `kept` is false for one that the gateway drops again.

    A package that imports its own parts cannot be parted from them: they count as one. The table of names grows by
    doubling, so that one module out of a hundred names pays for all: that is counted apart.
    """

    name: str
    mpy: int
    bits32: int
    bits64: int
    kept: bool


@dataclass(frozen=True)
class Build:
    """Bytes on one build's heap: of each module, of the table of names, of all that stays, of a gateway that is built
    and does not run.
    """

    modules: list[int]
    names: int
    stays: int
    gateway: int


@dataclass(frozen=True)
class Imports:
    """The modules in the order of their import, on both builds."""

    modules: list[Module]
    bits32: Build
    bits64: Build

    @property
    def factor(self) -> float:
        """Return how much smaller the same gateway is on a 32-bit heap."""
        return self.bits32.gateway / self.bits64.gateway

    def figures(self) -> list[Figure]:
        """Return what stays of all imports, and what they would be without dropping any."""
        everything = sum(module.bits32 for module in self.modules) + self.bits32.names
        return [
            Figure("import.total_kb", round(self.bits32.stays / 1024, 1), "kB", bound=BOUND_KB),
            Figure("import.undropped_kb", round(everything / 1024, 1), "kB"),
        ]

    def table(self) -> Table:
        """Return the cost of each module."""
        shown = Table("module", title="Imports: bytes on the heap, from .mpy", title_justify="left")
        for head in (".mpy", "32 bit", "64 bit"):
            shown.add_column(head, justify="right")
        shown.add_column("")
        for one in sorted(self.modules, key=lambda module: -module.bits32):
            shown.add_row(one.name, str(one.mpy), str(one.bits32), str(one.bits64), "" if one.kept else "dropped")
        shown.add_row("table of names", "", str(self.bits32.names), str(self.bits64.names))
        shown.add_section()
        sums = [sum(module.mpy for module in self.modules)]
        sums += [sum(build.modules) + build.names for build in (self.bits32, self.bits64)]
        shown.add_row("all", *map(str, sums))
        shown.add_row("without the dropped", "", str(self.bits32.stays), str(self.bits64.stays))
        shown.add_row("a gateway, built", "", str(self.bits32.gateway), str(self.bits64.gateway))
        return shown


def measure(bench: rig.Rig, placed: Sequence[rig.Meter]) -> Imports:
    """Measure both builds."""
    conf = rig.config(placed, 1, 5, alone=False)
    said = bench.script(bench.state("order", conf), "order.py").result(20)
    order = [name for name in said["order"] if name.split(".")[0] in ("gateway", "lib")]
    whole = {name: _whole(name, order) for name in order}
    units = [name for name in order if whole[name] == name]
    dropped = [name for name in units if name not in said["kept"]]
    steps = _steps(units, dropped)
    state = bench.state("imports", conf)
    bits64 = _unix(bench, state, steps)
    bits32 = _wasm(bench, state, steps)
    mpy = {unit: sum(bench.sizes.get(name, 0) for name in order if whole[name] == unit) for unit in units}
    modules = [
        Module(name, mpy[name], bits32.modules[i], bits64.modules[i], name not in dropped)
        for i, name in enumerate(units)
    ]
    return Imports(modules, bits32, bits64)


def _whole(name: str, order: Sequence[str]) -> str:
    """Return the outermost package that was not complete before `name` was; `name` itself when there is none."""
    parts = name.split(".")
    for count in range(1, len(parts)):
        package = ".".join(parts[:count])
        if package in order and order.index(package) > order.index(name):
            return package
    return name


def _steps(units: Sequence[str], dropped: Sequence[str]) -> list[str]:
    """Return the program: a step for each thing that is counted, and the collection of garbage on its own."""
    counted = ["", *(f"import {name}" for name in units)]
    drops = [f"del sys.modules[{name!r}], sys.modules[{name.rpartition('.')[0]!r}].{name.rpartition('.')[2]}"
             for name in dropped]  # fmt: skip
    counted.append("\n".join(drops))
    counted.append("import caught\n_gateway = caught.gateway()")
    imports = "\n".join(f"import {name}" for name in FIRST.split())
    steps = [f"{imports}\n_at = array.array('I', [0] * {len(counted)})"]
    for i, step in enumerate(counted):
        steps += [step, "gc.collect()", f"_at[{i}] = gc.mem_alloc()", "micropython.qstr_info()"]
    return [*steps, f"print({MARK!r}, json.dumps(list(_at)))"]


def _result(output: str) -> Build:
    names = [int(all_of_it) - int(texts) for texts, all_of_it in NAMES.findall(output)]
    for line in output.splitlines():
        if line.startswith(MARK):
            at = json.loads(line[len(MARK) :])
            counts = [at[i + 1] - at[i] - (names[i + 1] - names[i]) for i in range(len(at) - 3)]
            return Build(counts, names[-3] - names[0], at[-2] - at[0], at[-1] - at[0])
    raise rig.BenchError(f"the imports could not be counted: {' | '.join(output.splitlines()[-4:])}")


def _path(folders: Sequence[str]) -> str:
    return f"import sys\nsys.path[:] = {[*folders, '.frozen']!r}"


def _unix(bench: rig.Rig, state: Path, steps: Sequence[str]) -> Build:
    stubs = rig.SCRIPTS / "stubs"
    path = _path([str(stubs), str(bench.firmware), str(rig.SCRIPTS), str(bench.board)])
    (state / "steps.json").write_text(json.dumps([path, *steps]))
    process = bench.script(state, "steps.py", "steps.json", heap_kb=HEAP >> 10)
    process.wait(60)
    return _result("\n".join(process.lines))


def _wasm(bench: rig.Rig, state: Path, steps: Sequence[str]) -> Build:
    if not (rig.WASM / "micropython.mjs").exists():
        raise rig.BenchError("the 32-bit build of MicroPython is not installed: `make bench` does it, or `npm ci`")
    files = [["/state/gateway.json", str(state / "gateway.json")]]
    for inside, folder, pattern in (
        ("/stubs", rig.SCRIPTS / "stubs", "*.py"),
        ("/stubs", rig.SCRIPTS / "stubs32", "*.py"),
        ("/scripts", rig.SCRIPTS, "caught.py"),
        ("/board", bench.board, "*.json"),
        ("/firmware", bench.firmware, "*.*"),
    ):
        files += [[f"{inside}/{file.relative_to(folder)}", str(file)] for file in sorted(folder.rglob(pattern))]
    path = _path(["/stubs", "/firmware", "/scripts", "/board"])
    job = {"package": str(rig.WASM), "heap": HEAP, "files": files, "steps": [path, "import missing", *steps]}
    done = subprocess.run(
        [rig.node(), str(rig.SCRIPTS / "wasm.mjs")],
        input=json.dumps(job), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return _result(done.stdout + done.stderr)
