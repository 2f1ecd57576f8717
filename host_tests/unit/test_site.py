""": one file for a whole site becomes each gateway's two files, and what is wrong is shown where it stands."""

import json
import os
import random
import re

import pytest

from meshems import paths
from meshems.run import check
from meshems.site import Site, SiteError, add_meters, replace, secrets_file
from meshems.tomllines import line_of, lines

GOOD = """\
# The village by the river
feederId = "feeder-01"
board = "desktop"
buses = [{uart = 1, baud = 9600}]
clock = {ntp = ["10.0.0.1"]}

[[uplinks]]
name = "operator"
kind = "mqtt"
host = "broker.example.org"

[network.wifi]
ssid = "village"
country = "KE"

[[gateways]]
gatewayId = "pole-01"
meters = [
  {serial = "SN-1", address = 1, profile = "eastron-sdm120", every = 60},
  {serial = "SN-2", address = 2, profile = "abb-b23"},  # the mill
]

[[gateways]]
gatewayId = "pole-02"
clock = {ntp = []}
buses = [{uart = 1}, {uart = 2, baud = 2400}]

[[gateways.meters]]
serial = "SN-3"
bus = 1
address = 1
profile = "eastron-sdm120"
"""

SECRETS = """\
[network.wifi]
password = "another long one"

[uplinks.operator]
username = "village"
password = "for all"

[gateways.pole-02.uplinks.operator]
username = "pole-02"
password = "its own"
"""


def made(tmp_path, text=GOOD, secrets=SECRETS):
    file = tmp_path / "site.toml"
    file.write_text(text)
    if secrets is not None:
        replace(secrets_file(file), secrets, 0o600)
    return file


def told(tmp_path, *changes, secrets=SECRETS):
    """Return what is wrong after each (old, new) of `changes`, without the folder's name."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    problems = Site.load(made(tmp_path, text, secrets)).problems()
    return [str(problem).replace(f"{tmp_path}/", "") for problem in problems]


def test_what_stands_at_the_top_holds_for_each_gateway_and_its_own_comes_first(tmp_path):
    site = Site.load(made(tmp_path))
    assert site.problems() == [] and site.names == ["pole-01", "pole-02"]
    assert site.config("pole-01") == {
        "feederId": "feeder-01",
        "gatewayId": "pole-01",
        "board": "desktop",
        "buses": [{"uart": 1, "baud": 9600}],
        "meters": [
            {"bus": 0, "serial": "SN-1", "address": 1, "profile": "eastron-sdm120", "every": 60},
            {"bus": 0, "serial": "SN-2", "address": 2, "profile": "abb-b23"},
        ],
        "uplinks": [{"name": "operator", "kind": "mqtt", "host": "broker.example.org"}],
        "network": {"wifi": {"ssid": "village", "country": "KE"}},
        "clock": {"ntp": ["10.0.0.1"]},
    }
    second = site.config("pole-02")
    assert second["buses"] == [{"uart": 1}, {"uart": 2, "baud": 2400}] and second["clock"] == {"ntp": []}
    assert second["network"] == site.config("pole-01")["network"] and second["meters"][0]["bus"] == 1


def test_a_table_of_a_gateway_changes_that_of_the_site_key_by_key(tmp_path):
    own = '[gateways.network.wifi]\nssid = "the mill"\n\n[[gateways.meters]]'
    site = Site.load(made(tmp_path, GOOD.replace("[[gateways.meters]]", own)))
    assert site.config("pole-02")["network"]["wifi"] == {"ssid": "the mill", "country": "KE"}


def test_a_gateway_is_given_its_own_secrets_and_nobody_elses(tmp_path):
    site = Site.load(made(tmp_path))
    wifi = {"wifi": {"password": "another long one"}}
    assert site.secrets("pole-01") == {
        "network": wifi, "uplinks": {"operator": {"username": "village", "password": "for all"}}
    }  # fmt: skip
    assert site.secrets("pole-02") == {
        "network": wifi, "uplinks": {"operator": {"username": "pole-02", "password": "its own"}}
    }  # fmt: skip
    assert "its own" not in json.dumps(site.secrets("pole-01"))


def test_what_a_gateway_does_not_use_it_is_not_given(tmp_path):
    file = made(tmp_path, GOOD.replace("clock = {ntp = []}", "uplinks = []\nclock = {ntp = []}"))
    assert Site.load(file).secrets("pole-02") == {"network": {"wifi": {"password": "another long one"}}}
    file = made(tmp_path, GOOD.replace('[network.wifi]\nssid = "village"\ncountry = "KE"\n', ""))
    assert "network" not in Site.load(file).secrets("pole-01")


def test_the_two_files_of_a_gateway_pass_the_firmwares_own_check(tmp_path):
    site = Site.load(made(tmp_path))
    for name in site.names:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "gateway.json").write_text(json.dumps(site.config(name)))
        (folder / "secrets.json").write_text(json.dumps(site.secrets(name)))
        assert check(folder / "gateway.json") == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("address = 2,", "address = 0,",
         ":20: gateways[0].meters[1].address: found 0, allowed integer 1..247"),
        ("address = 1\n", "address = 248\n",
         ":31: gateways[1].meters[0].address: found 248, allowed integer 1..247"),
        ("baud = 9600", "baud = 9601",
         ":4: buses[0].baud: found 9601, allowed 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200"),
        ("baud = 2400", "bauds = 2400",
         ":26: gateways[1].buses[1].bauds: found unknown key, allowed baud, echo, format, uart"),
        ('host = "broker', 'hots = "broker',
         ":10: uplinks[0].hots: found unknown key, allowed catchup, filter, format, host, kind, name, port, tls"),
        ('host = "broker.example.org"\n', "",
         ":7: uplinks[0].host: found nothing, allowed string 1..253 of A-Za-z0-9.:-"),
        ('feederId = "feeder-01"\n', "",
         ": feederId: found nothing, allowed string 1..32 of A-Za-z0-9._-"),
        ('gatewayId = "pole-02"\n', "",
         ":23: gateways[1].gatewayId: found nothing, allowed string 1..32 of A-Za-z0-9._-"),
        ('"pole-02"', '"pole-01"',
         ':24: gateways[1].gatewayId: found "pole-01", allowed another than gateways[0].gatewayId'),
        ('"SN-3"', '"SN-1"',
         ':29: gateways[1].meters[0].serial: found "SN-1", allowed another than gateways[0].meters[0].serial'),
        ("every = 60", "every = 60.0",
         ":19: gateways[0].meters[0].every: found 60.0, allowed integer 1..86400"),
        ("every = 60", "every = 2026-11-25",
         ":19: gateways[0].meters[0].every: found 2026-11-25, allowed a number, a text in quotes, true or false"),
        ('board = "desktop"', 'board = "esp33"', ':3: board: found "esp33", allowed '),
        ("uart = 2", "uart = 3",
         ":26: gateways[1].buses[1].uart: found 3, allowed a UART of desktop: [1, 2]"),
        ('profile = "abb-b23"', 'profile = "abb-b99"',
         ':20: gateways[0].meters[1].profile: found "abb-b99", allowed the name of a profile'),
        ('country = "KE"', 'country = "KEN"', ':14: network.wifi.country: found "KEN", allowed string 2..2 of A-Z'),
        ('host = "broker.example.org"', 'host = "broker.example.org"\ntls = {ca = "operator.der"}',
         ':11: uplinks[0].tls.ca: found "operator.der", allowed a certificate in DER beside site.toml'),
        ("clock = {ntp = []}", "clocks = {ntp = []}",
         ":25: gateways[1].clocks: found unknown key, allowed "),
        ("clock = {ntp = [\"10.0.0.1\"]}", 'gatewayId = "pole-09"',
         ":5: gatewayId: found one for all gateways, allowed one in each of [[gateways]]"),
    ],
)  # fmt: skip
def test_a_problem_is_told_once_with_line_path_what_was_found_and_what_is_allowed(tmp_path, old, new, problem):
    said = told(tmp_path, (old, new), secrets=None)
    assert [line for line in said if line.startswith("site.toml" + problem)], said
    missing = [line for line in said if "found nothing" in line or "unknown key" in line]
    assert len(said) == 1 or len(missing) == 2 and "hots" in new, said  # a misspelt key is missing as well


def test_a_file_that_is_no_toml_is_refused_with_its_line(tmp_path):
    with pytest.raises(SiteError, match=r"site\.toml:2: \(file\): found .*, allowed TOML"):
        Site.load(made(tmp_path, 'feederId = "a"\nboard = desktop\n'))
    with pytest.raises(SiteError, match=r"site\.secrets\.toml:1: "):
        Site.load(made(tmp_path, secrets="uplinks = [\n"))
    file = made(tmp_path)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SiteError, match="TOML in UTF-8"):
        Site.load(file)


@pytest.mark.parametrize("text", ["", "gateways = []", "gateways = 3", "gateways = [1]", 'feederId = "a"'])
def test_a_site_without_gateways_is_refused(tmp_path, text):
    said = [str(problem) for problem in Site.load(made(tmp_path, text, None)).problems()]
    assert [line for line in said if re.search(r"gateways.*allowed a \[\[gateways\]\]", line)], said


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        (SECRETS.replace('"another long one"', '"short"'),
         ":2: network.wifi.password: found (not shown), allowed string 8..64"),
        (SECRETS.replace('username = "pole-02"\n', ""), None),  # that of all is there
        (SECRETS.replace("gateways.pole-02", "gateways.pole-03"),
         ":8: gateways.pole-03: found unknown key, allowed the id of a gateway of site.toml"),
        (SECRETS.replace("[uplinks.operator]", "[uplinks.operater]", 1),
         ":4: uplinks.operater: found unknown key, allowed the name of an uplink"),
        (SECRETS.replace('"its own"', "4711"),
         ":10: gateways.pole-02.uplinks.operator.password: found (not shown), allowed a text in quotes"),
        (SECRETS.replace('password = "its own"', 'pasword = "hush"'),
         ":10: gateways.pole-02.uplinks.operator.pasword: found unknown key, allowed password, username"),
        ('[mesh]\nsecret = "ab"\n',
         ":2: mesh.secret: found (not shown), allowed as `meshems site keys"),
    ],
)  # fmt: skip
def test_a_wrong_secret_is_told_and_never_shown(tmp_path, secrets, problem):
    said = told(tmp_path, secrets=secrets)
    assert len(said) == (problem is not None), said
    assert not said or said[0].startswith("site.secrets.toml" + problem)
    assert not re.search("short|4711|hush|its own|for all|\"ab\"", " ".join(said))


SECRET = bytes(range(32))
MESHED = GOOD.replace("[network.wifi]", "[mesh]\nchannel = 11\n\n[network.wifi]").replace(
    'gatewayId = "pole-01"', 'gatewayId = "pole-01"\nmesh = {id = 1, root = true}'
).replace('gatewayId = "pole-02"', 'gatewayId = "pole-02"\nmesh = {id = 2}')  # fmt: skip


def test_a_pole_of_the_mesh_has_no_outlet_and_is_given_keys_that_open_nothing_else(tmp_path):
    site = Site.load(made(tmp_path, MESHED, f'{SECRETS}\n[mesh]\nsecret = "{SECRET.hex()}"\n'))
    assert site.config("pole-01")["mesh"] == {"id": 1, "root": True, "channel": 11}
    assert site.config("pole-01")["uplinks"] and site.config("pole-01")["network"]
    assert site.secrets("pole-01")["mesh"] == {"secret": SECRET.hex()}
    pole = site.config("pole-02")
    assert pole["mesh"] == {"id": 2, "channel": 11} and pole["uplinks"] == [] and "network" not in pole
    given = site.secrets("pole-02")
    assert set(given) == {"mesh"} and set(given["mesh"]) == {"site", "net", "node"}
    assert SECRET.hex() not in json.dumps(given)
    own = MESHED.replace("mesh = {id = 2}", 'mesh = {id = 2}\nuplinks = [{name = "b", kind = "mqtt", host = "h"}]')
    assert Site.load(made(tmp_path, own)).config("pole-02")["uplinks"][0]["name"] == "b"


def test_a_mesh_has_a_root_ids_that_differ_and_a_secret(tmp_path):
    def said(text, secrets=None, **more):
        problems = Site.load(made(tmp_path, text, secrets)).problems(**more)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in problems]

    no_root = said(MESHED.replace(", root = true", ""))
    assert "site.toml:12: mesh: found no gateway that is a root, allowed mesh = {root = true} in one of" in str(no_root)
    twice = said(MESHED.replace("id = 2", "id = 1"))
    assert "site.toml:29: gateways[1].mesh.id: found 1, allowed another than gateways[0].mesh.id" in twice
    missing = "site.secrets.toml: mesh.secret: found nothing, allowed as `meshems site keys site.toml` makes it"
    assert missing in said(MESHED)
    assert not [line for line in said(MESHED, keys_made=False) if "makes it" in line]


def test_what_a_small_board_has_not_the_memory_for_is_noted(tmp_path):
    rows = "".join(f'  {{serial = "X-{n}", address = {n}, profile = "abb-b23"}},\n' for n in range(3, 10))
    text = GOOD.replace('board = "desktop"', 'board = "esp32-generic"')
    assert not [note for note in Site.load(made(tmp_path, text)).notes() if "PSRAM" in note]
    noted = Site.load(made(tmp_path, text.replace('  {serial = "SN-2"', rows + '  {serial = "SN-2"'))).notes()
    assert noted == ["pole-01: more than 8 meters, and no PSRAM: the memory may not do for them"]


def test_secrets_that_others_may_read_are_a_problem(tmp_path):
    file = made(tmp_path)
    os.chmod(secrets_file(file), 0o644)
    assert [str(one) for one in Site.load(file).problems()] == [
        f"{secrets_file(file)}: (file): found mode 0644, allowed 0600: it is for you alone; "
        f"`chmod 600 {secrets_file(file)}`"
    ]  # fmt: skip


def test_meters_are_written_into_the_file_and_the_rest_stays_as_it_is(tmp_path):
    new = [
        {"serial": "SN-2", "bus": 0, "address": 2, "profile": "abb-b23"},
        {"serial": "SN-9", "bus": 0, "address": 9, "profile": "chint-dtsu666", "ct": [200, 5]},
    ]
    file = made(tmp_path)
    assert add_meters(file, "pole-01", new) == ["SN-9"]
    assert [meter["serial"] for meter in Site.load(file).config("pole-01")["meters"]] == ["SN-1", "SN-2", "SN-9"]
    assert Site.load(file).problems() == []
    for line in GOOD.splitlines():
        assert line in file.read_text().splitlines()
    assert add_meters(file, "pole-02", [dict(new[1], serial="SN-8", bus=1)]) == ["SN-8"]
    assert Site.load(file).config("pole-02")["meters"][1] == dict(new[1], serial="SN-8", bus=1)
    file = made(tmp_path, re.sub(r"meters = \[\n.*?\n\]", "meters = []", GOOD, flags=re.DOTALL))
    assert add_meters(file, "pole-01", new) == ["SN-2", "SN-9"]
    assert Site.load(file).problems() == []
    with pytest.raises(KeyError):
        add_meters(file, "pole-77", new)


def test_the_line_of_a_value_is_found_in_any_form_that_toml_has():
    text = """\
a.b = {c = "x,}]#\\"", d = [1, # [
  {e = '''
]''', f = \"\"\"
"\"\"\"}, 3,
]}
[t."u.v"]
[[t.w]]
  g = 2026-01-01T00:00:00Z  # h = 1
[[t.w.x]]
[t.w.x.y]
'z' = +1.5
[[t.w]]
[[t.w.x]]
k = []
"""
    at = lines(text)
    assert at == {
        "a": 1, "a.b": 1, "a.b.c": 1, "a.b.d": 1, "a.b.d[0]": 1, "a.b.d[1]": 2, "a.b.d[1].e": 2, "a.b.d[1].f": 3,
        "a.b.d[2]": 4, "t": 6, "t.u.v": 6, "t.w": 7, "t.w[0]": 7, "t.w[0].g": 8, "t.w[0].x": 9,
        "t.w[0].x[0]": 9, "t.w[0].x[0].y": 10, "t.w[0].x[0].y.z": 11, "t.w[1]": 12, "t.w[1].x": 13, "t.w[1].x[0]": 13,
        "t.w[1].x[0].k": 14,
    }  # fmt: skip
    assert line_of(at, "t.w[0].x[0].y.missing[3].too") == 10 and line_of(at, "nowhere") is None


def test_the_keys_of_a_pole_are_those_that_another_implementation_of_rfc_5869_makes(tmp_path):
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    def derived(info, size):
        return HKDF(SHA256(), size, None, info).derive(SECRET)

    site = Site.load(made(tmp_path, MESHED.replace("id = 2", "id = 258"), f'[mesh]\nsecret = "{SECRET.hex()}"\n'))
    assert site.secrets("pole-02")["mesh"] == {
        "site": int.from_bytes(derived(b"site", 2), "big"),
        "net": derived(b"net\x00", 16).hex(),
        "node": derived(b"node\x01\x02", 16).hex(),
    }


def test_the_page_shows_a_good_site_and_what_is_really_said_of_a_bad_one(tmp_path):
    page = (paths.ROOT / "docs" / "site.md").read_text()
    text = re.search(r"```toml site.toml\n(.*?)```", page, re.DOTALL)[1]
    assert Site.load(made(tmp_path, text, None)).problems() == []
    bad = text.replace("address = 2", "address = 0").replace("baud = 9600", "baud = 9601")
    said = [str(problem).replace(f"{tmp_path}/", "    ") for problem in Site.load(made(tmp_path, bad)).problems()]
    assert "\n".join([*said, ""]) in page


def mangled(text, some):
    """Return `text` with a few bytes or lines gone, doubled or replaced."""
    marks = ["[", "]", "{", "}", '"', "=", "\n", ",", "[[gateways]]", "1.5", "2026-01-01", "nan", '"""', "\\", "-1"]
    values = ["3", '"x"', "[]", "{}", "true", "[1]", "[{}]", "{a = 1}", "1.5", "2026-01-01"]
    for _ in range(some.choice((1, 1, 2, 4))):
        at, rows = some.randrange(len(text)), text.split("\n")
        row = some.randrange(len(rows))
        kind = some.randrange(5)
        if kind == 0:
            text = text[:at] + text[at + some.choice((1, 3, 10)) :]
        elif kind == 1:
            text = text[:at] + some.choice(marks) + text[at:]
        else:
            new = [[], [rows[row]] * 2, [rows[row].split("=")[0] + "= " + some.choice(values)]][kind - 2]
            text = "\n".join(rows[:row] + new + rows[row + 1 :])
    return text


def test_a_mangled_file_is_told_with_its_line_and_never_breaks_the_command(tmp_path):
    some, seen = random.Random(7), {"toml": 0, "bad": 0, "good": 0}
    for _ in range(300):
        try:
            site = Site.load(made(tmp_path, mangled(GOOD, some), some.choice((SECRETS, mangled(SECRETS, some)))))
        except SiteError as error:
            seen["toml"] += 1
            assert error.problem.line or "key" in error.problem.found.lower(), error
            continue
        problems = site.problems()
        seen["bad" if problems else "good"] += 1
        assert all(problem.line or problem.found == "nothing" for problem in problems), problems
        if not problems:
            assert all(site.config(name)["gatewayId"] == name and site.secrets(name) is not None for name in site.names)
    assert min(seen.values()) > 10, seen
