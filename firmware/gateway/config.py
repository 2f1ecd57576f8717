"""The configuration: `gateway.json` and `secrets.json`, judged by the same rules on the device and at the desk.

    config, secrets, problems = config.load()                   on the device
    config, secrets, problems = config.read(raw, raw, profile)  at the desk

A problem is (path, found, allowed), as in ("meters[2].address", "0", "integer 1..247"). Paths of `secrets.json` begin
with `secrets`; what is found there is never shown. What the keys mean: docs/config.md; their schema: schema/*.json.
"""
from gateway import data
from lib import proto, schema, strictjson, twin

_FILES = ("gateway.json", "secrets.json")
_KEPT = "config"  # the twin that holds the texts of the last good pair


def load():
    """Return (config, secrets, problems) of the files in the current folder, defaults filled in.

    A good pair is kept in two copies. Of a refused one come the problems, with the last good pair, which stays in
    force, or (None, None, problems) when there is none.
    """
    texts = _text(_FILES[0]), _text(_FILES[1])
    try:
        config, secrets, problems = read(texts[0], texts[1], profile)
    except MemoryError:
        problems = [(_FILES[0], "too much for the memory", "a smaller one")]
    if problems:
        texts = (twin.load(_KEPT) or b"\0").split(b"\0")
        config, secrets, _ = read(texts[0], texts[1], profile)
        return config, secrets, problems
    both = b"\0".join(texts)
    try:
        if twin.load(_KEPT) != both:
            twin.save(_KEPT, both)
    except OSError as error:
        problems.append((_KEPT, str(error), "files that can be written"))
    return config, secrets, problems


def read(config, secrets, profile):
    """Return (config, secrets, problems) of the two files' bytes; (None, None, problems) when there is any problem.

    Empty `secrets` stand for a gateway that has none. `profile` as for `check`.
    """
    config, problems = _parse(_FILES[0], config)
    secrets, more = _parse(_FILES[1], secrets or b"{}")
    if not problems:
        problems = check(config, {} if more else secrets, profile)
    problems += more
    if problems:
        return None, None, problems
    schema.fill(_schema(0), config)
    schema.fill(_schema(1), secrets)
    limits = config.get("checks")
    if limits and limits["vMin"] >= limits["vMax"]:
        return None, None, [("checks.vMin", str(limits["vMin"]), "less than checks.vMax, %d" % limits["vMax"])]
    return config, secrets, problems


def check(config, secrets, profile):
    """Return every problem of the parsed files, [] when both are good; changes neither.

    `profile(id)` returns a parsed meter profile; OSError when there is none, ValueError when it is broken.
    """
    found = schema.problems(_schema(0), config)
    for path, value, allowed in schema.problems(_schema(1), secrets, "secrets"):
        found.append((path, value if value in ("nothing", "unknown key") else "(not shown)", allowed))
    if not isinstance(config, dict):
        return found
    named = [path for path, _, _ in found]

    _once(found, config, "buses", "uart")
    _once(found, config, "meters", "serial")
    _once(found, config, "meters", "address", _line)
    _once(found, config, "uplinks", "name")
    buses = len(config["buses"]) if isinstance(config.get("buses"), list) else 0
    checked = {}
    for i, meter in _rows(config, "meters"):
        path = "meters[%d]." % i
        if path + "bus" not in named and meter["bus"] >= buses:
            found.append((path + "bus", str(meter["bus"]), "the index of one of the %d buses" % buses))
        if path + "profile" in named:
            continue
        if meter["profile"] not in checked:
            _profile(found, path + "profile", meter["profile"], profile, checked)
        for key in ("ct", "pt"):
            if key in meter and key not in checked.get(meter["profile"], key):
                found.append((path + key, schema.show(meter[key]), "only with a profile whose `ratio` has it"))

    for i, uplink in _rows(config, "uplinks"):
        if "filter" in uplink and uplink.get("catchup") == "binary":  # stored frames cannot be cut
            found.append(("uplinks[%d].catchup" % i, '"binary"', "json beside a filter"))
    mesh = config.get("mesh")
    if isinstance(mesh, dict) and isinstance(secrets, dict) and isinstance(secrets.get("mesh", {}), dict):
        for key in ("secret",) if mesh.get("root") is True else ("site", "net", "node"):
            if key not in secrets.get("mesh", ()):
                found.append(("secrets.mesh." + key, "nothing", "the key of a member of a mesh"))
    host = mesh.get("host") if isinstance(mesh, dict) and "mesh.host" not in named else None
    if host and [0 <= int(octet or -1) <= 255 for octet in host.split(".")] != [True] * 4:
        found.append(("mesh.host", schema.show(host), "an IPv4 address"))
    names = [uplink.get("name") for _, uplink in _rows(config, "uplinks")]
    known = secrets.get("uplinks") if isinstance(secrets, dict) else None
    for name in known if isinstance(known, dict) else ():
        if name not in names:
            found.append(("secrets.uplinks." + schema.show(name).strip('"'), "unknown key", "the name of an uplink"))
    return found


def profile(name):
    """Return the parsed meter profile `name`; OSError when there is none, ValueError when it is broken."""
    return data.load("profiles/%s.json" % name)


def _profile(found, path, name, profile, checked):
    """Append what is wrong with the profile `name` that stands at `path`; checked[name] says which ratios it knows."""
    where = "profiles/%s.json" % name
    try:
        rules = profile(name)
    except OSError:
        found.append((path, schema.show(name), "the name of a profile"))
        return
    except ValueError:
        rules = None
    if not isinstance(rules, dict):
        checked[name] = ("ct", "pt")  # nobody knows
        found.append((where, "broken JSON", "object"))
        return
    ratio = rules.get("ratio", {})
    checked[name] = list(ratio) if isinstance(ratio, dict) else ("ct", "pt")
    kind = rules.get("proto", "modbus")
    try:
        checker = proto.load(kind)
    except ImportError:
        found.append((where + ": proto", schema.show(kind), "the name of a protocol"))
        return
    for at, value, allowed in checker.check(rules):
        found.append(("%s: %s" % (where, at), value, allowed))


def _line(config, meter):
    """Return (bus, baud) of a meter, within which no address comes twice; None where that is wrong by itself."""
    bus, baud = meter.get("bus"), meter.get("baud")
    if type(bus) is not int:
        return None
    if baud is None:
        baud = dict(_rows(config, "buses")).get(bus, {}).get("baud", 9600)
    return (bus, baud) if type(baud) is int else None


def _once(found, config, key, name, within=None):
    """Append each row of the list `key` whose `name` an earlier one has, among those of one `within(config, row)`."""
    seen = {}
    for i, row in _rows(config, key):
        mark = row.get(name), within and within(config, row)
        if type(mark[0]) not in (str, int) or within and not mark[1]:
            continue  # wrong by itself
        if mark in seen:
            path = "%s[%d].%s" % (key, i, name)
            found.append((path, schema.show(mark[0]), "another than that of %s[%d]" % (key, seen[mark])))
        else:
            seen[mark] = i


def _rows(config, key):
    """Return (index, row) of those entries of the list `key` that are objects."""
    rows = config.get(key)
    return [(i, row) for i, row in enumerate(rows if isinstance(rows, list) else ()) if isinstance(row, dict)]


def _schema(i):
    return schema.verify(data.load("schema/" + _FILES[i]))


def _parse(name, raw):
    """Return (value, problems) of a JSON text."""
    if not raw:
        return None, [(name, "nothing", "a configuration")]
    try:
        return strictjson.loads(raw), []
    except ValueError as error:
        line, allowed = error.args
        return None, [(name, "broken JSON in line %d" % line, allowed)]


def _text(name):
    """Return the bytes of a file, b"" when there is none."""
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError:
        return b""
