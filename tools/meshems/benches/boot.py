"""`boot.first_reading_s`: from the start of the process to the first reading on flash."""

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from meshems import paths
from meshems.benches import rig
from meshems.benches.figures import Figure
from meshems.sim.line import Settings

PROFILE = "eastron-sdm120"
STARTS = 5
HEAP_KB = 256
LIMIT_S = 20.0
RING = 8 * 4096  # offset of the ring's first block in the journal partition: docs/journal.md
BLOCK_HEADER = 32


def measure(bench: rig.Rig, say: Callable[[str], None]) -> Figure:
    """Return the median of several starts on a blank flash."""
    placed = rig.meters([PROFILE])
    bench.line(0, placed)
    conf = rig.config(placed, 1, 1)
    times = []
    for turn in range(STARTS):
        times.append(_once(bench, bench.state(f"boot-{turn}", conf)))
        say(f"boot: first reading on flash after {times[-1]:.3f} s")
        time.sleep(1)  # so that a reply which nobody awaits has left the line
    return Figure("boot.first_reading_s", round(statistics.median(times), 3), "s", limit=round(wire_s(PROFILE), 3))


def wire_s(profile: str) -> float:
    """Return how long the requests and replies of one poll are on the line: no gateway can be faster."""
    blocks = json.loads((paths.PROFILES / f"{profile}.json").read_text())["blk"]
    request, overhead = 8, 5  # bytes; of the reply without its registers
    return float(sum((request + overhead + 2 * block[2]) * Settings().char_s for block in blocks))


def _once(bench: rig.Rig, state: Path) -> float:
    image = state / "flash" / "journal.bin"
    process = bench.gateway(state, HEAP_KB)
    try:
        while time.monotonic() - process.began < LIMIT_S and process.running:
            if image.exists():
                with image.open("rb") as file:
                    frame = os.pread(file.fileno(), 4, RING + BLOCK_HEADER)
                # Nothing else is stored before it: the clock is right, and no NTP server is asked.
                if frame and frame != b"\xff" * 4:
                    return time.monotonic() - process.began
            time.sleep(0.002)
        raise rig.BenchError(f"no reading was stored within {LIMIT_S:g} s: {process.tail()}")
    finally:
        process.kill()
