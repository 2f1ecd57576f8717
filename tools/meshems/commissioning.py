"""What is left on paper of a commissioning: a label for the box, and a page for the folder. No secret is on either."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from meshems.provisioning import Done

LABEL_MM = 62, 29  # a common size of labels
PICTURE_WIDTH = 100
WIDE = 0.6  # mean width of a character in its size: what is long is written smaller
ROWS = 34  # of results that a page takes


def text(done: "Done") -> str:
    """Return what the QR code says: meshems:FEEDER/GATEWAY?id=...&config=...&firmware=...&date=..."""
    where = f"{quote(done.feeder)}/{quote(done.gateway)}"
    return f"meshems:{where}?id={done.id}&config={done.config}&firmware={done.firmware}&date={done.time:%Y-%m-%d}"


def _code(done: "Done") -> Any:
    import segno

    return segno.make(text(done), error="m", micro=False)


def lines(done: "Done") -> list[str]:
    """Return the lines of the label."""
    mac = ":".join(done.id[i : i + 2] for i in range(0, len(done.id), 2))
    return [done.gateway, done.feeder, done.board, mac, f"firmware {done.firmware}", f"config {done.config}",
            f"{done.time:%Y-%m-%d}"]  # fmt: skip


def line(row: Mapping[str, Any]) -> str:
    """Return a result of the self-test as a line, with what to do when it is not good."""
    from meshems.provisioning import next_of

    found = row["found"] + (f", its own number {row['serial']}" if row.get("serial") else "")
    if row["ok"]:
        return f"  ok    {row['test']}: {found}"
    return f"  FAIL  {row['test']}: found {found}, expected: {row['expected']}; {next_of(row)}"


def label(done: "Done") -> str:
    """Return the label as an SVG picture of LABEL_MM: the code, and what it says for people."""
    width, height = LABEL_MM
    code = _code(done)
    side = code.symbol_size(border=2)[0]
    inner = code.svg_inline(border=2, omitsize=True)
    rows = []
    for i, row in enumerate(lines(done)):
        size = min(2.4 if i else 5.0, (width - height - 1) / (WIDE * len(row)))
        rows.append(f'<text x="{height}" y="{6.5 + 3.3 * i:g}" font-size="{size:.2f}">{escape(row)}</text>')
    body = inner.replace("<svg", f'<svg x="0" y="0" width="{height}" height="{height}"', 1)
    assert f'viewBox="0 0 {side} {side}"' in body
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif"><rect width="{width}" height="{height}" fill="white"/>{body}{"".join(rows)}</svg>\n'
    )


def record(done: "Done", file: Path) -> None:
    """Write the page of the folder as PDF."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.pdfgen.canvas import Canvas

    page = Canvas(str(file), pagesize=A4, invariant=1, pageCompression=0)
    page.setTitle(f"Commissioning of {done.gateway}")
    left, y = 20 * mm, A4[1] - 25 * mm
    page.setFont("Helvetica-Bold", 14)
    page.drawString(left, y, f"Commissioning of {done.gateway}")
    _drawn(page, done, A4[0] - 55 * mm, A4[1] - 50 * mm, 38 * mm)
    y -= 12 * mm
    moved = "had no time before" if done.clock_ms is None else f"moved by {done.clock_ms} ms"
    for name, value in (
        ("Feeder", done.feeder), ("Board", done.board), ("Chip", done.id), ("Firmware", done.firmware),
        ("MicroPython", done.python.rpartition("; ")[2]), ("Configuration", done.config),
        ("Time", f"{done.time:%Y-%m-%d %H:%M:%S} UTC"), ("Clock", f"{moved}, to {done.bound_ms} ms"),
        ("Installer", done.installer),
    ):  # fmt: skip
        y = _row(page, left, y, name, value, "Helvetica")
    y -= 6 * mm
    page.setFont("Helvetica-Bold", 12)
    failed = len(done.failed)
    verdict = "no self-test" if not done.tests else f"{failed} of {len(done.tests)} tests failed" if failed else "good"
    page.drawString(left, y, f"Self-test: {verdict}")
    y -= 8 * mm
    rows = sorted(done.tests, key=lambda row: bool(row["ok"]))
    for row in rows[:ROWS]:
        value = ("good: " if row["ok"] else "FAILED: ") + row["found"]
        value += f", own number {row['serial']}" if row.get("serial") else ""
        y = _row(page, left, y, row["test"], value, "Helvetica" if row["ok"] else "Helvetica-Bold")
    if len(rows) > ROWS:
        _row(page, left, y, "", f"and {len(rows) - ROWS} more, all good" if failed <= ROWS else "and more", "Helvetica")
    page.setFont("Helvetica", 10)
    page.line(left, 25 * mm, left + 70 * mm, 25 * mm)
    page.drawString(left, 20 * mm, "date, signature")
    page.showPage()
    page.save()


def _row(page: Any, left: float, y: float, name: str, value: str, font: str) -> float:
    """Write a line of two columns; return where the next one stands."""
    page.setFont(font, 9.5)
    page.drawString(left, y, name)
    page.drawString(left + 130, y, value if len(value) < 78 else value[:75] + "...")
    return y - 14


def _drawn(page: Any, done: "Done", x: float, y: float, size: float) -> None:
    matrix = list(_code(done).matrix_iter(border=2))
    cell = size / len(matrix)
    for i, row in enumerate(matrix):
        for j, dark in enumerate(row):
            if dark:
                page.rect(x + j * cell, y + size - (i + 1) * cell, cell, cell, stroke=0, fill=1)


def write(done: "Done", folder: Path) -> dict[str, Path]:
    """Write GATEWAY-label.svg and GATEWAY.pdf; return {"label", "record": file}."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"label": folder / f"{done.gateway}-label.svg", "record": folder / f"{done.gateway}.pdf"}
    files["label"].write_text(label(done), "utf-8")
    record(done, files["record"])
    return files


def closing(done: "Done", files: Mapping[str, Path]) -> list[str]:
    """Return how it went as lines, with the code for a telephone."""
    out = io.StringIO()
    _code(done).terminal(out, compact=True, border=2)
    shown = ["", *out.getvalue().splitlines(), *("  " + row for row in lines(done)), ""]
    shown.append(f"label {files['label']}, record {files['record']}")
    if done.failed:
        shown.append(f"{done.gateway} runs, but {len(done.failed)} of {len(done.tests)} tests failed: see above")
    else:
        shown.append(f"{done.gateway} runs")
    return shown


def picture(said: Sequence[str], command: str, file: Path) -> None:
    """Save what was said, after the command, as an SVG picture."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ " + command, "bold"))
    for row in said:
        console.print(Text(row, "red" if row.startswith("  FAIL") else "green" if row.startswith("  ok") else ""))
    console.save_svg(str(file), title="meshems provision")
