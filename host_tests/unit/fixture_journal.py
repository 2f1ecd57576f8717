"""Writes the fixture of a release: journal.bin, ids.*, schema*.* and stored.json, what is in them, into this folder.

    cd EMPTY && MICROPYPATH=.../boards/desktop:.../firmware:.../host_tests/unit:.frozen micropython -X heapsize=4M \
        .../host_tests/unit/fixture_journal.py && python3 -m zipfile -c .../host_tests/data/journal-VERSION.zip *

Made once for each released version and never again: every later version must read it (test_journal_fixtures.py).
"""
import json
import random

from fake_nor import Nor, PowerCut
from gateway import clock
from gateway.ids import Ids
from gateway.recorder import Recorder
from gateway.records import ONCE, SET, WARN
from lib.journal import Journal

BLOCKS = 8 + 6
T0 = 1782138600000
LAYOUTS = (
    "\n1.8.0 kWh -3\n16.7.0 W -1\n32.7.0 V -1\n14.7.0 Hz -2",
    "\n1.8.0 kWh 0\n2.8.0 kWh 0\n31.7.0 A -3\n51.7.0 A -3\n71.7.0 A -3\n33.7.0 1 -3\nx.soc % 0"
    "\n32.7.0 V -1\n52.7.0 V -1",
)


class Clock:
    """A boot that began at `began` (unix ms) and knows it once `source` is set."""

    def __init__(self, began):
        self.began, self.source, self.uptime = began, clock.NONE, 0

    def at(self, uptime):
        return None if self.source == clock.NONE else (self.began + uptime, 25)

    def now(self):
        return self.at(self.uptime)


class Uptime:
    """Stands for the uptime of this boot."""

    def __call__(self):
        return life.clock.uptime


class Life:
    def __init__(self):
        random.seed(20261125)
        self.nor = Nor(BLOCKS)
        self.ids = Ids()
        self.slots = [self.ids.slot("SN-%d" % i) for i in range(1, 6)]
        self.schemas = [self.ids.schema(layout) for layout in LAYOUTS]
        self.outlets = [self.ids.cursor(name) for name in ("operator", "village")]
        self.counters = [random.randrange(1 << 20), 4_000_000_000_123, 0, 77, 9]
        self.stored = []
        self.boots = 0

    def boot(self, began, learns):
        """`learns`: the uptime in ms at which the time is known, None for never."""
        self.boots += 1
        self.clock, self.learns = Clock(began), learns
        self.journal = Journal(self.nor)
        self.journal.mount()
        self.recorder = Recorder(self.journal, self.boots, self.clock)

    def run(self, rounds):
        for _ in range(rounds):
            self.clock.uptime += 60000
            if self.learns is not None and self.clock.uptime >= self.learns:
                self.clock.source = clock.NTP
            rows = []
            for i in range(5):
                rows.append(self.meter(i, self.clock.uptime + i * 130))
            if random.randrange(6) == 0:
                detail = {"misses": 3}
                self.recorder.event(self.slots[2], "comms_lost", WARN, SET, detail)
                rows.append((self.clock.uptime, 3, "comms_lost", detail))
                self.recorder.event(0, "clock_set", 0, ONCE, {})
                rows.append((self.clock.uptime, 0, "clock_set", {}))
            ordinal = self.journal.next
            self.recorder.commit()
            assert self.journal.next == ordinal + len(rows)
            for i, row in enumerate(rows):
                self.stored.append((ordinal + i, self.boots) + row)
            self.journal.prepare()
        self.journal.put(self.outlets[0], self.journal.next - 3)
        self.journal.put(self.outlets[1], self.journal.next // 2)

    def meter(self, i, at):
        slot = self.slots[i]
        if i == 2 and random.randrange(3) == 0:
            self.recorder.lost(slot)
            return (self.clock.uptime, slot, "lost", None)
        self.counters[i] += random.randrange(40)
        values = [self.counters[i], random.randrange(-90000, 90000), 2300 + random.randrange(-60, 60), 5001]
        if i % 2:
            values += [None if random.randrange(3) == 0 else random.randrange(100) for _ in range(5)]
        suspect = random.randrange(9) == 0
        self.recorder.reading(at, slot, self.schemas[i % 2], list(values), suspect)
        return (at, slot, "suspect" if suspect else "good", values)


clock.uptime_ms = Uptime()
life = Life()
for boot, learns in enumerate((0, None, 300000, 0, None)):
    life.boot(T0 + boot * 90_000_000, learns)
    life.run(70 if boot else 150)
    if boot == 3:  # the power goes in the middle of a frame
        life.nor.cut_at, life.nor.cut_mode = life.nor.ops + 3, "random"
        try:
            life.run(1)
        except PowerCut:
            life.nor.cut_at = -1
with open("journal.bin", "wb") as file:
    file.write(life.nor.image)
with open("stored.json", "w") as file:
    json.dump({
        "first": life.journal.first, "next": life.journal.next, "boots": [T0 + i * 90_000_000 for i in range(5)],
        "dated": [1, 3, 4], "cursors": {"1": life.journal.cursor(1), "2": life.journal.cursor(2)},
        "rows": [row for row in life.stored if row[0] >= life.journal.first],
    }, file)
