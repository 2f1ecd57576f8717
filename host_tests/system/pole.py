"""A gateway with a full journal and meters that do not answer: what its outlets do, without a line.

    with Pole(tmp_path, outlets, readings=500) as pole: ...
"""

import json
import subprocess

from meshems import paths
from meshems.benches import rig
from meshems.run import Gateway, install, interpreter
from mp_plugin import environment

PROFILES = ("eastron-sdm120", "eastron-sdm630", "chint-ddsu666", "peacefair-pzem016")
EVERY_S = 3600


def cut(gateway):
    """Take the power away and give it back. Its boot counts as one that lasted: a boot loop would store nothing."""
    gateway.kill()
    nvs = gateway.state / "flash/nvs.json"
    if nvs.exists():
        kept = json.loads(nvs.read_text())
        kept["gw"]["short"] = 0
        nvs.write_text(json.dumps(kept))
    gateway.start()


class Pole:
    """`readings` were stored before it starts, one a meter and minute, the last one just now if `back_s` is 0."""

    def __init__(self, folder, outlets, readings=0, back_s=0, authority=None, secrets=None, more=None):
        placed = rig.meters(PROFILES)
        config = rig.config(placed, 1, EVERY_S)
        config["uplinks"] = [{"kind": "mqtt", "host": "127.0.0.1", **outlet} for outlet in outlets]
        config.update(more or {})
        self.state = folder / "state"
        source = folder / "gateway.json"
        source.write_text(json.dumps(config))
        if secrets:
            source.with_name("secrets.json").write_text(json.dumps({"uplinks": secrets}))
        if authority:
            source.with_name("ca.der").write_bytes(authority.der.read_bytes())
        install(source, self.state)
        self.source = source
        if readings:
            self._fill(readings, back_s)
        self.gateway = Gateway(self.state, {})

    def _fill(self, readings, back_s):
        clock = self.state / "flash/rtc.json"
        kept = clock.read_text()
        clock.write_text(json.dumps({"offset_us": -(readings // len(PROFILES) * 60 + back_s) * 1_000_000}))
        there = environment(paths.ROOT / "host_tests/bench")
        done = subprocess.run(
            [interpreter(), "-c", f"import sys; sys.argv[1:] = ['{readings}']; import backlog"],
            cwd=self.state, env=there, capture_output=True, text=True, check=False,
        )  # fmt: skip
        clock.write_text(kept)
        assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["next"] == readings, done

    def __enter__(self):
        self.gateway.start()
        return self

    def __exit__(self, *_):
        self.gateway.kill()

    def epoch(self):
        return json.loads((self.state / "flash/nvs.json").read_text())["gw"]["epoch"]

    def said(self, text):
        """Return the lines of the log with `text` in them."""
        return [line for line in list(self.gateway.lines) if text in line]
