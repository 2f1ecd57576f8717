"""`meshems site`: begin a site's file, check it, make its secrets."""

import importlib.util
import json
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from meshems import boards, device
from meshems.site import Problem, Site, SiteError, replace, secrets_file

BAD = 2  # exit status
PASSWORD_BYTES = 18  # 24 characters: more than anybody guesses
SECRET_BYTES = 32  # of the mesh
TLS, PLAIN = 8883, 1883  # the ports that a gateway takes by itself

FILE = click.argument("file", default="site.toml", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")


@click.group()
def site() -> None:
    """A whole site in one file, site.toml: its gateways, their meters, the operator's broker, the mesh.

    \b
    meshems site new site.toml                     asks the questions
    meshems site keys site.toml                    makes the secrets beside it
    meshems site check site.toml                   what is wrong, and in which line
    meshems demo --site site.toml                  runs it at the desk
    meshems provision --site site.toml --gateway pole-07 --port /dev/ttyUSB0
    """


def loaded(file: Path, as_json: bool = False) -> Site:
    """Return the site of `file`; ends the command with one line when it cannot be read."""
    if importlib.util.find_spec("tomlkit") is None:
        _fail("tomlkit: found none, expected it beside meshems; `make device` installs it", as_json)
    try:
        return Site.load(file)
    except SiteError as error:
        _refuse(file, [error.problem], as_json)
    except OSError as error:
        _fail(f"{error.filename or file}: found {(error.strerror or str(error)).lower()}, expected a site's file; "
              f"`meshems site new {file}` begins one", as_json)  # fmt: skip
    raise AssertionError


def good(file: Path, as_json: bool = False, keys_made: bool = True) -> Site:
    """Return the site of `file`; ends the command with every problem when it has one. `keys_made` as Site.problems."""
    found = loaded(file, as_json)
    problems = found.problems(keys_made)
    if problems:
        _refuse(file, problems, as_json)
    return found


def _refuse(file: Path, problems: list[Problem], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"file": str(file), "ok": False, "problems": [_row(problem) for problem in problems]}))
        sys.exit(BAD)
    for problem in problems:
        click.echo(str(problem), err=True)
    count = len(problems)
    _fail(f"{file} is refused: {count} problem{'s' if count > 1 else ''}; correct them and run this again", False)


def _unwritten(error: OSError, file: Path, as_json: bool) -> None:
    reason = (error.strerror or str(error)).lower()
    _fail(f"{error.filename or file}: found {reason}, expected a file that can be written; look at its folder", as_json)


def _fail(text: str, as_json: bool) -> None:
    from meshems.cli import fail

    if as_json:
        click.echo(json.dumps({"ok": False, "error": text}))
        sys.exit(BAD)
    fail(text, BAD)


def _row(problem: Problem) -> dict[str, Any]:
    return {**problem._asdict(), "file": str(problem.file)}


@site.command()
@FILE
@JSON
def check(file: Path, as_json: bool) -> None:
    """Whether every gateway of a site would start: judged by the firmware's own validator.

    \b
    meshems site check site.toml
    site.toml:14: gateways[0].meters[2].address: found 0, allowed integer 1..247

    Exit status: 0 good, 2 refused.
    """
    found = good(file, as_json)
    rows = []
    for name in found.names:
        config = found.config(name)
        rows.append({
            "gatewayId": name, "board": config["board"], "meters": len(config["meters"]),
            "uplinks": [uplink["name"] for uplink in config["uplinks"]], "mesh": config.get("mesh", {}).get("id"),
        })  # fmt: skip
    notes = found.notes()
    if as_json:
        click.echo(json.dumps({"file": str(file), "ok": True, "problems": [], "notes": notes, "gateways": rows}))
        return
    for note in notes:
        click.echo(f"note: {note}")
    meters = sum(row["meters"] for row in rows)
    click.echo(f"{file}: good: {len(rows)} gateways, {meters} meters")


@site.command()
@FILE
@click.option("--wifi-password", "ask", is_flag=True, help="Ask for the Wi-Fi's password; it is not shown.")
@JSON
def keys(file: Path, ask: bool, as_json: bool) -> None:
    """Make the secrets that a site still lacks: the mesh's, and a password for each gateway at each broker with TLS.

    \b
    meshems site keys site.toml
    meshems site keys site.toml --wifi-password
    wrote site.secrets.toml: mesh.secret, 12 passwords

    They go to site.secrets.toml beside it, which only you may read and git is told to leave alone; none is shown. What
    stands there is kept. The operator needs the gateways' names and passwords for the broker. Over a connection without
    TLS anybody could read a password: there none is made.
    """
    found = good(file, as_json, keys_made=False)
    hidden = secrets_file(file)
    try:
        _ignore(hidden)
        made, kept = _make(found, hidden, _wifi_password() if ask else "")
    except OSError as error:
        _unwritten(error, hidden, as_json)
    if as_json:
        click.echo(json.dumps({"file": str(hidden), "ok": True, "made": made, "kept": kept}))
        return
    passwords = sum(path.endswith(".password") for path in made)
    others = [path for path in made if not path.endswith(".password")]
    words = others + ([f"{passwords} password{'s' if passwords > 1 else ''}"] if passwords else [])
    click.echo(f"{hidden}: made {', '.join(words)}" if words else f"{hidden}: nothing was missing")
    for note in Site.load(file).notes():
        click.echo(f"note: {note}")


def _wifi_password() -> str:
    def long_enough(value: str) -> str:
        if not 8 <= len(value) <= 64:
            raise click.BadParameter("found another length, expected 8 to 64 characters")
        return value

    password = click.prompt("Wi-Fi password", hide_input=True, err=True, value_proc=long_enough)
    assert isinstance(password, str)
    return password


def _make(found: Site, hidden: Path, password: str) -> tuple[list[str], list[str]]:
    """Put what is missing into the secrets' file; return the paths of what was made, and of what was there."""
    from tomlkit import comment, document, nl, parse

    if hidden.exists():
        text = parse(hidden.read_text("utf-8"))
    else:
        text = document()
        text.add(comment(f"The secrets of {found.file.name}, made by `meshems site keys`: never into git, never sent."))
        text.add(nl())
    made: list[str] = []
    kept: list[str] = []
    if _at(text, "mesh", "secret"):
        kept.append("mesh.secret")
    elif "mesh" in found.values:
        _table(text, "mesh")["secret"] = secrets.token_hex(SECRET_BYTES)
        made.append("mesh.secret")
    if password:
        _table(text, "network", "wifi")["password"] = password
        made.append("network.wifi.password")
    for name in found.names:
        for uplink in found.config(name)["uplinks"]:
            outlet = uplink["name"]
            if _at(text, "uplinks", outlet) or _at(text, "gateways", name, "uplinks", outlet):
                kept.append(f"gateways.{name}.uplinks.{outlet}.password")
            elif "tls" in uplink:
                row = _table(text, "gateways", name, "uplinks", outlet)
                row["username"], row["password"] = name, secrets.token_urlsafe(PASSWORD_BYTES)
                made.append(f"gateways.{name}.uplinks.{outlet}.password")
    if made or not hidden.exists():
        replace(hidden, text.as_string(), 0o600)
    return made, kept


def _at(text: Any, *parts: str) -> Any:
    for part in parts:
        text = text.get(part) if hasattr(text, "get") else None
    return text


def _table(text: Any, *parts: str) -> Any:
    """Return the table at `parts`, made where it is missing; only the last one shows as a header."""
    from tomlkit import table

    for i, part in enumerate(parts):
        if part not in text:
            text[part] = table(is_super_table=i < len(parts) - 1)
        text = text[part]
    return text


def _ignore(hidden: Path) -> None:
    """Let git leave the secrets alone: their name stands in the .gitignore of their folder."""
    file = hidden.with_name(".gitignore")
    lines = file.read_text().splitlines() if file.exists() else []
    if hidden.name not in lines and "*.secrets.toml" not in lines:
        replace(file, "\n".join([*lines, hidden.name]) + "\n")


@site.command()
@FILE
@click.option("--feeder", metavar="ID", help="The feeder that they stand on.")
@click.option("--gateways", type=click.IntRange(1, 999), help="How many.")
@click.option("--name", "prefix", metavar="PREFIX", help="They are called PREFIX01, PREFIX02, ...")
@click.option("--board", metavar="NAME", help="The folder of boards/ that all of them are.")
@click.option("--baud", type=click.Choice([str(baud) for baud in device.BAUDS]), help="Of the meters' lines.")
@click.option("--broker", metavar="HOST[:PORT]", help="The operator's.")
@click.option("--ca", metavar="FILE", help="The broker's authority, a certificate in DER; \"\": no TLS.")
@click.option("--wifi", metavar="SSID", help='The Wi-Fi to join; "": none.')
@click.option("--mesh/--no-mesh", default=None, help="Only the first gateway reaches the broker.")
@click.option("--yes", is_flag=True, help="Ask nothing: what is not given has its default.")
@JSON
def new(file: Path, yes: bool, as_json: bool, **given: Any) -> None:
    """Begin a site's file: asks what is not given.

    \b
    meshems site new site.toml
    meshems site new site.toml --yes --feeder feeder-01 --gateways 12 --board nesl-865b --broker mqtt.example.org
    """
    if file.exists():
        _fail(f"{file}: found a file, expected none: it is not written over; name another, or edit it", as_json)

    def ask(key: str, text: str, default: Any, kind: Any = str) -> Any:
        if given[key] is not None or yes:
            return default if given[key] is None else given[key]
        try:
            return click.prompt(text, default=default, type=kind, err=True)
        except click.Abort:
            _fail(f"{text}: found no answer, expected one, or --yes for what is not given", as_json)

    answers = {
        "feeder": ask("feeder", "Feeder that the gateways stand on", "feeder-01"),
        "gateways": ask("gateways", "How many gateways", 1, click.IntRange(1, 999)),
        "prefix": ask("prefix", "They are called (01, 02, ... is added)", "pole-"),
        "board": ask("board", f"Board ({', '.join(boards.names())})", "desktop"),
        "baud": int(ask("baud", "Baud of the meters' lines", "9600", click.Choice([str(one) for one in device.BAUDS]))),
        "broker": ask("broker", "The operator's broker, HOST or HOST:PORT", "broker.example.org"),
        "ca": ask("ca", "The broker's authority, a certificate in DER beside the file (empty: no TLS)", ""),
        "wifi": ask("wifi", "Wi-Fi to join (empty: none)", ""),
        "mesh": ask("mesh", "A mesh: only the first gateway reaches the broker", False, click.BOOL),
    }
    try:
        replace(file, text_of(answers))
        found = Site.load(file)
    except OSError as error:
        _unwritten(error, file, as_json)
    problems = found.problems(keys_made=False)
    todo = [f"meshems site keys {file}", f"meshems site check {file}", f"meshems demo --site {file} --seconds 60"]
    if as_json:
        rows = [_row(problem) for problem in problems]
        told = {"file": str(file), "ok": not rows, "problems": rows, "gateways": found.names, "next": todo}
        click.echo(json.dumps(told))
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        click.echo(f"{file}: {len(found.names)} gateways without meters: write them in, or let `meshems scan` do it")
        click.echo("next: " + "; ".join(f"`{command}`" for command in todo))
    sys.exit(BAD if problems else 0)


def text_of(answers: dict[str, Any]) -> str:
    """Return the TOML text of a new site: feeder, gateways, prefix, board, baud, broker, ca, wifi, mesh."""
    host, colon, port = str(answers["broker"]).rpartition(":")
    host, port = (host, port) if colon and port.isdigit() else (str(answers["broker"]), "")
    lines = [
        "# What stands up here holds for each gateway; what stands under [[gateways]] is its own: docs/site.md",
        f"feederId = {_text(answers['feeder'])}",
        f"board = {_text(answers['board'])}",
        f'buses = [{{uart = 1, baud = {answers["baud"]}, format = "8N1"}}]',
        "",
        "[[uplinks]]",
        'name = "operator"',
        'kind = "mqtt"',
        f"host = {_text(host)}",
    ]
    if port and int(port) != (TLS if answers["ca"] else PLAIN):
        lines.append(f"port = {int(port)}")
    if answers["ca"]:
        lines.append(f"tls = {{ca = {_text(answers['ca'])}}}  # a certificate in DER beside this file")
    if answers["wifi"]:
        lines += ["", "[network.wifi]", f"ssid = {_text(answers['wifi'])}  # its password: `meshems site keys`"]
    if answers["mesh"]:
        lines += ["", "[mesh]", 'transport = "espnow"', "channel = 6"]
    width = max(2, len(str(answers["gateways"])))
    for number in range(1, answers["gateways"] + 1):
        lines += ["", "[[gateways]]", f"gatewayId = {_text(answers['prefix'] + str(number).zfill(width))}"]
        if answers["mesh"]:
            root = ", root = true" if number == 1 else ""
            lines.append(f"mesh = {{id = {number}{root}}}" + ("  # the one that reaches the broker" if root else ""))
        lines += ["meters = [", '  # {serial = "SN-1", address = 1, profile = "eastron-sdm120", every = 60},', "]"]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return json.dumps(str(value), ensure_ascii=False)  # a basic string of TOML has the escapes of JSON
