"""A protocol that the firmware has never seen, in a folder of its own: through the whole gateway, unchanged."""

import json
import os
import select
import subprocess
import threading
import tty

import pytest

from meshems import paths
from meshems.run import install
from mosquitto import Broker
from mp_plugin import environment, micropython
from subscriber import Subscriber

# Lines of text, and no register numbers: "7?energy" is answered by "7=1234.5", a word that nobody knows by "7!".
TOY = '''
import time
from array import array

from lib import proto
from lib.proto.toy import words

NAME = "toy"
POINT = "obis word unit"
ACTIONS = ()


class Batch:
    every = 1

    def __init__(self, rows):
        self.words = [row[1] for row in rows]
        self.size = len(rows)
        self.points = "".join(["\\n%s %s -3" % (row[0], row[2]) for row in rows])


def check(profile):
    if isinstance(profile.get("say"), list):
        return []
    return [("say", "nothing", "a list of [OBIS, word, unit]")]


def plan(profile):
    return [Batch(profile["say"])]


async def session(media, link, secrets):
    return Session(media, link["address"])


class Session:
    def __init__(self, media, address):
        self.counts = array("I", [0] * len(proto.NAMES))
        self.answered_ms = 0
        self._media = media
        self._address = address

    async def read(self, batch):
        values = []
        async with self._media.lock:
            for word in batch.words:
                try:
                    values.append(await self._ask(word))
                    self.counts[proto.OK] += 1
                except proto.Fault as fault:
                    values.append(fault)
                    self.counts[fault.kind] += 1
        return values

    async def _ask(self, word):
        media = self._media
        await media.drop()
        await media.write(b"%d?%s\\n" % (self._address, word.encode()))
        line = b""
        while not line.endswith(b"\\n"):
            if not await media.read(media.buf, 1, 300):
                raise proto.Fault(proto.TIMEOUT)
            line += bytes(media.buf[:1])
        self.answered_ms = time.ticks_ms()
        return words.value(line, self._address)
'''
WORDS = '''
from lib.proto import ABSENT, FRAME, Fault


def value(line, address):
    start = b"%d" % address
    if line == start + b"!\\n":
        raise Fault(ABSENT)
    if not line.startswith(start + b"="):
        raise Fault(FRAME)
    whole, _, part = line[len(start) + 1 : -1].decode().partition(".")
    return int(whole + (part + "000")[:3])
'''
PROFILE = {
    "proto": "toy", "id": "toy-meter",
    "say": [["1.8.0", "energy", "kWh"], ["32.7.0", "volts", "V"], ["14.7.0", "cycles", "Hz"]],
}  # fmt: skip
SAYS = {"energy": "1234567.125", "volts": "229.5"}  # and knows nothing of cycles


class TextMeter:
    """The meter at a pseudo-terminal."""

    def __init__(self, link):
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.symlink(os.ttyname(self._slave), link)
        self._on = True
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._on = False
        self._thread.join()
        os.close(self._slave)
        os.close(self._master)

    def _serve(self):
        heard = b""
        while self._on:
            if select.select([self._master], [], [], 0.05)[0]:
                *lines, heard = (heard + os.read(self._master, 512)).split(b"\n")
                for line in lines:
                    address, _, word = line.decode().partition("?")
                    if address == "7":
                        answer = f"7={SAYS[word]}\n" if word in SAYS else "7!\n"
                        os.write(self._master, answer.encode())


@pytest.fixture
def folder(tmp_path):
    """What somebody adds: a protocol and a profile, outside the firmware."""
    added = tmp_path / "added"
    (added / "lib/proto/toy").mkdir(parents=True)
    (added / "lib/proto/toy/__init__.py").write_text(TOY)
    (added / "lib/proto/toy/words.py").write_text(WORDS)
    (added / "profiles").mkdir()
    (added / "profiles/toy-meter.json").write_text(json.dumps(PROFILE))
    return added


def path(*folders):
    return ":".join(map(str, (paths.BOARDS / "desktop", *folders, ".frozen")))


def test_a_protocol_of_text_lines_is_read_through_the_whole_gateway(tmp_path, folder):
    state = tmp_path / "state"
    (state / "flash").mkdir(parents=True)
    with Broker(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        (state / "gateway.json").write_text(json.dumps({
            "feederId": "feeder-01", "gatewayId": "pole-1", "board": "desktop", "buses": [{"uart": 1}],
            "meters": [
                {"serial": "TOY-1", "bus": 0, "address": 7, "profile": "toy-meter", "every": 1},
                {"serial": "TOY-2", "bus": 0, "address": 8, "profile": "toy-meter", "every": 1},
            ],
            "uplinks": [{"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": broker.port}],
            "clock": {"ntp": []},
        }))  # fmt: skip
        install(state / "gateway.json", state)
        with TextMeter(tmp_path / "line"):
            gateway = subprocess.Popen(
                [micropython(), str(paths.FIRMWARE / "main.py")], cwd=state, stdin=subprocess.DEVNULL,
                env=os.environ | {"MICROPYPATH": path(paths.FIRMWARE, folder), "MESHEMS_UART1": str(tmp_path / "line")},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            try:
                arrived = subscriber.wait(
                    lambda: len(subscriber.bodies("event")) > 1 and len(subscriber.bodies("telemetry")) > 4, 30
                )
            finally:
                gateway.terminate()
                said = gateway.communicate(timeout=10)[0]
    assert arrived, said
    readings = {body["meterSerial"]: body for body in subscriber.bodies("telemetry")}
    rows = {row["obis"]: (row["value"], row["unit"]) for row in readings["TOY-1"]["registers"]}
    assert rows == {"1.8.0": (1234567.125, "kWh"), "32.7.0": (229.5, "V"), "96.5.0": (0, "bitfield")}
    assert [row["obis"] for row in readings["TOY-2"]["registers"]] == ["96.5.0"]
    event, = [body for body in subscriber.bodies("event") if body["event"]["code"] != "restarted"]
    assert (event["meterSerial"], event["event"]["code"]) == ("TOY-2", "comms_lost")


def test_a_profile_that_its_protocol_refuses_names_the_place(tmp_path, folder):
    (folder / "profiles/toy-meter.json").write_text(json.dumps(dict(PROFILE, say=1)))
    program = (
        "from gateway import config\n"
        "meter = {'serial': 'x', 'bus': 0, 'address': 7, 'profile': 'toy-meter'}\n"
        "print([p for p in config.check({'meters': [meter]}, {}, config.profile) if 'toy' in p[0]])"
    )
    done = subprocess.run(
        [micropython(), "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True,
        env=environment(tmp_path) | {"MICROPYPATH": path(paths.FIRMWARE, folder)},
    )  # fmt: skip
    assert done.stdout.strip() == "[('profiles/toy-meter.json: say', 'nothing', 'a list of [OBIS, word, unit]')]"
