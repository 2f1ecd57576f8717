"""docs/mesh.md and firmware/lib/mesh/frames.py lay the frames out alike, byte for byte."""

import re
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADER, MIC, TAG = 11, 4, 8


def _code():
    """Return the names of frames.py; it is plain Python but for `const`."""
    text = (ROOT / "firmware/lib/mesh/frames.py").read_text(encoding="utf-8")
    names: dict = {"const": lambda value: value}
    exec(text.replace("from micropython import const", ""), names)  # our own file
    return names


def _rows(heading, end):
    """Return the cells of a table of the page, row by row, from the line that begins with `heading`."""
    page = (ROOT / "docs/mesh.md").read_text(encoding="utf-8")
    table = page[page.index(heading) : page.index(end)]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:] if line[:1] == "|"]


def _sizes(cell):
    """Return the bytes of each field in `root 2 · seqno 2 · ...`; what is sealed, or only in an answer, is none."""
    fixed = cell.split(" · sealed")[0].split(", and where")[0].split(";")[0]
    return [int(size) for size in re.findall(r" (\d+)(?: ·|$)", fixed)]


def test_the_header_is_that_of_the_page():
    code = _code()
    rows = _rows("| at | bytes | header |", "| type | to | body")
    sizes = [int(size) for _, size, _ in rows]
    assert [int(at) for at, _, _ in rows] == [sum(sizes[:i]) for i in range(len(sizes))]
    assert sum(sizes) == struct.calcsize(code["HEADER"]) == code["BODY"] == HEADER


def test_each_type_has_the_number_the_fields_and_the_lengths_of_the_page():
    code = _code()
    bodies = {"BEACON": code["BEACON_BODY"], "UP": code["UP_BODY"], "DOWN": code["DOWN_BODY"]}
    rows = {cells[0]: cells for cells in _rows("| type | to | body, from 11 | length |", "Flags of a beacon")}
    assert len(rows) == 8
    for title, (_, _, body, length) in rows.items():
        number, name = title.split()
        number = int(number)
        assert code[name] == number
        if name == "FLOOD":
            body, length = rows["3 DOWN"][2:]
        sizes = _sizes(body)
        if name in bodies:
            fields = [struct.calcsize(">" + field) for field in bodies[name][1:]]
            if name == "BEACON":
                fields[9:11] = [sum(fields[9:11])]  # the time, in two
            assert sizes == fields, name
        sealed = "sealed" in body
        least, most = code["_LEAST"][number - 1], code["_MOST"][number - 1]
        assert HEADER + sum(sizes) + MIC + (TAG + 1 if sealed else 0) == least, name
        if sealed:
            base, first, last = map(int, re.match(r"(\d+) \+ n, n from (\d+) to (\d+)", length).groups())
            assert (base + first, base + last) == (least, most) and most == code["LIMIT"], name
        else:
            assert [least, most] == ([int(n) for n in length.split(" or ")] * 2)[:2], name
    assert code["UP_SEALED"] == HEADER + sum(_sizes(rows["2 UP"][2]))
    assert code["DOWN_SEALED"] == HEADER + sum(_sizes(rows["3 DOWN"][2]))


def test_flags_and_kinds_are_those_of_the_page():
    code = _code()
    page = (ROOT / "docs/mesh.md").read_text(encoding="utf-8")
    flags = page[page.index("Flags of a beacon: ") :].split("`time`")[0]
    assert [int(flag) for flag in re.findall(r"(?:^| |\n)(\d+) (?:no|the|is|wants)", flags)] == [
        code[name] for name in ("PULL", "UPLINK", "TIMED", "BUSY", "ROOT", "LACKS")
    ]
    kinds = [row[0].split() for row in _rows("| kind | what follows |", "What is sealed in DOWN")]
    assert kinds == [["0", "to", "127"], [str(code["HELLO"]), "HELLO"], [str(code["RESULT"]), "RESULT"]]
    downs = [row[0].split() for row in _rows("| kind | text |", "Bit n of")]
    assert downs == [[str(code["ACK"]), "ACK"], [str(code["COMMAND"]), "COMMAND"]]
