"""What boards there are, and whether a board.json keeps the rules of its chip. Its keys: docs/boards.md.

    board = boards.load("nesl-865b")            # checked; BoardError says what is wrong
    boards.problems(board, "nesl-865b")         # [(path, found, allowed)]
    boards.layout(board)                        # the partitions, in the order of their offsets

Sources of the rules: data sheets of ESP32 (v4.7, sections 2.2 and 2.4) and ESP32-S3 (v1.9, sections 2.2, 2.3, 3), and
of the two modules; what MicroPython makes of them: its ports/esp32.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from meshems import paths

Board = dict[str, Any]
Problem = tuple[str, str, str]  # path of the key, found, allowed

BLOCK = 4096
FIRST = 0x10000  # where the program begins; before it: bootloader, partition table, NVS, calibration of the radio
JOURNAL_BLOCKS = 12  # the fewest that a journal takes, docs/journal.md
APP, DATA = 0, 1  # types of partitions, and their subtypes below
FACTORY, NVS, PHY, FAT, UNDEFINED = 0x00, 0x02, 0x01, 0x81, 0x06
KEPT = ("nvs", "phy_init", "journal", "archive")  # what an update leaves alone
DESK_ONLY = (
    "title", "chip", "module", "flashMb", "psram", "psramMb", "flash", "antenna", "inferred", "straps", "other",
)  # fmt: skip


class BoardError(Exception):
    """Why there is no such board, or what is wrong with it, and what to do."""


@dataclass(frozen=True)
class Chip:
    """What a chip is like: GPIO numbers, by what else they are for."""

    pins: frozenset[int]
    flash: frozenset[int]
    psram: Mapping[str, frozenset[int]]
    straps: frozenset[int]
    console: frozenset[int]
    usb: Mapping[int, str]
    inputs: frozenset[int]  # without a driver for output
    adc: frozenset[int]  # of ADC1: Wi-Fi needs ADC2 for itself
    number: int  # in the header of an image
    bootloader: int  # its offset in flash
    mmc: frozenset[int] = field(default_factory=frozenset)  # the only pins of an SD card that is not on SPI


def _pins(*parts: int | range) -> frozenset[int]:
    return frozenset(pin for part in parts for pin in ([part] if isinstance(part, int) else part))


_S3 = Chip(
    pins=_pins(range(22), range(26, 49)), flash=_pins(range(27, 33)),
    psram={"none": _pins(), "quad": _pins(26), "octal": _pins(26, range(33, 38))},
    straps=_pins(0, 3, 45, 46), console=_pins(43, 44), usb={19: "D-", 20: "D+"}, inputs=_pins(),
    adc=_pins(range(1, 11)), number=9, bootloader=0,
)  # fmt: skip
CHIPS = {
    "esp32": Chip(
        pins=_pins(range(20), 21, 22, 23, 25, 26, 27, range(32, 40)), flash=_pins(range(6, 12)),
        psram={"none": _pins(), "quad": _pins(16, 17)}, straps=_pins(0, 2, 5, 12, 15), console=_pins(1, 3), usb={},
        inputs=_pins(range(34, 40)), adc=_pins(range(32, 40)), number=0, bootloader=0x1000,
        mmc=_pins(2, 4, 12, 13, 14, 15),
    ),
    "esp32s3": _S3,
    "desktop": _S3,
}  # fmt: skip


class Use(NamedTuple):
    """A pin and what it is used for; uses with the same `net` are one wire. `way`: out, in, both, adc or spare."""

    path: str
    pin: int
    net: str
    way: str


class Partition(NamedTuple):
    """A row of the partition table."""

    name: str
    type: int
    subtype: int
    offset: int
    size: int


def names() -> list[str]:
    """Return the names of all boards."""
    return sorted(file.parent.name for file in paths.BOARDS.glob("*/board.json"))


def read(name: str) -> Board:
    """Return the board.json of the board `name`, unchecked; BoardError when there is none or it is no JSON."""
    if name not in names():
        raise BoardError(f"{name}: no such board; there are {', '.join(names())}")
    file = paths.BOARDS / name / "board.json"
    try:
        board = json.loads(file.read_bytes())
    except ValueError as error:
        raise BoardError(f"{file}: found {error}, expected JSON; correct it") from None
    assert isinstance(board, dict), file
    return board


def load(name: str) -> Board:
    """Return the board `name`, known to be good; BoardError when there is none or it is not."""
    board = read(name)
    found = problems(board, name)
    if found:
        path, value, allowed = found[0]
        raise BoardError(f"boards/{name}/board.json: {path}: found {value}, allowed {allowed}; correct it")
    return board


def problems(board: Board, stem: str | None = None) -> list[Problem]:
    """Return what is wrong with a board, [] when nothing is; `stem` is the name of its folder."""
    paths.share_firmware()
    from lib import schema

    rules = schema.verify(json.loads((paths.SCHEMAS / "board.json").read_bytes()))
    found: list[Problem] = schema.problems(rules, board)
    if found:
        return found
    if stem is not None and board["name"] != stem:
        found.append(("name", json.dumps(board["name"]), f"the name of its folder, {stem}"))
    for part in (_shapes, _memory, _each_pin, _shared, _buses, _told):
        found += part(board)
    return found


def uses(board: Board) -> Iterator[Use]:
    """Yield every use of a pin."""
    for n, uart in enumerate(board["uarts"]):
        for key, way in (("tx", "out"), ("rx", "in"), ("de", "out")):
            if key in uart:
                yield Use(f"uarts[{n}].{key}", uart[key], f"{uart['name']} {key.upper()}", way)
    for n, relay in enumerate(board.get("relays", ())):
        if "pin" in relay:
            yield Use(f"relays[{n}].pin", relay["pin"], relay["name"], "out")
    for part, key, net, way in _PARTS:
        if key in board.get(part, ()):
            pins = board[part][key]
            for n, pin in enumerate(pins if isinstance(pins, list) else [pins]):
                path = f"{part}.{key}" + (f"[{n}]" if isinstance(pins, list) else "")
                spi = key in _SPI and board[part].get("kind") != "mmc"
                yield Use(path, pin, f"SPI {key.upper()}" if spi else net.format(n), way)
    for n, row in enumerate(board.get("other", ())):
        yield Use(f"other[{n}].pin", row["pin"], row["net"], row["way"])


_SPI = ("sck", "mosi", "miso")
_PARTS = (
    ("i2c", "sda", "I2C SDA", "both"), ("i2c", "scl", "I2C SCL", "both"), ("rtc", "int", "RTC INT", "in"),
    ("ethernet", "sck", "", "out"), ("ethernet", "mosi", "", "out"), ("ethernet", "miso", "", "in"),
    ("ethernet", "cs", "ETH CS", "out"), ("ethernet", "int", "ETH INT", "in"), ("ethernet", "reset", "ETH RST", "out"),
    ("sd", "sck", "SD CLK", "out"), ("sd", "cmd", "SD CMD", "both"), ("sd", "data", "SD D{}", "both"),
    ("sd", "mosi", "", "out"), ("sd", "miso", "", "in"), ("sd", "cs", "SD CS", "out"),
    ("oled", "sck", "", "out"), ("oled", "mosi", "", "out"), ("oled", "cs", "OLED CS", "out"),
    ("oled", "dc", "OLED DC", "out"), ("oled", "reset", "OLED RST", "out"),
    ("gps", "rx", "GPS RX", "in"), ("gps", "tx", "GPS TX", "out"), ("led", "pin", "LED", "out"),
    ("button", "pin", "BUTTON", "in"), ("ladder", "pin", "BUTTONS", "adc"), ("door", "pin", "DOOR", "in"),
    ("powerFail", "pin", "PFAIL", "in"),
)  # fmt: skip


def _shapes(board: Board) -> Iterator[Problem]:
    """What a schema cannot say: which keys go together."""
    kinds = {
        ("sd", "kind"): {"mmc": ("sck", "cmd", "data"), "spi": ("sck", "mosi", "miso", "cs")},
        ("oled", "bus"): {"i2c": ("at",), "spi": ("spi", "sck", "mosi", "cs", "dc", "reset")},
    }
    rows = [(part, board[part], key, kinds[part, key]) for part, key in kinds if part in board]
    by_kind = {"gpio": ("pin",), "pcf8574": ("at", "bits")}
    rows += [(f"relays[{n}]", row, "kind", by_kind) for n, row in enumerate(board.get("relays", ()))]
    rows += [(f"uarts[{n}]", row, "direction", {"auto": (), "de": ("de",)}) for n, row in enumerate(board["uarts"])]
    for path, row, key, allowed in rows:
        wanted = allowed[row[key]]
        for name in sorted(set().union(*allowed.values())):
            if name in wanted and name not in row:
                yield f"{path}.{name}", "nothing", f"needed where {key} is {row[key]}"
            if name not in wanted and name in row:
                yield f"{path}.{name}", json.dumps(row[name]), f"not where {key} is {row[key]}"
    for n, row in enumerate(board.get("relays", ())):
        for m, address in enumerate(row.get("at", ())):
            if 40 <= address <= 55:
                yield f"relays[{n}].at[{m}]", str(address), "32..39, a PCF8574, or 56..63, a PCF8574A"
        if len(set(row.get("bits", ()))) < len(row.get("bits", ())):
            yield f"relays[{n}].bits", "a bit twice", "each bit once"
    ids = [uart["id"] for uart in board["uarts"]]
    for n, number in enumerate(ids):
        if number == 0:
            yield f"uarts[{n}].id", "0", "1 or 2: UART 0 is the console (REPL)"
        if number in ids[:n]:
            yield f"uarts[{n}].id", str(number), f"another than that of uarts[{ids.index(number)}]"
    if board.get("gps", {}).get("uart") in ids:
        yield "gps.uart", str(board["gps"]["uart"]), "one that no row of uarts has"
    if "psramMb" in board and board["psram"] == "none" or "psramMb" not in board and board["psram"] != "none":
        yield "psramMb", json.dumps(board.get("psramMb")), "a size where psram is not none, and only there"
    for n, row in enumerate(board.get("inferred", ())):
        if row["what"] not in board:
            yield f"inferred[{n}].what", json.dumps(row["what"]), "a key of this file"


def _memory(board: Board) -> Iterator[Problem]:
    chip = CHIPS[board["chip"]]
    if board["psram"] not in chip.psram:
        yield "psram", json.dumps(board["psram"]), ", ".join(chip.psram)
    if board["chip"] == "desktop":
        return
    if board["psram"] == "none" and board.get("tlsConnections") != 1:
        yield "tlsConnections", json.dumps(board.get("tlsConnections")), "1 without PSRAM: no memory for a second"
    for name in ("factory", "vfs"):
        if name not in board["flash"]:
            yield f"flash.{name}", "nothing", "a size in bytes"
            return
    for name, size in board["flash"].items():
        if size % BLOCK:
            yield f"flash.{name}", str(size), f"a multiple of {BLOCK}"
    if board["flash"]["factory"] % FIRST:
        yield "flash.factory", str(board["flash"]["factory"]), f"a multiple of {FIRST}: the MMU maps pages of it"
    end = layout(board)[-1]
    if end.offset + end.size > board["flashMb"] << 20:
        yield "flash", f"{end.offset + end.size} bytes up to the end", f"at most {board['flashMb'] << 20}, flashMb"
    for name in ("journal", "archive"):
        if board["flash"].get(name, JOURNAL_BLOCKS * BLOCK) < JOURNAL_BLOCKS * BLOCK:
            yield f"flash.{name}", str(board["flash"][name]), f"at least {JOURNAL_BLOCKS} blocks of {BLOCK}"


def _each_pin(board: Board) -> Iterator[Problem]:
    """What one pin may be used for."""
    chip = CHIPS[board["chip"]]
    strapped = {row["pin"] for row in board.get("straps", ())}
    lacks = {row["what"] for row in board["cannot"]}
    used = list(uses(board))
    for path, pin, _, way in used:
        found = f"GPIO{pin}"
        if pin not in chip.pins:
            yield path, found, f"a pin that an {board['chip']} has"
        elif pin in chip.flash:
            yield path, found, "another: the flash is at this pin"
        elif pin in chip.psram.get(board["psram"], ()):
            yield path, found, f"another: the {board['psram']} PSRAM is at this pin"
        elif pin in chip.console:
            yield path, found, "another: UART 0 is at this pin, the console (REPL)"
        elif pin in chip.inputs and way in ("out", "both"):
            yield path, found, "a pin that can be an output"
        elif way == "adc" and pin not in chip.adc:
            yield path, found, f"a pin of ADC1, {_ranges(chip.adc)}: Wi-Fi has ADC2 for itself"
        if pin in chip.straps and pin not in strapped:
            yield path, found, "another, or a row of straps that says why it does no harm: a strapping pin"
        if pin in chip.straps and path.startswith("relays"):
            yield path, found, "another: what a strapping pin does during a reset must not switch a load"
        if pin in chip.usb and "usb" not in lacks:
            yield path, found, f'another, or "usb" in cannot: it is USB {chip.usb[pin]}'
    for n, row in enumerate(board.get("straps", ())):
        if row["pin"] not in chip.straps or row["pin"] not in [use.pin for use in used]:
            yield f"straps[{n}].pin", f"GPIO{row['pin']}", f"a strapping pin that is in use, of {_ranges(chip.straps)}"


def _ranges(pins: Collection[int]) -> str:
    ordered = sorted(pins)
    return f"{ordered[0]}..{ordered[-1]}" if len(ordered) > 4 else ", ".join(map(str, ordered))


def _shared(board: Board) -> Iterator[Problem]:
    """A pin has one net, and a net one pin."""
    nets: dict[int, Use] = {}
    pins: dict[str, Use] = {}
    for use in uses(board):
        first = nets.setdefault(use.pin, use)
        if first.net != use.net:
            yield use.path, f"GPIO{use.pin}", f"another: {first.path} has this pin"
        first = pins.setdefault(use.net, use)
        if first.pin != use.pin:
            yield use.path, f"GPIO{use.pin}", f"GPIO{first.pin}, as {first.path}, or another name: both are {use.net}"


def _buses(board: Board) -> Iterator[Problem]:
    """What parts need of the buses, and of MicroPython."""
    sd, ethernet = board.get("sd", {}), board.get("ethernet", {})
    if "i2c" not in board:
        for path in [part for part in ("rtc",) if part in board]:
            yield path, "a part on I2C", "a board with i2c"
        for n, relay in enumerate(board.get("relays", ())):
            if relay["kind"] == "pcf8574":
                yield f"relays[{n}]", "a part on I2C", "a board with i2c"
        if board.get("oled", {}).get("bus") == "i2c":
            yield "oled", "a part on I2C", "a board with i2c"
    if sd.get("kind") == "mmc" and sd["slot"] > 1 or sd.get("kind") == "spi" and sd["slot"] < 2:
        yield "sd.slot", str(sd["slot"]), "0 or 1 with mmc, 2 or 3 with spi"
    chip = CHIPS[board["chip"]]
    if sd.get("kind") == "mmc" and chip.mmc:
        for use in uses(board):
            if use.path.startswith("sd.") and use.pin not in chip.mmc:
                those = ", ".join(map(str, sorted(chip.mmc)))
                yield use.path, f"GPIO{use.pin}", f"one of {those}: the chip has no others"
    lacks = {row["what"] for row in board["cannot"]}
    if "int" in ethernet and sd.get("kind") == "spi" and sd["sck"] == ethernet["sck"] and "sd" not in lacks:
        yield "sd.sck", f"GPIO{sd['sck']}", (
            'pins of its own, or "sd" in cannot: the driver of the W5500 uses the bus at any time, '
            "and MicroPython does not lock it"
        )  # fmt: skip


def _told(board: Board) -> Iterator[Problem]:
    """What the board cannot do has to be said in `cannot`, and nothing else."""
    if board["chip"] == "desktop":
        return
    chip = CHIPS[board["chip"]]
    lacks = {row["what"] for row in board["cannot"]}
    facts = {
        "rtc": ("rtc" not in board, "it has no clock with a battery"),
        "ethernet": ("int" not in board.get("ethernet", {"int": 0}), "MicroPython runs no W5500 without its INT"),
        "usb": (any(use.pin in chip.usb for use in uses(board)), "pins of the USB port are in use"),
        "gps": ("uart" not in board.get("gps", {"uart": 0}), "its GPS has no UART"),
        "journal": ("journal" not in board["flash"], "it has no partition for the journal"),
    }
    for what, (is_so, why) in facts.items():
        if is_so and what not in lacks:
            yield "cannot", "nothing", f'a row with "{what}": {why}'
        if not is_so and what in lacks:
            yield "cannot", json.dumps(what), "only what is so"


def layout(board: Board) -> list[Partition]:
    """Return the partitions of a board in the order of their offsets; [] for the desktop."""
    if board["chip"] == "desktop":
        return []
    table = [Partition("nvs", DATA, NVS, 0x9000, 0x6000), Partition("phy_init", DATA, PHY, 0xF000, 0x1000)]
    raw = DATA, UNDEFINED
    kinds = {"factory": (APP, FACTORY), "vfs": (DATA, FAT), "journal": raw, "archive": raw}
    for name, kind in kinds.items():
        if name in board["flash"]:
            last = table[-1]
            table.append(Partition(name, *kind, last.offset + last.size, board["flash"][name]))
    return table


def for_device(board: Board) -> Board:
    """Return what the firmware reads of a board: what only people and the desk need costs its heap."""
    kept = {key: value for key, value in board.items() if key not in DESK_ONLY and value}
    kept["uarts"] = [{key: row[key] for key in ("id", "tx", "rx", "de") if key in row} for row in board["uarts"]]
    return kept


def wiring(board: Board) -> str:
    """Return a table of all pins in use, in Markdown."""
    why = {row["pin"]: f"strapping pin: {row['why']}" for row in board.get("straps", ())}
    guessed = {row["what"]: "inferred, see below" for row in board.get("inferred", ())}
    usb = CHIPS[board["chip"]].usb
    rows: dict[tuple[int, str], list[str]] = {}
    for use in uses(board):
        part = use.path.split(".")[0].split("[")[0]
        notes = [why.get(use.pin, ""), guessed.get(part, ""), f"USB {usb[use.pin]}" if use.pin in usb else ""]
        seen = rows.setdefault((use.pin, use.net), [use.way])
        seen += [note for note in notes if note and note not in seen]
    words = {"out": "out", "in": "in", "both": "both", "adc": "analog in", "spare": "spare"}
    lines = ["| GPIO | signal | direction | note |", "| --: | --- | --- | --- |"]
    for (pin, net), (way, *notes) in sorted(rows.items()):
        lines.append(f"| {pin} | {net} | {words[way]} | {'; '.join(notes)} |")
    return "\n".join(lines)


def drawing(board: Board) -> str:
    """Return a drawing of the module with what is at its pins, in letters."""
    arrows = {
        "out": ("<--", "-->"), "in": ("-->", "<--"), "both": ("<->", "<->"), "adc": ("~~>", "<~~"),
        "spare": (" o-", "-o "),
    }  # fmt: skip
    wires = list(dict.fromkeys((use.pin, use.net, use.way) for use in uses(board)))
    half = (len(wires) + 1) // 2
    left, right = wires[:half], wires[half:]
    wide = max(len(net) for _, net, _ in left)
    inside = max(len(board["module"]) + 2, 14)
    margin = " " * (wide + 5)
    edge = f"{margin}+{'-' * inside}+"
    lines = [edge, f"{margin}|{board['module'].center(inside)}|", f"{margin}|{' ' * inside}|"]
    for n, (pin, net, way) in enumerate(left):
        body, tail = f" {pin}".ljust(inside), ""
        if n < len(right):
            other, name, direction = right[n]
            body = body[: inside - 4] + f"{other:>3} "
            tail = f"{arrows[direction][1]} {name}"
        lines.append(f"{net:>{wide}} {arrows[way][0]} |{body}|{tail and ' '}{tail}")
    return "\n".join([*lines, edge])


def page(board: Board) -> str:
    """Return what a board's README has between its marks: drawing, wiring and what it cannot do, in Markdown."""
    parts = ["```\n" + drawing(board) + "\n```", wiring(board)]
    banks = [row for row in board.get("relays", ()) if row["kind"] == "pcf8574"]
    for row in banks:
        at = " or ".join(f"0x{address:02X}" for address in row["at"])
        active = "low" if row.get("activeLow") else "high"
        parts.append(
            f"`{row['name']}`: {len(row['bits'])} relays at a PCF8574 on I2C, address {at}, active {active}; the first "
            f"is bit {row['bits'][0]}, the last bit {row['bits'][-1]}."
        )
    parts.append(f"Antenna: {board['antenna']}")
    if board.get("inferred"):
        guesses = [f"* `{row['what']}`: {row['why']}" for row in board["inferred"]]
        parts.append("Inferred, not known:\n\n" + "\n".join(guesses))
    if board["cannot"]:
        parts.append(
            "What this board cannot do, and says at each start:\n\n"
            + "\n".join(f"* **{row['what']}**: {row['why']}" for row in board["cannot"])
        )
    if layout(board):
        rows = [f"| {part.name} | 0x{part.offset:06X} | {part.size // 1024} KB |" for part in layout(board)]
        end = layout(board)[-1]
        left = (board["flashMb"] << 20) - end.offset - end.size
        rows.append(f"| (free) | 0x{end.offset + end.size:06X} | {left // 1024} KB |")
        parts.append("\n".join(["| partition | offset | size |", "| --- | --- | --: |", *rows]))
    return "\n\n".join(parts) + "\n"


MARKS = "<!-- from board.json: meshems board show NAME --markdown -->", "<!-- end -->"


def readme(name: str) -> Path:
    """Return where the README of a board is."""
    return paths.BOARDS / name / "README.md"


def marked(text: str, board: Board) -> str:
    """Return the text of a README with what `page` says put between its marks; BoardError when it has none."""
    start, end = (mark.replace("NAME", board["name"]) for mark in MARKS)
    if start not in text or end not in text.split(start, 1)[1]:
        raise BoardError(f"{readme(board['name'])}: found no marks, expected the lines {start} and {end}; add them")
    before, rest = text.split(start, 1)
    return before + start + "\n\n" + page(board) + "\n" + end + rest.split(end, 1)[1]
