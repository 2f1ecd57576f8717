"""A site in one file, `site.toml`: what every gateway has in common, and what each has of its own.

    site = Site.load(Path("site.toml"))         # SiteError: no TOML
    for problem in site.problems(): print(problem)
    site.config("pole-07")                      # its gateway.json, as a dict
    site.secrets("pole-07")                     # its secrets.json; the passwords stand in site.secrets.toml beside it
    site.files("pole-07")                       # the certificates that its gateway.json names

The keys are those of gateway.json, and the firmware's own validator judges them: docs/site.md.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from meshems import boards, paths
from meshems.run import is_der
from meshems.tomllines import line_of, lines

OWN = ("gatewayId", "meters")  # what no two gateways have in common
FEW = 3  # gateways that a note names
SMALL_METERS = 8  # that a board without PSRAM has memory for
ORDER = ("feederId", "gatewayId", "board", "buses", "meters", "uplinks")  # of gateway.json
Values = dict[str, Any]


class Problem(NamedTuple):
    """What is wrong with a site's files. `line` is None where nothing stands that could be pointed at."""

    file: Path
    line: int | None
    path: str
    found: str
    allowed: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.path}: found {self.found}, allowed {self.allowed}"


class SiteError(Exception):
    """A file that cannot be read as TOML; `problem` tells why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def secrets_file(file: Path) -> Path:
    """Return the file of a site's secrets: `site.secrets.toml` beside `site.toml`."""
    return file.with_name(f"{file.stem}.secrets.toml")


class _Text:
    """A TOML file: its plain values, and the line of each. A file that is not there is empty."""

    def __init__(self, file: Path, missing_ok: bool = False) -> None:
        from tomlkit import exceptions, parse

        self.file = file
        try:
            text = file.read_text("utf-8")
        except FileNotFoundError:
            if not missing_ok:
                raise
            text = ""
        except UnicodeDecodeError:
            raise SiteError(Problem(file, None, "(file)", "bytes that are no text", "TOML in UTF-8")) from None
        try:
            self.values: Values = parse(text).unwrap()
        except exceptions.ParseError as error:
            raise SiteError(Problem(file, error.line, "(file)", _first(str(error)), "TOML")) from None
        except exceptions.TOMLKitError as error:
            raise SiteError(Problem(file, None, "(file)", _first(str(error)), "TOML")) from None
        self._lines = lines(text)

    def problem(self, path: str, found: str, allowed: str) -> Problem:
        """Return a problem with the line that it is about."""
        return Problem(self.file, line_of(self._lines, path), path, found, allowed)


class Site:
    """A site's two files as they were read. What is wrong with them, `problems` tells; the rest is for a good site."""

    def __init__(self, text: _Text, hidden: _Text) -> None:
        self.file = text.file
        self._text = text
        self._hidden = hidden
        self.values = text.values
        self.hidden = hidden.values
        rows = self.values.get("gateways")
        self._rows: list[Values] = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        self._top = {key: value for key, value in self.values.items() if key != "gateways"}

    @classmethod
    def load(cls, file: Path) -> "Site":
        """Return the site of `file`; SiteError when it or its secrets are no TOML, OSError when it cannot be read."""
        return cls(_Text(file), _Text(secrets_file(file), missing_ok=True))

    @property
    def names(self) -> list[str]:
        """Return the ids of the gateways, in the order of the file."""
        return [str(row.get("gatewayId")) for row in self._rows]

    def config(self, name: str) -> Values:
        """Return the gateway.json of a gateway; KeyError when the site has none of that name."""
        return self._config(self._row(name))

    def secrets(self, name: str) -> Values:
        """Return the secrets.json of a gateway: what it needs and no more; KeyError as `config`."""
        return self._secrets(self._row(name))

    def files(self, name: str) -> list[Path]:
        """Return the files beside site.toml that a gateway needs too: the certificates of its brokers."""
        return [self.file.with_name(ca) for _, ca in _authorities(self.config(name))]

    def problems(self, keys_made: bool = True) -> list[Problem]:
        """Return everything that is wrong with the site, each with its path and its line, in the order of the file.

        Without `keys_made` what `meshems site keys` makes may be missing.
        """
        found = list(self._shape())
        if not found:
            found += self._twice()
            for i, row in enumerate(self._rows):
                found += self._judged(i, row)
        found += self._kept()
        if keys_made and "mesh" in self.values and "secret" not in _table(self.hidden, "mesh"):
            found.append(self._hidden.problem("mesh.secret", "nothing", f"as `meshems site keys {self.file}` makes it"))
        return sorted(dict.fromkeys(found), key=lambda one: (one.file != self.file, one.line or 0))

    def notes(self) -> list[str]:
        """Return what is not wrong, but may not be meant; each once, with the gateways that it is about."""
        hidden = secrets_file(self.file).name
        about: dict[str, list[str]] = {}
        for name in self.names:
            config, kept = self.config(name), self.secrets(name)
            if not config["meters"]:
                about.setdefault("no meters yet; `meshems scan` finds those on a line", []).append(name)
            if "wifi" in config.get("network", {}) and "wifi" not in kept.get("network", {}):
                about.setdefault(f"an open Wi-Fi: no network.wifi.password in {hidden}", []).append(name)
            for uplink in config["uplinks"]:
                if uplink["name"] not in kept.get("uplinks", {}):
                    about.setdefault(f"no name and password for the broker of {uplink['name']}", []).append(name)
            for text in _too_much(config, _board(config["board"])):
                about.setdefault(text, []).append(name)
        return [f"{_few(names)}: {text}" for text, names in about.items()]

    # What a gateway is given

    def _row(self, name: str) -> Values:
        for row in self._rows:
            if row.get("gatewayId") == name:
                return row
        raise KeyError(name)

    def _config(self, row: Values) -> Values:
        merged = _merged(self._top, row)
        if isinstance(merged.get("meters"), list):
            merged["meters"] = [{"bus": 0, **m} if isinstance(m, dict) else m for m in merged["meters"]]
        if "mesh" in merged and not _is_root(merged):
            _reached_by_mesh(merged, row)
        first = {key: merged[key] for key in ORDER if key in merged}
        return first | merged

    def _secrets(self, row: Values) -> Values:
        config, name = self._config(row), row.get("gatewayId")
        common = {key: value for key, value in self.hidden.items() if key not in ("gateways", "mesh")}
        kept = _merged(common, _table(_table(self.hidden, "gateways"), str(name)))
        if isinstance(kept.get("uplinks"), dict):
            known = [uplink.get("name") for uplink in _dicts(config.get("uplinks"))]
            kept["uplinks"] = {outlet: value for outlet, value in kept["uplinks"].items() if outlet in known}
        if "wifi" not in _table(config, "network"):
            kept.pop("network", None)
        secret = _secret(_table(self.hidden, "mesh").get("secret"))
        if "mesh" in config and secret:
            kept["mesh"] = _mesh_keys(secret, _table(config, "mesh"))
        return {key: value for key, value in kept.items() if value != {}}

    # What is wrong

    def _shape(self) -> Iterator[Problem]:
        """Give what keeps the gateways from being looked at one by one."""
        rows = self.values.get("gateways")
        if not isinstance(rows, list) or not rows or len(self._rows) < len(rows):
            yield self._text.problem("gateways", _shown(rows), "a [[gateways]] for each gateway")
        for key in OWN:
            if key in self._top:
                yield self._text.problem(key, "one for all gateways", "one in each of [[gateways]]")
        for path, value in _leaves(self.values):
            if not isinstance(value, (str, int, float)):
                yield self._text.problem(path, str(value), "a number, a text in quotes, true or false")
        for path, value in _leaves(self.hidden):
            if not isinstance(value, str):
                yield self._hidden.problem(path, "(not shown)", "a text in quotes")

    def _twice(self) -> Iterator[Problem]:
        """Give the names that two gateways or two meters of the site share."""
        ids: dict[Any, str] = {}
        for path, value in self._named():
            if not isinstance(value, (str, int)):
                continue  # wrong by itself
            kind = path.rpartition(".")[2]
            first = ids.setdefault((kind, value), path)
            if first != path:
                yield self._text.problem(path, _shown(value), f"another than {first}")
        if "mesh" in self.values and not any(_is_root(self._config(row)) for row in self._rows):
            yield self._text.problem("mesh", "no gateway that is a root", "mesh = {root = true} in one of [[gateways]]")

    def _named(self) -> Iterator[tuple[str, Any]]:
        for i, row in enumerate(self._rows):
            yield f"gateways[{i}].gatewayId", row.get("gatewayId")
            if "mesh" in row:
                yield f"gateways[{i}].mesh.id", _table(row, "mesh").get("id")
            for j, meter in enumerate(_dicts(row.get("meters"))):
                yield f"gateways[{i}].meters[{j}].serial", meter.get("serial")

    def _judged(self, i: int, row: Values) -> Iterator[Problem]:
        """Give what the firmware's validator says of one gateway, then what only its board and the desk can know."""
        paths.share_firmware()
        from gateway import config as rules

        config, hidden = self._config(row), self._secrets(row)
        if "mesh" in config and "mesh" not in hidden:  # told once, by `problems` or `_kept`
            hidden["mesh"] = _mesh_keys(bytes(32), _table(config, "mesh"))
        good, _, found = rules.read(json.dumps(config).encode(), json.dumps(hidden).encode(), rules.profile)
        for path, what, allowed in found:
            if path.startswith("secrets"):
                yield self._of_secret(row, path.partition(".")[2], what, allowed)
            else:
                yield self._of_config(i, path, what, allowed)
        if good:
            for path, what, allowed in self._around(good):
                yield self._of_config(i, path, what, allowed)

    def _around(self, config: Values) -> Iterator[tuple[str, str, str]]:
        """Give what is wrong with a good configuration on its board, and with the files that it names."""
        board = _board(config["board"])
        if not board:
            yield "board", _shown(config["board"]), ", ".join(boards.names())
            return
        there = [uart["id"] for uart in board["uarts"]]
        for n, bus in enumerate(config["buses"]):
            if bus["uart"] not in there:
                yield f"buses[{n}].uart", str(bus["uart"]), f"a UART of {config['board']}: {there}"
        if config["network"].get("ethernet") and "int" not in board.get("ethernet", {}):
            yield "network.ethernet", "true", f"false: {config['board']} has none that works"
        for n, name in _authorities(config):
            if not is_der(self.file.with_name(name)):
                yield f"uplinks[{n}].tls.ca", _shown(name), f"a certificate in DER beside {self.file.name}"

    def _kept(self) -> Iterator[Problem]:
        """Give what is wrong with the secrets' file as a whole; no value of it is shown."""
        file = self._hidden.file
        if file.exists() and file.stat().st_mode & 0o077:
            mode = f"mode {file.stat().st_mode & 0o777:04o}"
            yield Problem(file, None, "(file)", mode, f"0600: it is for you alone; `chmod 600 {file}`")
        known = [uplink.get("name") for part in (self._top, *self._rows) for uplink in _dicts(part.get("uplinks"))]
        own = _table(self.hidden, "gateways")
        for path, value in [("", self.hidden), *((f"gateways.{name}.", _table(own, name)) for name in own)]:
            if path and path[9:-1] not in self.names:
                yield self._hidden.problem(path[:-1], "unknown key", "the id of a gateway of " + self.file.name)
            for name in _table(value, "uplinks"):
                if name not in known:
                    yield self._hidden.problem(f"{path}uplinks.{name}", "unknown key", "the name of an uplink")
        if not _secret(_table(self.hidden, "mesh").get("secret", "0" * 64)):
            yield self._hidden.problem("mesh.secret", "(not shown)", f"as `meshems site keys {self.file}` makes it")

    def _of_config(self, i: int, path: str, found: str, allowed: str) -> Problem:
        """Return a problem of gateway i's gateway.json at the place in site.toml where it was made."""
        own = f"gateways[{i}].{path}"
        key = path.partition(".")[0].partition("[")[0]
        in_row, in_top = _has(self._rows[i], path), _has(self._top, path)
        if in_row or (not in_top and (key in self._rows[i] or key in OWN)):
            return self._text.problem(own, found, allowed)
        return self._text.problem(path, found, allowed)

    def _of_secret(self, row: Values, path: str, found: str, allowed: str) -> Problem:
        own = _table(_table(self.hidden, "gateways"), str(row.get("gatewayId")))
        where = f"gateways.{row.get('gatewayId')}.{path}" if _has(own, path) else path
        return self._hidden.problem(where, found, allowed)


def add_meters(file: Path, name: str, meters: Sequence[Values]) -> list[str]:
    """Write meters that are not there yet, by serial, into the gateway `name` of site.toml; return their serials.

    The rest of the file stays as it is, comments too. KeyError when there is no such gateway; SiteError as Site.load.
    """
    from tomlkit import array, inline_table, parse, table
    from tomlkit.items import AoT

    site = Site.load(file)
    row = site.names.index(name) if name in site.names else None
    if row is None:
        raise KeyError(name)
    document = parse(file.read_text("utf-8"))
    gateway: Any = document["gateways"][row]
    known = {value for path, value in site._named() if path.endswith(".serial")}
    new = [meter for meter in meters if meter["serial"] not in known]
    if "meters" not in gateway or not len(gateway["meters"]):
        gateway["meters"] = array().multiline(True)
    for meter in new:
        item = table() if isinstance(gateway["meters"], AoT) else inline_table()
        item.update({key: value for key, value in meter.items() if (key, value) != ("bus", 0)})
        gateway["meters"].append(item)
    if new:
        replace(file, document.as_string())
    return [str(meter["serial"]) for meter in new]


def replace(file: Path, text: str, mode: int | None = None) -> None:
    """Write a file whole or not at all: whatever happens, the old one or the new one is there."""
    if mode is None:
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as made:
            made.write(text)
            made.flush()
            os.fsync(made.fileno())
        draft.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _board(name: str) -> Values:
    """Return a board's description, {} when there is none of that name."""
    return boards.read(name) if name in boards.names() else {}


def _too_much(config: Values, board: Values) -> Iterator[str]:
    """Give what a board without PSRAM is not made for."""
    if board.get("psram") != "none":
        return
    if len(config["meters"]) > SMALL_METERS:
        yield f"more than {SMALL_METERS} meters, and no PSRAM: the memory may not do for them"
    if _is_root(config):
        yield "a root of the mesh without PSRAM: the memory may not do for it"
    if "mesh" in config and any("tls" in uplink for uplink in config["uplinks"]):
        yield "mesh and TLS without PSRAM: the memory may not do for both"


def _reached_by_mesh(config: Values, row: Values) -> None:
    """Take from a gateway that is no root what only a root needs: the way to the net and the outlets of the site."""
    if "network" not in row:
        config.pop("network", None)
    if "uplinks" not in row:
        config["uplinks"] = []


def _secret(value: Any) -> bytes | None:
    """Return the 32 bytes that a text stands for, None when it is no such text."""
    good = isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
    return bytes.fromhex(value) if good else None


def _is_root(config: Values) -> bool:
    return _table(config, "mesh").get("root") is True


def _mesh_keys(secret: bytes, mesh: Values) -> Values:
    """Return the mesh part of a secrets.json: the site's secret at a root, elsewhere only what was made of it."""
    paths.share_firmware()
    from lib.mesh import keys

    ident = mesh.get("id")
    if mesh.get("root") is True:
        return {"secret": secret.hex()}
    if not isinstance(ident, int) or not 0 <= ident < 1 << 16:
        return {}  # the validator tells of it
    return {"site": keys.site(secret), "net": keys.net(secret).hex(), "node": keys.node(secret, ident).hex()}


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> Values:
    """Return both, tables within tables as well; where both have a value, the own one stands."""
    merged = dict(common)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _table(values: Mapping[str, Any], key: str) -> Values:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Values]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _has(values: Any, path: str) -> bool:
    for part in path.replace("[", ".[").split("."):
        if part.startswith("["):
            index = int(part[1:-1])
            if not isinstance(values, list) or index >= len(values):
                return False
            values = values[index]
        elif isinstance(values, dict) and part in values:
            values = values[part]
        else:
            return False
    return True


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    pairs: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        pairs = ((f"{path}.{key}" if path else key, one) for key, one in value.items())
    elif isinstance(value, list):
        pairs = ((f"{path}[{i}]", one) for i, one in enumerate(value))
    else:
        yield path, value
    for where, one in pairs:
        yield from _leaves(one, where)


def _authorities(config: Values) -> list[tuple[int, str]]:
    """Return (number of the uplink, name of the file) of each certificate that a configuration names."""
    return [(n, one["tls"]["ca"]) for n, one in enumerate(config["uplinks"]) if "tls" in one]


def _shown(value: Any) -> str:
    return "nothing" if value is None else "a list" if value == [] else json.dumps(value, default=str)[:40]


def _first(text: str) -> str:
    return text.split("\n")[0]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
