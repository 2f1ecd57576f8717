"""gateway/parsed: a configuration is judged again when, and only when, something that it stands on has changed."""
import json
import os
import sys

from gateway import build, parsed
from lib import twin

CONFIG = {
    "feederId": "f", "gatewayId": "g", "board": "desktop", "buses": [{"uart": 1}], "uplinks": [],
    "meters": [{"serial": "A", "bus": 0, "address": 1, "profile": "mine"}],
}  # fmt: skip
PROFILE = {
    "v": 1, "id": "mine", "n": "mine", "ph": 1, "ser": ["9600N1"], "lim": [32, 1, 20, 500], "blk": [[3, 0, 2, 1]],
    "q": [["1.8.0", 0, 0, "u32", -2, "kWh"]], "conf": "L",
}  # fmt: skip


def write(name, value):
    with open(name, "w") as file:
        json.dump(value, file)


def setup():
    for folder in ("data", "data/profiles"):
        try:
            os.mkdir(folder)
        except OSError:
            pass
    if "data" not in sys.path:
        sys.path.insert(0, "data")  # the current folder is not on the path of every board
    write("gateway.json", CONFIG)
    write("secrets.json", {})
    write("data/profiles/mine.json", PROFILE)
    assert build.configuration()[2] == 0


def test_what_was_judged_good_is_not_judged_again():
    setup()
    conf, secrets = parsed.load()
    assert conf["meters"][0]["every"] == 60 and secrets["uplinks"] == {}
    before = set(sys.modules)
    assert build.configuration() == (conf, secrets, 0)
    assert set(sys.modules) == before and "lib.schema" not in before


def test_a_change_of_any_file_is_judged():
    changed = (
        ("gateway.json", dict(CONFIG, gatewayId="h"), 0),
        ("gateway.json", dict(CONFIG, gatewayId=""), 1),
        ("secrets.json", {"uplinks": {"x": {"username": "u"}}}, 1),
        ("data/profiles/mine.json", dict(PROFILE, blk=[[3, 0, 4, 1]]), 0),
        ("data/profiles/mine.json", dict(PROFILE, blk=[[3, 0, 1, 1]]), 1),
    )
    for name, value, problems in changed:
        setup()
        write(name, value)
        assert parsed.load() is None, name
        found = build.configuration()
        assert found[2] == problems, (name, found)


def test_a_profile_that_broke_is_named_again_at_each_start():
    setup()
    write("data/profiles/mine.json", dict(PROFILE, blk=[[3, 0, 200, 1]]))
    for _ in range(2):
        assert build.configuration()[2] > 0


def test_another_firmware_judges_anew():
    setup()
    parsed.VERSION = "0.2.0"
    assert parsed.load() is None


def test_damaged_copies_are_as_none():
    setup()
    for name in ("parsed.0", "parsed.1"):
        with open(name, "wb") as file:
            file.write(b"junk")
    assert twin.load("parsed") is None and parsed.load() is None


def test_a_verdict_that_cannot_be_kept_does_not_stop_the_start():
    save = twin.save

    def refuse(name, data):
        if name == "parsed":
            raise OSError(28)
        save(name, data)

    setup()
    write("gateway.json", dict(CONFIG, gatewayId="h"))
    twin.save = refuse
    conf, _, problems = build.configuration()
    twin.save = save
    assert conf["gatewayId"] == "h" and problems == 0 and parsed.load() is None
    assert build.configuration()[2] == 0 and parsed.load()


def changes():
    """Start anew; return the events of what has changed since the start before."""
    build._changes.clear()
    assert build.configuration()[2] == 0
    return [(code, sorted(detail)) for code, detail in build._changes]


def test_a_change_is_an_event_once_and_the_first_configuration_is_none():
    for name in ("parsed.0", "parsed.1", "config.0", "config.1"):
        try:
            os.remove(name)
        except OSError:
            pass
    setup()
    assert build._changes == [] and changes() == []
    config = [("config_changed", ["before", "config"])]
    for name, value in (
        ("gateway.json", dict(CONFIG, gatewayId="h")), ("secrets.json", {"uplinks": {}}),
        ("data/profiles/mine.json", dict(PROFILE, blk=[[3, 0, 4, 1]])),
    ):  # fmt: skip
        write(name, value)
        before = parsed.kept()[0]
        assert changes() == config, name
        assert build._changes[0][1] == {"config": "%08x" % parsed.kept()[0], "before": "%08x" % before}
        assert changes() == []
    write("gateway.json", dict(CONFIG, gatewayId=""))  # refused: the old one stays
    build._changes.clear()
    assert build.configuration()[2] == 1 and build._changes == []


def test_another_firmware_is_an_event_and_with_another_configuration_both_are():
    setup()
    build._changes.clear()
    parsed.VERSION = "0.2.0"
    assert changes() == [("firmware_changed", ["before", "firmware"])]
    assert build._changes[0][1] == {"firmware": "0.2.0", "before": "0.1.0"}
    parsed.VERSION = "0.3.0"
    write("gateway.json", dict(CONFIG, gatewayId="k"))
    assert [code for code, _ in changes()] == ["firmware_changed", "config_changed"]


def test_what_an_older_firmware_kept_is_understood():
    setup()
    conf, secrets = parsed.load()
    twin.save("parsed", json.dumps([1, conf, secrets]).encode())
    assert parsed.load() is None and parsed.kept() == (1, secrets)
    assert [code for code, _ in changes()] == ["firmware_changed"]
