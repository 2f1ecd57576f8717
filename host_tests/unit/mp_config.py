"""The configuration: what is refused and how it is said, and which pair is in force."""
import json
import os

from gateway import config
from lib import twin

PROFILES = {"eastron-sdm120": {"v": 1}, "abb-b23": {"v": 1, "proto": "modbus"}, "toy-1": {"proto": "toy"}}
GATEWAY = {
    "feederId": "feeder-01", "gatewayId": "pole-07", "board": "desktop",
    "buses": [{"uart": 1}, {"uart": 2, "baud": 19200, "format": "8E1", "echo": True}],
    "meters": [
        {"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120"},
        {"serial": "SN-2", "bus": 1, "address": 1, "profile": "abb-b23", "every": 5},
        {"serial": "SN-3", "bus": 0, "address": 2, "profile": "toy-1"},
    ],
    "uplinks": [{"name": "operator", "kind": "mqtt", "host": "127.0.0.1"}],
    "network": {"wifi": {"ssid": "village"}},
}  # fmt: skip
SECRETS = {
    "uplinks": {"operator": {"username": "pole-07", "password": "tr0ub4dor"}},
    "network": {"wifi": {"password": "correct horse"}},
}
FREE_TEXT = (("network", "wifi", "ssid"), ("uplinks", "operator", "username"), ("uplinks", "operator", "password"))


class Protocol:
    """Stands for lib.proto: two protocols; a profile is broken when it says so."""

    @staticmethod
    def load(name):
        if name not in ("modbus", "toy"):
            raise ImportError(name)
        return Protocol

    @staticmethod
    def check(profile):
        return [("q[0][3]", '"f16"', "u16, s16")] if profile.get("broken") else []


config.proto = Protocol


def profile(name):
    if name == "torn":
        raise ValueError
    if name not in PROFILES:
        raise OSError(2)
    return PROFILES[name]


config.profile = profile


def copy(value):
    return json.loads(json.dumps(value))


def found(change, secrets=SECRETS):
    """Return the problems after `change` has been at a copy of the good configuration."""
    changed = copy(GATEWAY)
    change(changed)
    return sorted(config.check(changed, copy(secrets), profile))


def paths(problems):
    return [path for path, _, _ in problems]


def put(gateway, secrets=None):
    """Put the two files into the gateway's folder; a string is put as it is."""
    for name, value in (("gateway.json", gateway), ("secrets.json", secrets)):
        try:
            os.remove(name)
        except OSError:
            pass
        if value is not None:
            with open(name, "w") as file:
                file.write(value if isinstance(value, str) else json.dumps(value))


def test_a_good_configuration_has_no_problems_and_is_not_changed():
    gateway, secrets = copy(GATEWAY), copy(SECRETS)
    assert config.check(gateway, secrets, profile) == []
    assert gateway == GATEWAY and secrets == SECRETS


def test_what_is_left_out_gets_its_default():
    put(GATEWAY)
    conf, secrets, problems = config.load()
    assert problems == []
    assert conf["buses"][0] == {"uart": 1, "baud": 9600, "format": "8N1", "echo": False}
    assert conf["meters"][0]["every"] == 60 and conf["meters"][1]["every"] == 5
    assert conf["uplinks"][0]["catchup"] == "json" and conf["uplinks"][0]["format"] == "openami"
    assert conf["clock"] == {"ntp": ["pool.ntp.org"]}
    assert secrets == {"uplinks": {}, "network": {}}


def test_every_problem_is_listed_at_once():
    def spoil(c):
        c["meters"][0]["profile"] = "no-such"
        c["meters"][1]["address"] = 1.5
        c["meters"][2]["address"] = 1
        c["uplinks"][0]["host"] = "bad host"
        c["buses"][1]["baud"] = "9600"
        c["gatewayID"] = "x"
        del c["gatewayId"]

    assert found(spoil, {"uplinks": {"other": {}}}) == [
        ("buses[1].baud", '"9600"', "1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200"),
        (
            "gatewayID",
            "unknown key",
            "board, buses, checks, clock, extras, feederId, gatewayId, health, intervals, mesh, meters, network,"
            " tlsConnections, uplinks, views",
        ),
        ("gatewayId", "nothing", "string 1..32 of A-Za-z0-9._-"),
        ("meters[0].profile", '"no-such"', "the name of a profile"),
        ("meters[1].address", "1.5", "integer 1..247"),
        ("meters[2].address", "1", "another than that of meters[0]"),
        ("secrets.uplinks.other", "unknown key", "the name of an uplink"),
        ("secrets.uplinks.other.username", "nothing", "string 1..256"),
        ("uplinks[0].host", '"bad host"', "string 1..253 of A-Za-z0-9.:-"),
    ]


def test_checks_and_intervals_are_on_with_one_word_and_off_without():
    put(GATEWAY)
    conf = config.load()[0]
    assert not [key for key in ("views", "checks", "intervals") if key in conf]
    put(dict(GATEWAY, checks={}, intervals={}, views=[{"points": ["1.8.0"]}, {"every": 900}]))
    conf, _, problems = config.load()
    assert problems == []
    assert conf["checks"] == {"amps": 100, "vMin": 184, "vMax": 264}
    assert conf["intervals"]["every"] == 900 and "32.7.0" in conf["intervals"]["points"]
    assert conf["views"] == [{"points": ["1.8.0"]}, {"every": 900}]


def test_what_views_checks_and_intervals_cannot_be_is_refused():
    assert found(lambda c: c.update({"checks": {"vMin": 264}})) == []  # one key by itself is good
    put(dict(GATEWAY, checks={"vMin": 264}))
    assert config.load()[2] == [("checks.vMin", "264", "less than checks.vMax, 264")]
    assert paths(found(lambda c: c.update({"checks": True}))) == ["checks"]
    assert paths(found(lambda c: c.update({"intervals": {"every": 7}}))) == ["intervals.every"]
    assert paths(found(lambda c: c.update({"views": []}))) == ["views"]
    assert paths(found(lambda c: c.update({"views": [{"points": []}]}))) == ["views[0].points"]
    assert paths(found(lambda c: c.update({"views": [{"every": 0}]}))) == ["views[0].every"]


def test_a_serial_a_uart_and_an_uplink_are_named_once():
    assert paths(found(lambda c: c["meters"][2].update({"serial": "SN-1"}))) == ["meters[2].serial"]
    assert paths(found(lambda c: c["buses"][1].update({"uart": 1}))) == ["buses[1].uart"]
    assert paths(found(lambda c: c["uplinks"].append(copy(c["uplinks"][0])))) == ["uplinks[1].name"]


def test_stored_frames_cannot_be_cut_so_binary_goes_not_with_a_filter():
    def spoil(c):
        c["uplinks"][0].update({"catchup": "binary", "filter": {"kinds": ["event"]}})

    assert found(spoil) == [("uplinks[0].catchup", '"binary"', "json beside a filter")]


def test_an_address_is_taken_once_a_bus():
    assert found(lambda c: c["meters"][2].update({"address": 1, "bus": 0})) == [
        ("meters[2].address", "1", "another than that of meters[0]")
    ]
    assert found(lambda c: c["meters"][2].update({"address": 2, "bus": 1})) == []


def test_an_address_may_come_again_on_a_bus_at_another_speed_but_not_in_another_format():
    def again(**port):
        return paths(found(lambda c: c["meters"][2].update(dict(port, address=1, bus=0))))

    assert again(baud=2400) == again(baud=2400, format="8E1") == []
    assert again(baud=9600) == again(format="8E1") == ["meters[2].address"]  # 9600 is that of the bus
    assert again(baud=300) == again(baud=[]) == again(baud="9600") == ["meters[2].baud"]
    assert again(baud=2400, format="7E1") == ["meters[2].format"]


def test_a_bus_is_one_that_is_there():
    assert found(lambda c: c["meters"][0].update({"bus": 2})) == [
        ("meters[0].bus", "2", "the index of one of the 2 buses")
    ]
    assert paths(found(lambda c: c.update({"buses": []}))) == ["meters[0].bus", "meters[1].bus", "meters[2].bus"]


def test_each_meter_with_an_unknown_profile_is_named():
    def spoil(c):
        c["meters"][0]["profile"] = c["meters"][2]["profile"] = "no-such"

    assert paths(found(spoil)) == ["meters[0].profile", "meters[2].profile"]


def test_a_broken_profile_is_named_once_with_what_is_wrong_in_it():
    PROFILES["eastron-sdm120"] = {"v": 1, "broken": 1}
    assert found(lambda c: c["meters"][2].update({"profile": "eastron-sdm120"})) == [
        ("profiles/eastron-sdm120.json: q[0][3]", '"f16"', "u16, s16")
    ]
    assert found(lambda c: c["meters"][0].update({"profile": "torn"})) == [
        ("profiles/torn.json", "broken JSON", "object")
    ]


def test_a_profile_of_an_unknown_protocol_is_named():
    PROFILES["toy-1"] = {"proto": "morse"}
    assert found(lambda c: None) == [("profiles/toy-1.json: proto", '"morse"', "the name of a protocol")]


def test_a_ratio_is_for_a_meter_whose_profile_has_it():
    def ratios(c):
        c["meters"][0].update({"ct": [200, 5], "pt": [110, 1]})

    allowed = "only with a profile whose `ratio` has it"
    assert found(ratios) == [("meters[0].ct", "array", allowed), ("meters[0].pt", "array", allowed)]
    PROFILES["eastron-sdm120"] = {"v": 2, "ratio": {"ct": ""}}
    assert found(ratios) == [("meters[0].pt", "array", allowed)]
    PROFILES["eastron-sdm120"] = {"v": 2, "ratio": {"ct": "", "pt": "0.4.3"}}
    assert found(ratios) == []
    for wrong, path in (([200], "ct"), ([5, 0], "ct[1]"), (40, "ct"), ([1, 1, 1], "ct"), ([1, 2000000], "ct[1]")):
        assert paths(found(lambda c, ct=wrong: c["meters"][0].update({"ct": ct}))) == ["meters[0]." + path], wrong


def test_wrong_types_anywhere_are_problems_and_no_exceptions():
    def leaves(value, path=()):
        """Return the ways to every value in `value`."""
        ways = [path] if path else []
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            ways += leaves(value[key], path + (key,))
        return ways

    for which, good in enumerate((GATEWAY, SECRETS)):
        for way in leaves(good):
            for wrong in (None, True, 1.5, -1, "\n", [[]], {"a": []}, [None], 10**20):
                pair = [copy(GATEWAY), copy(SECRETS)]
                at = pair[which]
                for key in way[:-1]:
                    at = at[key]
                at[way[-1]] = wrong
                right = wrong is True and way[-1] == "echo" or wrong == "\n" and way in FREE_TEXT
                assert right == (config.check(pair[0], pair[1], profile) == []), (way, wrong)
    for value in (None, True, 0, "x", []):
        assert len(config.check(value, value, profile)) == 2


def test_a_secret_is_never_shown():
    word = "hunter2hunter2"
    spoiled = (
        word, [word], {"uplinks": word}, {"uplinks": [word]}, {"uplinks": {"operator": word}},
        {"uplinks": {"operator": {"username": [word]}}}, {"uplinks": {"operator": {"password": word * 100}}},
        {"uplinks": {"operator": {"username": "a", "password": {"a": word}}}}, {"network": word},
        {"network": {"wifi": word}}, {"network": {"wifi": {"password": word * 5}}},
        {"uplinks": {"other": {"password": word}}},
        {"uplinks": {"operator": {"username": "a", "pasword": word}}}, {"password": word},
    )  # fmt: skip
    for secrets in spoiled:
        problems = config.check(copy(GATEWAY), secrets, profile)
        assert problems and word not in repr(problems), problems
    number = {"uplinks": {"operator": {"username": "a", "password": 12345678}}}
    assert config.check(copy(GATEWAY), number, profile) == [
        ("secrets.uplinks.operator.password", "(not shown)", "string 1..1024")
    ]
    for text in ('{"network": {"wifi": {"password": %s}}}' % word, '{"network": "%s' % word, word):
        put(GATEWAY, text)
        problems = config.load()[2]
        assert problems and word not in repr(problems), problems


def test_a_broken_brace_is_named_with_its_line():
    text = json.dumps(GATEWAY)
    for broken in (text[:-1], text + "}", text.replace("]", "}")):
        put("\n\n" + broken, SECRETS)
        conf, secrets, problems = config.load()
        assert conf is None and secrets is None
        assert len(problems) == 1 and problems[0][:2] == ("gateway.json", "broken JSON in line 3"), problems


def test_both_files_are_judged_even_when_secrets_are_broken():
    gateway = copy(GATEWAY)
    gateway["board"] = ""
    put(gateway, "{")
    assert paths(config.load()[2]) == ["board", "secrets.json"]


def test_no_file_and_no_last_good_one_leave_nothing_to_run():
    assert config.load() == (None, None, [("gateway.json", "nothing", "a configuration")])


def test_the_last_good_pair_stays_in_force():
    put(GATEWAY, SECRETS)
    good, secrets, problems = config.load()
    assert problems == [] and secrets == SECRETS
    for gateway, other in (("{", SECRETS), ({"board": "x"}, None), (None, None), ("", "{"), (GATEWAY, {"a": 1})):
        put(gateway, other)
        assert config.load()[:2] == (good, secrets), gateway
        assert config.load()[2] != []


def test_a_new_good_pair_replaces_the_last_one():
    put(GATEWAY, SECRETS)
    config.load()
    changed = copy(GATEWAY)
    changed["gatewayId"] = "pole-08"
    put(changed)
    conf, secrets, problems = config.load()
    assert (conf["gatewayId"], secrets["uplinks"], problems) == ("pole-08", {}, [])
    put("{")
    assert config.load()[0]["gatewayId"] == "pole-08"


def test_an_unchanged_pair_is_not_written_again():
    put(GATEWAY, SECRETS)
    config.load()
    files = sorted(os.listdir())
    for _ in range(3):
        config.load()
    assert sorted(os.listdir()) == files and len(files) == 3, files


def test_one_damaged_copy_of_the_last_good_pair_does_no_harm():
    for feeder in ("feeder-01", "feeder-02"):
        changed = copy(GATEWAY)
        changed["feederId"] = feeder
        put(changed)
        config.load()
    with open("config.1", "r+b") as file:
        file.write(b"\x00\x01\x02\x03")
    put("{")
    assert config.load()[0]["feederId"] == "feeder-01"


def test_a_member_of_a_mesh_has_its_keys_and_a_root_the_secret():
    def join(**mesh):
        return lambda c: c.update(mesh=dict(mesh, id=7))

    pole = {"mesh": {"site": 51234, "net": "0a" * 16, "node": "1b" * 16}}
    root = {"mesh": {"secret": "2c" * 32}}
    assert found(join(), pole) == [] and found(join(root=True), root) == []
    assert paths(found(join(), {})) == ["secrets.mesh.net", "secrets.mesh.node", "secrets.mesh.site"]
    assert paths(found(join(), root)) == ["secrets.mesh.net", "secrets.mesh.node", "secrets.mesh.site"]
    assert paths(found(join(root=True), pole)) == ["secrets.mesh.secret"]
    short = found(join(root=True), {"mesh": {"secret": "2c"}})
    assert short == [("secrets.mesh.secret", "(not shown)", "string 64..64 of 0-9a-f")]
    assert paths(found(join(channel=14), pole)) == ["mesh.channel"]


def test_the_mesh_sends_its_datagrams_to_an_address():
    def join(host):
        return found(lambda c: c.update(mesh={"id": 7, "transport": "udp", "host": host}), {"mesh": pole})

    pole = {"site": 51234, "net": "0a" * 16, "node": "1b" * 16}
    assert join("192.168.4.255") == [] and join("10.0.0.1") == []
    assert join("999.1.1.1") == [("mesh.host", '"999.1.1.1"', "an IPv4 address")]
    for host in ("1.2.3.256", "1.2.3..4", "1.2.3.4.5", "1.2.3.4.", "10.20.30", "........"):
        assert paths(join(host)) == ["mesh.host"], host


def test_a_last_good_pair_that_this_firmware_would_refuse_is_not_used():
    put(GATEWAY, SECRETS)
    config.load()
    del PROFILES["abb-b23"]
    put("{")
    assert config.load()[:2] == (None, None)


def test_a_good_pair_that_cannot_be_kept_is_in_force_all_the_same():
    def refuse(name, data):
        raise OSError(28)

    save, twin.save = twin.save, refuse
    put(GATEWAY, SECRETS)
    conf, secrets, problems = config.load()
    twin.save = save
    assert conf["gatewayId"] == "pole-07" and secrets == SECRETS
    assert paths(problems) == ["config"]


def test_a_file_that_is_too_large_for_the_memory_is_refused():
    put(GATEWAY, SECRETS)
    config.load()
    put("[" + "1," * 20000 + "1]")
    conf, _, problems = config.load()
    assert conf["gatewayId"] == "pole-07"
    assert problems == [("gateway.json", "too much for the memory", "a smaller one")]


HEAP = {"test_a_file_that_is_too_large_for_the_memory_is_refused": "256k"}
