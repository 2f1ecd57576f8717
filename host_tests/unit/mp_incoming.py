"""A change of the configuration on littlefs, as on the chip: the power goes at every single program and erase of it.

What is in force afterwards is the old configuration or the new one, with its secrets and its certificate: no mixture.
"""
import gc
import json
import os

import vfs

from gateway import build, incoming, log
from mp_twin_littlefs import Flash

HEAP = {
    "test_power_cut_at_any_operation_of_a_change_leaves_the_old_one_or_the_new_one": "4M",
    "test_power_cut_at_any_operation_of_the_next_start_too": "4M",
    "test_power_cut_at_any_operation_of_the_very_first_one_leaves_nothing_or_all": "4M",
    "test_a_change_written_over_the_files_themselves_is_the_old_pair_until_it_is_a_good_one": "4M",
}
TIMEOUT = {
    "test_power_cut_at_any_operation_of_a_change_leaves_the_old_one_or_the_new_one": 300,
    "test_power_cut_at_any_operation_of_the_next_start_too": 300,
    "test_power_cut_at_any_operation_of_the_very_first_one_leaves_nothing_or_all": 300,
}
NAMES = ["gateway.json", "secrets.json", "ca.der"]
METER = {"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120"}


def files(mark, meters=2):
    """Return {name: bytes} of a configuration in which each file bears the mark."""
    config = {
        "feederId": "feeder-" + mark, "gatewayId": "pole-07", "board": "desktop", "buses": [{"uart": 1}],
        "meters": [dict(METER, serial="%s-%d" % (mark, i), address=i + 1) for i in range(meters)],
        "uplinks": [{"name": "operator", "kind": "mqtt", "host": mark, "tls": {"ca": "ca.der"}}],
    }  # fmt: skip
    secrets = {"uplinks": {"operator": {"username": mark, "password": "of " + mark}}}
    return {
        "gateway.json": json.dumps(config).encode(), "secrets.json": json.dumps(secrets).encode(),
        "ca.der": b"\x30" + mark.encode() * 90,
    }  # fmt: skip


OLD, NEW = files("old"), files("new", 9)


def mount(flash):
    vfs.mount(vfs.VfsLfs2(flash), "/flash")
    os.chdir("/flash")


def umount():
    os.chdir("/")
    vfs.umount("/flash")


def put(given, prefix=""):
    for name in sorted(given):
        with open(prefix + name, "wb") as file:
            for at in range(0, len(given[name]), 256):  # as it comes over a serial line
                file.write(given[name][at : at + 256])


def change(given):
    """What commissioning does."""
    put(given, "new.")
    return incoming.take(NAMES)


def start():
    """Start as a gateway does; return the mark of what is in force, None when nothing is."""
    conf, secrets, _ = build.configuration()
    if conf is None:
        return None
    with open("ca.der", "rb") as file:
        authority = file.read()
    mark = conf["feederId"][7:]
    assert conf["uplinks"][0]["host"] == mark and secrets["uplinks"]["operator"]["password"] == "of " + mark
    assert authority == {"old": OLD, "new": NEW}[mark]["ca.der"], "a certificate of another configuration"
    return mark


def flashed(given):
    """Return a flash on which this configuration has been in force."""
    log.error = log.warn = lambda area, text: None
    flash = Flash(64)
    vfs.VfsLfs2.mkfs(flash)
    mount(flash)
    if given:
        put(given)
        start()
    umount()
    return flash


def attempt(flash, job):
    """Run `job` on the flash as it is; return what it did, or "cut"."""
    mount(flash)
    try:
        done = job()
    except OSError:
        done = "cut"
    if flash.cut is not None and flash.done > flash.cut:
        done = "cut"  # a gateway runs on when it cannot keep something
    gc.collect()  # files that were open when the power went are closed now, and not into the next life of the flash
    flash.cut = None
    umount()
    return done


def cuts(flash, job, check):
    """Cut `job` at each of its operations; `check(done)` each time on the flash that this leaves. Return how many."""
    before = bytes(flash.data)
    count = 0
    while True:
        flash.data[:] = before
        flash.done, flash.cut = 0, count
        done = attempt(flash, job)
        check(done)
        if done != "cut":
            return count
        count += 1


def test_power_cut_at_any_operation_of_a_change_leaves_the_old_one_or_the_new_one():
    flash = flashed(OLD)
    seen = []

    def job():
        change(NEW)
        return start()

    def check(done):
        mark = attempt(flash, start)
        assert mark == "new" if done != "cut" else mark in ("old", "new")
        seen.append(mark)
        assert attempt(flash, lambda: [change(OLD), start()]) == [[], "old"]  # and the next change goes as ever

    count = cuts(flash, job, check)
    assert count > 40 and seen == sorted(seen, reverse=True), seen  # from one moment on it is the new one
    assert "old" in seen and seen.index("new") < count


def test_power_cut_at_any_operation_of_the_next_start_too():
    flash = flashed(OLD)
    seen = set()

    def again(done):
        assert attempt(flash, start) == "new"
        seen.add(done)

    def check(done):
        if "incoming" in attempt(flash, os.listdir):  # it was cut while the files went to their places
            cuts(flash, start, again)

    cuts(flash, lambda: change(NEW), check)
    assert seen == {"cut", "new"}


def test_power_cut_at_any_operation_of_the_very_first_one_leaves_nothing_or_all():
    flash = flashed(None)
    seen = set()

    def check(done):
        mark = attempt(flash, start)
        assert mark == "new" if done != "cut" else mark in (None, "new")
        seen.add(mark)

    cuts(flash, lambda: [change(NEW), start()][1], check)
    assert seen == {None, "new"}


def test_what_is_refused_leaves_nothing_behind():
    flash = flashed(OLD)
    bad = dict(NEW)
    bad["gateway.json"] = bad["gateway.json"].replace(b'"address": 1', b'"address": 0')
    assert attempt(flash, lambda: change(bad)) == [("meters[0].address", "0", "integer 1..247")]
    assert not [name for name in attempt(flash, os.listdir) if name.startswith(("new.", "incoming"))]
    assert attempt(flash, start) == "old"


def test_a_file_that_was_not_sent_is_missed_before_anything_is_in_force():
    flash = flashed(OLD)

    def job():
        put({name: NEW[name] for name in ("gateway.json", "secrets.json")}, "new.")
        incoming.take(NAMES)

    assert attempt(flash, job) == "cut"  # the OSError of the missing file
    assert attempt(flash, start) == "old"


def test_a_change_written_over_the_files_themselves_is_the_old_pair_until_it_is_a_good_one():
    flash = flashed(OLD)
    seen = set()

    def job():
        put({"gateway.json": NEW["gateway.json"]})
        return start()

    def start():
        conf, _, _ = build.configuration()
        return conf and conf["feederId"][7:]

    def check(done):
        mark = attempt(flash, start)
        assert mark == "new" if done != "cut" else mark in ("old", "new")
        seen.add(mark)

    cuts(flash, job, check)
    assert seen == {"old", "new"}
