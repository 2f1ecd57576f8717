"""Everything that can happen between a gateway and two operators, at random: nothing is lost, nothing out of order.

    .venv/bin/python host_tests/system/chaos.py --minutes 30 --seed 7

Four meters read every second, one outlet with TLS and one without, each through a proxy to a mosquitto of its own. No
boot counts as short, or most of them would store nothing, as a boot loop does (docs/architecture.md).
"""

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from meshems import paths  # noqa: E402

paths.share_firmware()

from meshems.benches.uplink_certs import Authority  # noqa: E402
from meshems.benches.uplink_proxy import Proxy  # noqa: E402
from mosquitto import Broker  # noqa: E402
from pole import cut  # noqa: E402
from subscriber import Subscriber  # noqa: E402
from test_gateway import Village  # noqa: E402
from test_uplink import Tls  # noqa: E402

DRAIN_S = 150  # the back-off may have grown to 120 s; a gateway that starts again has none
OUTLETS = ("first", "second")


@dataclass
class Result:
    """What a run found. `fired` {kind: times}, `flight` {kind: records not delivered when it fired, in all}."""

    seconds: float = 0
    stored: int = 0
    fired: Counter = field(default_factory=Counter)
    flight: Counter = field(default_factory=Counter)
    connections: dict = field(default_factory=dict)
    lost: dict = field(default_factory=dict)
    duplicates: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)

    def __str__(self):
        lines = [f"{self.seconds:.0f} s, {self.stored} records stored"]
        for kind in sorted(self.fired):
            lines.append(f"{kind:16} {self.fired[kind]:4} times, {self.flight[kind]} records in flight")
        for name in OUTLETS:
            lines.append(
                f"{name}: lost {self.lost[name]}, duplicates {self.duplicates[name]}, "
                f"{self.connections[name]} connections"
            )
        return "\n".join(lines + self.problems)


class Chaos:
    """The place; `run(seconds)` returns a Result."""

    def __init__(self, folder, seed=1):
        self._rng = random.Random(seed)
        self._stack = contextlib.ExitStack()
        self.authority = Authority(folder / "authority")
        self.other = Authority(folder / "other")
        self.tls = Tls(folder / "tls", self.authority)
        self.plain = Broker(folder / "second")
        self._folder = folder
        self.result = Result()
        self._restless = 0.0

    def __enter__(self):
        enter = self._stack.enter_context
        brokers = dict(zip(OUTLETS, (enter(self.tls.broker), enter(self.plain)), strict=True))
        self.brokers = brokers
        self.ways = {name: enter(Proxy(broker.port)) for name, broker in brokers.items()}
        self.village = Village(self._folder, brokers["second"], watch=False)
        config = json.loads(self.village.source.read_text())
        config["uplinks"] = [
            {"name": name, "kind": "mqtt", "host": "127.0.0.1", "port": self.ways[name].port} for name in OUTLETS
        ]
        config["uplinks"][0]["tls"] = {"ca": "ca.der"}
        self.village.source.write_text(json.dumps(config))
        self.village.source.with_name("ca.der").write_bytes(self.authority.der.read_bytes())
        ports = self.tls.plain, self.plain.port
        self.ears = {name: enter(Subscriber(port)) for name, port in zip(OUTLETS, ports, strict=True)}
        enter(self.village)
        return self

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def _restart(self):
        cut(self.village.gateway)

    def _pause(self, least=1.0, most=3.0):
        time.sleep(self._rng.uniform(least, most))

    def _certificate(self, authority, **dates):
        self.tls.renew(authority, **dates)
        self.tls.restart()
        self._restart()  # it meets the certificate at once, whatever its back-off
        self._pause()
        self.tls.renew(self.authority)
        self.tls.restart()

    def fault(self, kind, name):
        """Let one thing happen to the outlet `name`, or to the gateway, and be over."""
        way, broker = self.ways[name], self.brokers[name]
        if kind == "broker stopped":
            broker.stop()
            self._pause()
            broker.start()
        elif kind == "broker killed":
            broker.kill()
            self._pause()
            broker.start()
        elif kind == "black hole":
            way.hole = True
            self._pause()
            way.hole = False
            way.reset()
        elif kind == "frozen":
            way.frozen = True
            self._pause()
            way.frozen = False
        elif kind == "reset":
            way.reset()
        elif kind == "gateway killed":
            self._restart()
        elif kind == "expired":
            self._certificate(self.authority, begin_days=-9, end_days=-1)
        elif kind == "wrong authority":
            self._certificate(self.other)
        elif kind == "clock lost":
            flash = self.village.state / "flash"
            self.village.gateway.kill()
            kept = (flash / "rtc.json").read_text()
            (flash / "rtc.json").unlink()
            self.village.gateway.start()
            self._pause(3, 4)
            self.village.gateway.kill()
            (flash / "rtc.json").write_text(kept)
            cut(self.village.gateway)

    def behind(self, name):
        """Return how many stored records have not been received."""
        return max(0, self.village.image().next - len(set(self.ears[name].seqs())))

    KINDS = (
        "broker stopped", "broker killed", "black hole", "frozen", "reset", "gateway killed", "expired",
        "wrong authority", "clock lost",
    )  # fmt: skip

    def run(self, seconds, say=lambda text: None):
        """Let each kind happen in turn, in random order, for `seconds`; then wait until all is delivered."""
        result, began = self.result, time.monotonic()
        self._pause(3, 4)
        kinds = []
        killed = time.monotonic()
        while time.monotonic() - began < seconds:
            if not kinds:
                kinds = list(self.KINDS)
                self._rng.shuffle(kinds)
            kind = kinds.pop()
            name = self._rng.choice(OUTLETS)
            result.fired[kind] += 1
            result.flight[kind] += self.behind(name)
            say(f"{time.monotonic() - began:6.1f} s  {kind} ({name})")
            self.fault(kind, name)
            if kind in ("gateway killed", "expired", "wrong authority", "clock lost"):
                killed = time.monotonic()
            self._pause()
            if time.monotonic() - killed > 40:
                self._restart()
                result.fired["gateway killed"] += 1
                killed = time.monotonic()
        self._restart()
        self._drain(DRAIN_S)
        result.seconds = time.monotonic() - began
        self._judge()
        return result

    def _drain(self, seconds):
        self.village.line.silent = True
        until = time.monotonic() + seconds
        time.sleep(4)
        while time.monotonic() < until and any(self.behind(name) for name in OUTLETS):
            time.sleep(0.5)
        self.village.gateway.stop()
        time.sleep(1)

    def _judge(self):
        result, image = self.result, self.village.image()
        base = self.village.epoch() << 32
        result.stored = image.next
        for name in OUTLETS:
            result.connections[name] = self.ways[name].connections
            bodies = [json.loads(p) for t, p in self.ears[name].messages if not t.endswith("/status")]
            bodies = [body for body in bodies if "seq" in body]
            seen, last = {}, {}
            result.duplicates[name] = 0
            for body in bodies:
                seq, serial = body["seq"], body["meterSerial"]
                content = {key: value for key, value in body.items() if key not in ("late", "tsUncMs", "tsSrc")}
                if seq in seen:
                    result.duplicates[name] += 1
                    if seen[seq] != content:
                        result.problems.append(f"{name}: seq {seq - base} came with two contents")
                    continue
                seen[seq] = content
                if seq < last.get(serial, 0):
                    result.problems.append(f"{name}: {serial}: seq {seq - base} came after a later one")
                last[serial] = seq
            missing = set(range(base, base + image.next)) - set(seen)
            result.lost[name] = len(missing)
            if missing:
                result.problems.append(f"{name}: lost {sorted(seq - base for seq in missing)[:9]} ...")
            if set(seen) - set(range(base, base + image.next)):
                result.problems.append(f"{name}: a seq that was never stored")


def main():
    """Run, print, and end with 1 when something was lost or out of order."""
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, Chaos(Path(folder), asked.seed) as chaos:
        result = chaos.run(asked.minutes * 60, lambda text: print(text, flush=True))
    print(result)
    return 1 if result.problems or any(result.lost.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
