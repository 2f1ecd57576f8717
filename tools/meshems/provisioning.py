"""The work of `meshems provision`: a board with firmware on it becomes one gateway of a site.

    plan = Plan.of_site(Path("site.toml"), "pole-07")
    done = carry_out(plan, "/dev/ttyACM0", print)

The order makes it safe: the new files are written beside the old ones, hashed, judged on the board by its own rules,
and come into force by one renaming (gateway/incoming). Whatever breaks off before it, the old configuration stays.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

from meshems import paths
from meshems.remote import RemoteError, Session, Told

BUILT = 1767225600  # 2026-01-01: the firmware believes no time before it
MANUAL = 2  # place of "manual" in gateway/clock SOURCES
DESK_MS = 500  # how well the clock of the installer's computer is set
TEST_S = 100.0  # a broker that does not answer is waited for that long
SECRETS = "secrets.json"

FACTS = """
import json, machine, os, sys
from binascii import hexlify
from hashlib import sha256
from gateway import VERSION, data
def digest(name):
    try:
        with data.open_data("profiles/%s.json" % name) as file:
            return hexlify(sha256(file.read().encode()).digest()).decode()
    except OSError:
        pass
try:
    with open("gateway.json") as file:
        gateway = json.load(file)["gatewayId"]
except (OSError, ValueError, KeyError):
    gateway = None
free = os.statvfs(os.getcwd())
print(json.dumps({
    "board": data.load("board.json")["name"], "firmware": VERSION, "python": sys.version, "gateway": gateway,
    "id": hexlify(machine.unique_id()).decode(), "free": free[0] * free[3],
    "profiles": {name: digest(name) for name in NAMES},
}))
"""
PROFILE = """
import json
from gateway import data
with data.open_data("profiles/NAME.json") as file:
    print(json.dumps([file.read()]))
"""
TICKS = "import json, time\nprint(json.dumps({'ticks': time.ticks_ms()}))"
CLOCK = """
import esp32, json, time
from gateway import build, clock, data
now = clock.Clock(build.rtcs(data.load("board.json")), esp32.NVS("gw"))
moved = now.set(UNIX_MS + time.ticks_diff(time.ticks_ms(), TICKS), SOURCE, BOUND)
print(json.dumps({"moved": moved}))
"""
# What an earlier call has put into force lands before anything is written over it; what it left in the middle goes.
CLEAR = """
import json, os
from gateway import incoming
incoming.land()
for name in os.listdir():
    if name.startswith("new."):
        os.remove(name)
print(json.dumps([]))
"""
TAKE = """
import json
from gateway import incoming
print(json.dumps(incoming.take(NAMES)))
"""
# Judged, and not kept: that is for the gateway itself to do, which tells of the change when it starts.
JUDGED = """
import json
from gateway import config
from lib import once
texts = []
for name in ("gateway.json", "secrets.json"):
    with open(name, "rb") as file:
        texts.append(file.read())
conf, secrets, problems = config.read(texts[0], texts[1], config.profile)
for name in ("gateway.config", "lib.schema", "lib.strictjson"):
    once.forget(name)
"""
FORCE = JUDGED + "print(json.dumps({'gateway': conf and conf['gatewayId'], 'problems': len(problems)}))"
TEST = JUDGED + """
import asyncio, gc
from gateway import selftest
del texts
gc.collect()
asyncio.run(selftest.run(conf, secrets, lambda row: print(json.dumps(row))))
"""
NEXT = {
    "flash": "flash the firmware again; if it stays so the board is broken",
    "journal": "flash the firmware with its partition table: `meshems flash --port PORT --board NAME --erase journal`",
    "clock": "look at the RTC's battery and its I2C wires, then provision again",
    "radio": "reset the board and provision again; if it stays so the board is broken",
    "network": "look at the cable or the antenna, and at `network` in site.toml",
    "bus": "look at `board` in site.toml, and write `echo` of the bus as it was found",
    "meter": "look at A and B, at the meter's supply, address and speed; `meshems scan --device` finds who is there",
    "uplink": "look at `uplinks` in site.toml, at the user name and password, and at the way to the net",
}

Say = Callable[[str], None]


@dataclass
class Plan:
    """What a board is to become. `files` are those of its root folder, `profiles` what its meters stand on."""

    gateway: str
    feeder: str
    board: str
    meters: int
    files: dict[str, bytes]
    profiles: dict[str, bytes]

    @classmethod
    def of(cls, config: Mapping[str, Any], secrets: Mapping[str, Any], more: Mapping[str, bytes]) -> "Plan":
        """Return the plan of a good configuration; `more` are its certificates."""
        files = {"gateway.json": json.dumps(config).encode(), SECRETS: json.dumps(secrets).encode(), **more}
        profiles = {}
        for meter in config["meters"]:
            profiles[meter["profile"]] = (paths.PROFILES / f"{meter['profile']}.json").read_bytes()
        return cls(
            config["gatewayId"], config["feederId"], config["board"], len(config["meters"]), files, profiles
        )  # fmt: skip

    @classmethod
    def of_site(cls, file: Path, gateway: str) -> "Plan":
        """Return the plan of one gateway of a site; Refused with every problem."""
        from meshems.site import Site, SiteError

        try:
            site = Site.load(file)
        except SiteError as error:
            raise Refused([str(error)]) from None
        problems = [str(problem) for problem in site.problems()]
        if problems:
            raise Refused(problems)
        if gateway not in site.names:
            raise Refused([f"{file}: gateways: found no {gateway}, allowed {', '.join(site.names) or '(none yet)'}"])
        more = {path.name: path.read_bytes() for path in site.files(gateway)}
        return cls.of(site.config(gateway), site.secrets(gateway), more)

    @classmethod
    def of_files(cls, file: Path) -> "Plan":
        """Return the plan of a gateway.json with the secrets.json beside it; Refused with every problem."""
        paths.share_firmware()
        from gateway import config as rules

        secrets = file.with_name(SECRETS)
        raw = file.read_bytes(), secrets.read_bytes() if secrets.exists() else b"{}"
        good, _, problems = rules.read(*raw, rules.profile)
        if problems:
            raise Refused([f"{file}: {path}: found {found}, allowed {allowed}" for path, found, allowed in problems])
        names = [uplink["tls"]["ca"] for uplink in good["uplinks"] if "tls" in uplink]
        more = {name: file.with_name(name).read_bytes() for name in names}
        return cls.of(json.loads(raw[0]), json.loads(raw[1]), more)


class Refused(Exception):
    """A configuration with problems; each a line: where, what was found, what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass
class Done:
    """A commissioning: what the record and the label say. `tests` are the results of gateway/selftest."""

    gateway: str
    feeder: str
    board: str
    id: str
    firmware: str
    python: str
    config: str
    time: datetime
    installer: str
    clock_ms: int | None  # by how much the board's clock was moved; None when it did not know the time
    bound_ms: int
    tests: list[Told] = field(default_factory=list)

    @property
    def failed(self) -> list[Told]:
        return [row for row in self.tests if not row["ok"]]


def carry_out(
    plan: Plan, port: str, say: Say, *, installer: str = "", test: bool = True, replace: bool = False,
    tell: Callable[[Told], None] = lambda row: None,
) -> Done:  # fmt: skip
    """Make the board at `port` the gateway of `plan`; `tell` gets each result of its self-test.

    Raises RemoteError, after which the board has the old configuration, or the new one as a whole; Refused when the
    board's own firmware refuses it.
    """
    with Session(port) as board:
        facts = board.ask(FACTS.replace("NAMES", repr(list(plan.profiles))))
        _fits(plan, port, facts, replace)
        say(f"{facts['board']} {facts['id']}, firmware {facts['firmware']}")
        profiles = [_profile(plan, board, name, facts["profiles"][name]) for name in plan.profiles]
        moved, bound = set_clock(board)
        say("clock set" + (f", it was {abs(moved)} ms {'slow' if moved > 0 else 'fast'}" if moved else ""))
        board.ask(CLEAR)
        for name, data in plan.files.items():
            board.write("new." + name, data)
        problems = board.ask(TAKE.replace("NAMES", repr(list(plan.files))))
        if problems:
            raise Refused([
                f"{port}: the board's firmware {facts['firmware']} refuses {path}: found {found}, allowed {allowed}"
                for path, found, allowed in problems
            ])  # fmt: skip
        force = board.ask(FORCE)
        if force["gateway"] != plan.gateway or force["problems"]:
            raise RemoteError(f"{port}: found {force} in force, expected {plan.gateway}; provision it again")
        mark = mark_of(facts["firmware"], [plan.files["gateway.json"], plan.files[SECRETS], *profiles])
        say(f"configuration {mark} in force: {plan.meters} meters")
        done = Done(
            plan.gateway, plan.feeder, facts["board"], facts["id"], facts["firmware"], facts["python"],
            mark, datetime.now(timezone.utc), installer, moved, bound,
        )  # fmt: skip
        if test:
            for row in board.said(TEST, TEST_S):
                done.tests.append(row)
                tell(row)
    return done


def _fits(plan: Plan, port: str, facts: Told, replace: bool) -> None:
    """Raise RemoteError when this is another board than the one that is meant."""
    if facts["board"] != plan.board:
        raise RemoteError(
            f"{port}: found a board of the kind {facts['board']}, expected {plan.board} for {plan.gateway}; "
            f"connect that one, or write {facts['board']} as its `board`"
        )
    if facts["gateway"] not in (None, plan.gateway) and not replace:
        raise RemoteError(
            f"{port}: found the gateway {facts['gateway']} on this board, expected {plan.gateway} or none; connect the "
            f"right one, or give --replace: what its journal still holds is then sent as {plan.gateway}"
        )
    room = sum(map(len, plan.files.values())) * 3 + (64 << 10)  # the files, and two copies of what was judged
    if facts["free"] < room:
        raise RemoteError(f"{port}: found {facts['free']} bytes free, expected {room}; remove what is not needed there")


def mark_of(firmware: str, texts: Sequence[bytes]) -> str:
    """Return the mark of a configuration as the gateway tells it (gateway/parsed): `config` of its own telemetry."""
    mark = crc32(firmware.encode())
    for text in texts:
        mark = crc32(text, crc32(b"\0", mark))
    return f"{mark:08x}"


def _profile(plan: Plan, board: Session, name: str, digest: str | None) -> bytes:
    """See to it that the board has the profile: one that is missing is added, another one is not replaced.

    Return it as the board has it.
    """
    ours = plan.profiles[name]
    if digest is None:
        board.ask("import json, os\nif 'profiles' not in os.listdir(): os.mkdir('profiles')\nprint(json.dumps([]))")
        board.write(f"profiles/{name}.new", ours)
        board.ask(f"import json, os\nos.rename('profiles/{name}.new', 'profiles/{name}.json')\nprint(json.dumps([]))")
    elif digest != sha256(ours).hexdigest():
        [theirs] = board.ask(PROFILE.replace("NAME", name))
        if json.loads(theirs) != json.loads(ours):
            raise RemoteError(
                f"{board.port}: found another profile {name} on the board, expected the one of this checkout; "
                f"`meshems flash --port {board.port} --board {plan.board}` puts it there"
            )
        return str(theirs).encode()
    return ours


def set_clock(board: Session) -> tuple[int | None, int]:
    """Set the clock of a board by ours; return (by how many ms it moved, None when it had no time; its bound in ms)."""
    if time.time() < BUILT:
        raise RemoteError(f"this computer's clock says {datetime.now():%Y-%m-%d}, expected 2026 or later; set it first")
    before = time.time()
    ticks = board.ask(TICKS)["ticks"]
    after = time.time()
    bound = int((after - before) * 500) + 1 + DESK_MS
    program = CLOCK.replace("UNIX_MS", str(int((before + after) * 500))).replace("TICKS", str(ticks))
    return board.ask(program.replace("SOURCE", str(MANUAL)).replace("BOUND", str(bound)))["moved"], bound


def next_of(row: Told) -> str:
    """Return what to do about a test that failed."""
    return NEXT[row["test"].partition(" ")[0]]


def result(done: Done, files: Mapping[str, Path]) -> Told:
    """Return a commissioning as --json tells it."""
    return {
        "gatewayId": done.gateway, "feederId": done.feeder, "board": done.board, "id": done.id,
        "firmware": done.firmware, "micropython": done.python, "config": done.config,
        "time": f"{done.time:%Y-%m-%dT%H:%M:%SZ}", "installer": done.installer,
        "clock": {"movedMs": done.clock_ms, "boundMs": done.bound_ms},
        "tests": [row if row["ok"] else {**row, "next": next_of(row)} for row in done.tests],
        "files": {kind: str(path) for kind, path in files.items()},
    }  # fmt: skip
