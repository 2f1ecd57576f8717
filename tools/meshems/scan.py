"""`meshems scan`: who is on a serial line, which profile is whose, and the configuration that reads them."""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from meshems import device, paths, profiles
from meshems.run import RunError

LOOK, BAD = 1, 2  # exit status
PIPE_WIDTH = 140
NOISY = 0.5  # garbled at more than this share of the addresses is the line's doing
PROGRAM = """
import asyncio, json
from gateway import scan, trial

def say(told):
    print(json.dumps(told))

async def main():
    echo = await trial.echoes(trial.line(UART))
    say({"echo": echo})
    await scan.scan(trial.line(UART, echo), PORTS, ADDRESSES, scan.profiles(NAMES), say)

asyncio.run(main())
"""

GONE = """
import json, os
def gone(path):
    try:
        for name in os.listdir(path):
            os.remove(path + "/" + name)
        os.rmdir(path)
    except OSError:
        pass
gone("apart/profiles")
gone("apart")
print(json.dumps([]))
"""
CLEAR = GONE + "os.mkdir('apart')\nos.mkdir('apart/profiles')\n"
THERE = """
import json
from gateway import data
there = []
for name in NAMES:
    try:
        data.open_data("profiles/%s.json" % name).close()
        there.append(name)
    except OSError:
        pass
print(json.dumps(there))
"""
UARTS = """
import json
from gateway import data
print(json.dumps([row["id"] for row in data.load("board.json")["uarts"]]))
"""
APART = "import sys\nsys.path.append('apart')\n"
SILENCE_S = 60.0  # of a board that asks one meter after the other

Told = dict[str, Any]


def addresses_of(text: str) -> list[int]:
    """Return the addresses of "1-32" or "1,5,7-9"; ValueError for what is none."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{part}: write addresses as in 1-32 or 1,5,7-9")
        span = range(int(first), int(last if dash else first) + 1)
        if not span or span[0] < 1 or span[-1] > 247:
            raise ValueError(f"{part}: addresses go from 1 to 247")
        found.extend(address for address in span if address not in found)
    return found


def setting_of(port: str) -> tuple[int, str]:
    """Return (baud, format) of "9600N1"; ValueError for what a bus of gateway.json cannot have."""
    baud, form = port[:-2], "8" + port[-2:]
    if not baud.isdigit() or int(baud) not in device.BAUDS or form not in device.FORMATS:
        formats = " ".join(form[1:] for form in device.FORMATS)
        raise ValueError(f"{port}: write a setting as in 9600N1: {' '.join(map(str, device.BAUDS))} with {formats}")
    return int(baud), form


def ports_of(made: Iterable[dict[str, Any]]) -> list[str]:
    """Return the settings that the profiles name, the most frequent first."""
    count = Counter(port for profile in made for port in profile["ser"] if "8" + port[-2:] in device.FORMATS)
    return sorted(count, key=lambda port: (-count[port], port))


def shown(port: str) -> str:
    """Return "9600N1" as "9600 8N1"."""
    return f"{port[:-2]} 8{port[-2:]}"


class Findings:
    """What a scan found: `meters`, and in `problems` what a person has to look at, each with a text."""

    def __init__(self, told: Iterable[Told], addresses: int):
        self.meters: list[dict[str, Any]] = []
        self.problems: list[dict[str, Any]] = []
        self._at: dict[tuple[int, int], dict[str, Any]] = {}  # (baud, address): the meter or unknown unit there
        garbled: dict[str, list[int]] = {}
        for one in told:
            if one["kind"] == "garbled":
                garbled.setdefault(one["port"], []).append(one["address"])
            elif one["kind"] == "two":
                self._problem("two", one, "two replies to one request: two meters have this address; give one another")
            elif one["kind"] == "there":
                self._there(one)
        for port, units in garbled.items():
            if len(units) > max(3, NOISY * addresses):
                self.problems.append({
                    "kind": "noise", "address": None, "setting": shown(port),
                    "text": f"{shown(port)}: only garbage comes back from {len(units)} addresses; look at A and B, "
                    "the termination and the common wire, and whether somebody else talks on this line",
                })  # fmt: skip
                continue
            for address in units:
                self._problem("garbled", {"port": port, "address": address},
                              "the reply is garbled each time: two meters with this address?")  # fmt: skip

    def _problem(self, kind: str, one: Told, text: str) -> None:
        where = f"address {one['address']} at {shown(one['port'])}"
        row = {"kind": kind, "address": one["address"], "setting": shown(one["port"]), "text": f"{where}: {text}"}
        if one.get("fits"):
            row["profiles"] = one["fits"]
        self.problems.append(row)

    def _there(self, one: Told) -> None:
        baud, form = setting_of(one["port"])
        before = self._at.setdefault((baud, one["address"]), one)
        if before is not one:
            self._problem("twice", one, f"somebody answers here and at {shown(before['port'])}: two meters, or one "
                          "that does not mind the parity; if two, give one another address")  # fmt: skip
            return
        if not one["fits"]:
            self._problem("unknown", one, "answers, and no profile fits: " + said(one["reads"])
                          + "; docs/adding-a-meter.md says how to add one")  # fmt: skip
            return
        if len(one["fits"]) > 1:
            self._problem("clash", one, f"may be {' or '.join(one['fits'])}: their probes fit equally well; "
                          f"{one['fits'][0]} is proposed, look at the type plate")  # fmt: skip
        self.meters.append({
            "address": one["address"], "baud": baud, "format": form, "profile": one["fits"][0],
            "candidates": one["fits"], "serial": None, "read": one["serial"],
        })  # fmt: skip

    def name(self) -> None:
        """Sort the meters by address and give each a serial: its own, or its profile's name and address; none twice."""
        self.meters.sort(key=lambda meter: (meter["address"], meter["baud"]))
        taken: set[str] = set()
        for meter in self.meters:
            own = re.sub(r"[^A-Za-z0-9._-]", "-", meter["read"] or "")[:32].strip("-")
            serial = base = own or f"{meter['profile'][:28]}-{meter['address']}"
            count = 1
            while serial in taken:
                count += 1
                serial = f"{base[:29]}-{count}"
            taken.add(serial)
            meter["serial"] = serial

    def config(self, echo: bool) -> dict[str, Any]:
        """Return a whole gateway.json that reads the meters as they are; the bus has the setting that most have."""
        count = Counter((meter["baud"], meter["format"]) for meter in self.meters)
        baud, form = count.most_common(1)[0][0] if count else (9600, "8N1")
        meters = []
        for meter in self.meters:
            row = {"serial": meter["serial"], "bus": 0, "address": meter["address"], "profile": meter["profile"]}
            if meter["read"]:
                row["device"] = meter["read"][:32]
            row |= {key: meter[key] for key, bus in (("baud", baud), ("format", form)) if meter[key] != bus}
            meters.append(row)
        bus = {"uart": 1, "baud": baud, "format": form} | ({"echo": True} if echo else {})
        return {
            "feederId": "feeder-01", "gatewayId": "gateway-01", "board": "desktop", "buses": [bus], "meters": meters,
            "uplinks": [],
        }  # fmt: skip


def said(reads: Sequence[Sequence[Any]]) -> str:
    """Return in words what a unit answered to the probes."""
    values = [f"function {function} register {register}: {value}"
              for function, register, _, _, kind, value in reads if kind == 0 and value is not None]  # fmt: skip
    return ", ".join(values) or f"none of the {len(reads)} registers that were asked for has a value"


def text_of(config: dict[str, Any]) -> str:
    """Return a configuration as JSON with a line for each bus and meter, as docs/config.md writes it."""
    rows = []
    for key, value in config.items():
        inner = ",\n    ".join(json.dumps(row) for row in value) if isinstance(value, list) else ""
        rows.append(f'  "{key}": ' + (f"[\n    {inner}\n  ]" if inner else json.dumps(value)))
    return "{\n" + ",\n".join(rows) + "\n}\n"


def listen(
    port: str, ports: list[str], addresses: list[int], names: list[str], said: Callable[[str], Iterator[Told]],
    uart: int = 1,
) -> list[Told]:  # fmt: skip
    """Return what the firmware's scan says, the last word on each address; shows how far it is on a terminal.

    `said(program)` runs it where the line is.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    program = PROGRAM.replace("PORTS", repr(ports)).replace("ADDRESSES", repr(addresses)).replace("NAMES", repr(names))
    program = program.replace("UART", str(uart))
    last: dict[tuple[str, int], Told] = {}
    echo: Told = {"echo": False, "kind": "echo"}
    columns = TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(port, total=len(ports) * len(addresses))
        for told in said(program):
            if "echo" in told:
                echo |= told
            elif "address" in told:
                last[told["port"], told["address"]] = told
                here = f"{shown(told['port'])} address {told['address']}"
                bar.update(task, completed=len(last), description=here)
    return [echo, *last.values()]


def bring(board: Any, made: Sequence[dict[str, Any]], files: Sequence[Path]) -> None:
    """Put the profiles that the board has not got into its folder `apart`, for the time of a scan."""
    from rich.console import Console
    from rich.progress import track

    board.ask(CLEAR)
    there = board.ask(THERE.replace("NAMES", repr([profile["id"] for profile in made])))
    missing = [(profile["id"], file) for profile, file in zip(made, files, strict=True) if profile["id"] not in there]
    quiet = not sys.stderr.isatty()
    for name, file in track(missing, "profiles", console=Console(stderr=True), disable=quiet, transient=True):
        text = json.dumps(json.loads(file.read_bytes()), separators=(",", ":"))
        board.write(f"apart/profiles/{name}.json", text.encode())


def into(site: Path, gateway: str, bus: dict[str, Any], uart: int, meters: list[dict[str, Any]]) -> list[str]:
    """Write the meters of one bus into a site; return the serials that were new. RunError when it cannot be."""
    from meshems.site import Site, SiteError, add_meters

    try:
        whole = Site.load(site)
        buses = whole.config(gateway)["buses"]
    except SiteError as error:
        raise RunError(str(error)) from None
    except KeyError:
        known = ", ".join(whole.names) or "none"
        raise RunError(f"{site}: found no gateway {gateway}, expected one of {known}; add it as [[gateways]]") from None
    place = next((i for i, row in enumerate(buses) if row["uart"] == uart), None)
    if place is None:
        raise RunError(f"{site}: found no bus on UART {uart}, expected one in `buses`; add {{uart = {uart}}}")
    rows = []
    for meter in meters:  # what the bus says need not be said again, and what it says otherwise does
        said = {"baud": bus["baud"], "format": bus["format"], **meter}
        usual = {"baud": buses[place].get("baud", 9600), "format": buses[place].get("format", "8N1")}
        row = {key: value for key, value in said.items() if usual.get(key) != value}
        rows.append({key: value for key, value in row.items() if key != "bus"} | ({"bus": place} if place else {}))
    return list(add_meters(site, gateway, rows))


def _parsed(parse: Any) -> Any:
    def callback(ctx: click.Context, option: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


def _settings(text: str) -> list[str]:
    ports = list(dict.fromkeys(text.split(",")))
    for port in ports:
        setting_of(port)
    return ports


@click.command()
@click.option("--port", required=True, metavar="PORT", help="A serial port, or the terminal of a simulated line.")
@click.option("--addresses", default="1-32", show_default=True, callback=_parsed(addresses_of), help="As in 1,5,7-9.")
@click.option("--settings", metavar="9600N1,...", callback=_parsed(_settings),
              help="Speed, parity, stop bits to try; else all that the profiles name.")  # fmt: skip
@click.option("--profile", "names", multiple=True, metavar="ID|FILE",
              help="Look for these alone; may be given again.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object: meters, problems, config.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="A gateway.json, made here.")
@click.option("--device", "on_board", is_flag=True, help="PORT is a board's: scan the line that hangs on its UART.")
@click.option("--uart", default=1, show_default=True, help="Which UART of the board.")
@click.option("--site", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
              help="Write the meters into this site.toml; its comments stay.")  # fmt: skip
@click.option("--gateway", metavar="ID", help="Whose meters they are there.")
def scan(
    port: str, addresses: list[int], settings: list[str] | None, names: Sequence[str], as_json: bool,
    output: Path | None, on_board: bool, uart: int, site: Path | None, gateway: str | None,
) -> None:  # fmt: skip
    """Who is on a serial line: asks every address at every setting, and knows the models by their probes.

    \b
    meshems scan --port /dev/ttyUSB0
    meshems scan --port /dev/ttyUSB0 --addresses 1-12 --settings 2400N1,9600N1 --output gateway.json
    meshems run --config gateway.json --state ./board --uart 1=/dev/ttyUSB0
    meshems scan --device --port /dev/ttyACM0 --site site.toml --gateway pole-07

    The firmware's own code asks, at the desk or with --device on the board. A setting takes 10 s for 32 addresses, and
    some 2 s for each meter that is there. Who keeps silent at a register that he has not, instead of saying so, is
    found with --profile.

    Exit status: 0 all that answered are known, 1 nobody answered, or something is to be looked at (a clash, an unknown
    meter, two meters on one address), 2 wrong usage. What is proposed runs as it stands in any case.
    """
    from meshems.cli import fail, needed

    if bool(site) != bool(gateway):
        raise click.UsageError("give --site FILE and --gateway ID together")
    new: list[str] = []
    try:
        files = [device.profile_file(name) for name in names] or sorted(paths.PROFILES.glob("*.json"))
        made = []
        for file in files:
            if profiles.problems(file.read_bytes()):
                fail(f"{file}: is no good profile; `meshems profile check {file}` says why", BAD)
            made.append(profiles.load(file))
        known = [profile for profile in made if profile.get("probe")]
        if names and len(known) < len(made):
            fail(f"{names[made.index(next(p for p in made if p not in known))]}: has no probe to be known by; "
                 "`meshems profile try` reads it at a given address", BAD)  # fmt: skip
        if output and output.exists():
            fail(f"{output}: is there already; name another file", BAD)
        ports = settings or ports_of(known)
        own = [file for file in files if file.parent.resolve() != paths.PROFILES.resolve()]
        ids = [profile["id"] for profile in known]
        if on_board:
            with needed("meshems.remote").Session(port) as board:
                there = board.ask(UARTS)
                if uart not in there:
                    raise RunError(f"{port}: found the UARTs {there} on this board, expected {uart}; give --uart")
                bring(board, made, files)
                told = listen(port, ports, addresses, ids, lambda program: board.said(APART + program, SILENCE_S), uart)
                board.ask(GONE)
        else:
            told = listen(port, ports, addresses, ids, lambda program: device.said(program, port, own))
        findings = Findings(told[1:], len(addresses))
        findings.name()
        config = findings.config(told[0]["echo"])
        if output:
            output.write_text(text_of(config))
        if site and findings.meters:
            new = into(site, str(gateway), config["buses"][0], uart, config["meters"])
    except RunError as error:
        fail(str(error), BAD, as_json)
    except OSError as error:
        fail(f"{error.filename or port}: {error.strerror or error}", BAD, as_json)
    if as_json:
        meters = [{key: value for key, value in meter.items() if key != "read"} for meter in findings.meters]
        found = {"port": port, "settings": [shown(port) for port in ports], "meters": meters,
                 "problems": findings.problems, "config": config}  # fmt: skip
        click.echo(json.dumps(found | ({"site": str(site), "new": new} if site else {})))
    else:
        _show(port, findings, config, output or site, {profile["id"]: profile["n"] for profile in made})
        if site and findings.meters:
            click.echo(f"{site}: {len(new)} new meters of {gateway}{': ' if new else ''}{', '.join(new)}")
    sys.exit(LOOK if findings.problems or not findings.meters else 0)


def _show(
    port: str, findings: Findings, config: dict[str, Any], output: Path | None, models: dict[str, str]
) -> None:  # fmt: skip
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if findings.meters:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("address", "setting", "profile", "model", "serial", ""):
            table.add_column(name, justify="right" if name == "address" else "left", no_wrap=name != "model")
        for meter in findings.meters:
            others = ", ".join(meter["candidates"][1:])
            table.add_row(
                str(meter["address"]), f"{meter['baud']} {meter['format']}", meter["profile"],
                models[meter["profile"]], meter["serial"] if meter["read"] else f"({meter['serial']})",
                f"or {others}" if others else "",
            )  # fmt: skip
        Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)
    for problem in findings.problems:
        click.echo(problem["text"])
    if not findings.meters and not findings.problems:
        click.echo(f"{port}: nobody answers; look at A and B, at the meters' supply and at their settings")
    if findings.meters and not all(meter["read"] for meter in findings.meters):
        click.echo("Serials in brackets are made up: write those of the type plates instead.")
    if findings.meters and output and output.suffix == ".json":
        click.echo(f"{output}: written; `meshems run --config {output} --state ./board --uart 1={port}` runs it")
    elif findings.meters and not output:
        click.echo("\ngateway.json:\n" + text_of(config), nl=False)
