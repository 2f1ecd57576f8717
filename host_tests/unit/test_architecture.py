"""docs: every link leads somewhere, and every function that a link names is in the file that it leads to."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(page for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("boards/**/*.md")])
LINK = re.compile(r"\[([^\]]*)\]\(([^)#]+)(?:#[^)]*)?\)")
NAMED = re.compile(r"`([\w.]+\.py)` `([\w.]+)`")


def names(path):
    """Return the functions and methods of a Python file, as `f` and `Class.f`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_to_the_function_it_names(page):
    for text, target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        path = (page.parent / target).resolve()
        assert path.exists(), f"{page.name}: {target}"
        for name, function in NAMED.findall(text):
            assert path.name == name, f"{page.name}: {text}"
            assert function in names(path), f"{page.name}: {function} in {target}"


def test_the_road_of_a_value_is_linked_by_function():
    page = (ROOT / "docs/architecture.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| a ")]
    assert [row.split("|")[1].strip() for row in rows] == [
        "a byte from the wire becomes a register",
        "a register becomes a record",
        "a record becomes a message",
    ]
    assert all(NAMED.search(row) for row in rows)
