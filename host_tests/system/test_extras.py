"""A gateway with all that a board may have: the card holds what is stored, and a supply that fails costs no record."""

import csv
import json
import subprocess
import time

from meshems.logs import HEADS, Names, Store, read, rows
from meshems.run import interpreter
from mp_plugin import environment
from pole import Pole

FORMAT = """
import machine, vfs
with open("sd.img", "wb") as file:
    for _ in range(2000):
        file.write(bytes(512))
vfs.VfsFat.mkfs(machine.SDCard(slot=0, sck=41, cmd=40, data=(10,)))
"""
SHOW = """
import machine, os, vfs
vfs.mount(vfs.VfsFat(machine.SDCard(slot=0, sck=41, cmd=40, data=(10,))), "/sd")
for name in sorted(os.listdir("/sd/GATEWAY")):
    with open("/sd/GATEWAY/" + name) as file:
        print(file.read(), end="")
"""


def until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def script(pole, text):
    here = environment(pole.state)
    done = subprocess.run([interpreter(), "-c", text], cwd=pole.state, env=here, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def stored(pole):
    """Return the rows of `meshems logs` of the journal as it is."""
    image = pole.state / "flash/journal.bin"
    names = Names.beside(image)
    records = Store(read(image)[0], names).records()
    return [[str(field) for field in row] for record in records for row in rows(record, names)]


def kinds(pole):
    return [row[HEADS.index("kind")] for row in stored(pole)]


def test_the_card_holds_what_is_stored_and_a_failing_supply_is_told_before_it_is_gone(tmp_path):
    extras = {"extras": {"led": True, "sd": True, "powerFail": True}}
    pole = Pole(tmp_path, [{"name": "operator", "port": 9}], more=extras)
    script(pole, FORMAT)
    pins = pole.state / "pins.json"
    with pole:
        until(lambda: pole.said("sd: ok"))
        pins.write_text('{"8": 0}')
        until(lambda: pole.said("power: fails"))
        pole.gateway.kill()
        assert kinds(pole)[-1] == "power_fail"
        pins.write_text('{"8": 1}')
        pole.gateway.start()
        until(lambda: kinds(pole).count("restarted") == 2)
        pins.write_text('{"8": 0}')
        until(lambda: kinds(pole).count("power_fail") == 2)
        pins.write_text('{"8": 1}')
        until(lambda: "power_restore" in kinds(pole))
        until(lambda: "power_restore" in (pole.state / "sd.img").read_bytes().decode("latin1"))
        assert not pole.said("died") and not pole.said("shows no life")
    name = json.loads(pole.source.read_text())["gatewayId"]
    head, *card = csv.reader(script(pole, SHOW.replace("GATEWAY", name)).splitlines())
    assert tuple(head) == HEADS
    told = [row for row in stored(pole) if row[HEADS.index("ts")]]
    assert [row for row in card if row[0].isdigit()] == told[: len(card)] and len(card) >= 4
