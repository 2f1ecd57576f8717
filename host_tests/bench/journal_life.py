"""The journal and its peers on the flash model of the tests, 30 meters a minute: `journal_life.py PART [ARGUMENT]`.

    ring SCALE      the gateway's own recorder on 1 MB, several times round: density, erases, wear
    lfs KIND        littlefs on the same flash: `json`, `struct`, or `frames` (what the recorder makes)
    mount           a full ring of 8 MB: reads of a mount
    heap            100,000 appends

The last line of the output is JSON: counts, by name.
"""

import gc
import json
import random
import struct
import sys

sys.path.append(sys.argv[0].rsplit("/", 2)[0] + "/unit")

from fake_nor import BLOCK, Nor
from gateway import clock
from gateway.recorder import Recorder
from lib.journal import MAX, Journal, mount

METERS = 30
MINUTE_MS = 60000
START_MS = 1_782_138_600_000
SEGMENT = 65536
CURSORS = 8
NAMES = (
    "32.7.0", "52.7.0", "72.7.0", "31.7.0", "51.7.0", "71.7.0",
    "16.7.0", "3.7.0", "13.7.0", "14.7.0", "1.8.0", "2.8.0",
)  # fmt: skip
# Of each value of a reading: what a register counts in, and in thousandths of its unit.
STEPS = {"register": (10, 100, 1, 1, 1000, 100, 100), "milli": (1000, 1000, 1000, 1000, 1000, 1000, 1000)}


class Clock:
    """Synchronised, 40 ms."""

    source = clock.NTP

    def at(self, uptime_ms):
        return START_MS + uptime_ms, 40

    def now(self):
        return self.at(clock.uptime_ms())


class Meters:
    """Twelve values each: 3 x V, 3 x A, W, var, power factor, Hz, 2 x kWh; loads that waver by 2 % a minute."""

    def __init__(self, scale):
        random.seed(1)
        self.steps = STEPS[scale]
        self.load = [random.uniform(0.5, 8) for _ in range(METERS * 3)]  # A, of each phase
        self.energy = [random.uniform(100, 20000) for _ in range(METERS)]  # kWh

    def read(self, which):
        volt, amp, watt, var, factor, hertz, kwh = self.steps
        phases = range(which * 3, which * 3 + 3)
        for i in phases:
            self.load[i] = max(0.2, min(20, self.load[i] * random.uniform(0.98, 1.02)))
        volts = [230 + random.uniform(-1.5, 1.5) for _ in phases]
        amps = [self.load[i] for i in phases]
        cos = 0.93 + random.uniform(-0.01, 0.01)
        apparent = sum([volts[i] * amps[i] for i in range(3)])
        self.energy[which] += apparent * cos / 60000
        values = [round(u * volt) for u in volts] + [round(i * amp) for i in amps]
        values += [round(apparent * cos * watt), round(apparent * (1 - cos * cos) ** 0.5 * var), round(cos * factor)]
        values += [round((50 + random.uniform(-0.02, 0.02)) * hertz), round(self.energy[which] * kwh)]
        return values + [round(self.energy[which] * kwh / 50)]


class Round:
    """What the gateway does each minute, into anything that has a journal's `buffer`, `room` and `append`."""

    def __init__(self, journal, scale):
        self.meters = Meters(scale)
        self.recorder = Recorder(journal, 3, Clock())
        self.minute = 0

    def turn(self):
        for which in range(METERS):
            at = self.minute * MINUTE_MS + which * 100
            self.recorder.reading(at, which + 1, 1, self.meters.read(which))
        self.recorder.commit()
        self.minute += 1
        assert not self.recorder._rows


class Watched:
    """A journal as the recorder needs it; `worst` is the most erases that one append took."""

    def __init__(self, journal):
        self.buffer = journal.buffer
        self.room = journal.room
        self._journal = journal
        self.worst = 0

    def append(self, *args):
        erases = self._journal.dev.erases
        before = sum(erases)
        self._journal.append(*args)
        self.worst = max(self.worst, sum(erases) - before)


def ring(scale, blocks=256):
    blocks = int(blocks)
    nor = Nor(blocks)
    journal = Journal(nor)
    journal.mount()
    watched = Watched(journal)
    one = Round(watched, scale)
    for _ in range(blocks * 8):
        one.turn()
        journal.put(1, journal.next)
    inline, first = watched.worst, journal.head
    while sum(nor.erases[CURSORS:]) < 12.4 * (blocks - CURSORS):
        if journal.head <= first + 1:  # the first block is not yet one that was erased ahead
            watched.worst = 0
        one.turn()
        journal.put(1, journal.next)
        journal.prepare()
    wear = nor.erases[CURSORS:]
    return {
        "readings": journal.next, "blocks": journal.head + 1, "erases": sum(wear), "hottest": max(wear),
        "ring": len(wear), "puts": one.minute, "cursors": sum(nor.erases[:CURSORS]),
        "inline": inline, "ahead": watched.worst,
    }  # fmt: skip


class Sink:
    """Takes frames as a journal does, block by block, and keeps none."""

    def __init__(self, write):
        self._write = write
        self._left = 0

    def buffer(self):
        return memoryview(bytearray(MAX))

    def room(self):
        return min(MAX, self._left)

    def append(self, kind, payload, count, when=0):
        self._left = (self._left or BLOCK) - len(payload)
        if self._left < 64:
            self._left = 0
        self._write(payload)


class Files:
    """Segments of 64 KB on littlefs, each write flushed, the oldest deleted when the rest gets short."""

    def __init__(self, blocks):
        import vfs

        self.nor = Nor(blocks)
        vfs.VfsLfs2.mkfs(self.nor)
        self.fs = vfs.VfsLfs2(self.nor, mtime=False)
        self.fs.mount(False, False)
        self.oldest = self.newest = 0
        self.file = self.fs.open("0", "wb")
        self.size = 0

    def write(self, data):
        if self.size + len(data) > SEGMENT:
            self.file.close()
            self.newest += 1
            self.size = 0
            while self.fs.statvfs("/")[3] * BLOCK < 2 * SEGMENT:
                self.fs.remove(str(self.oldest))
                self.oldest += 1
            self.file = self.fs.open(str(self.newest), "wb")
        self.file.write(data)
        self.file.flush()
        self.size += len(data)

    def used(self):
        found = self.fs.statvfs("/")
        return (found[2] - found[3]) * BLOCK


def lfs(kind):
    files = Files(256)
    empty = files.used()
    meters = Meters("register")
    if kind == "frames":
        one = Round(Sink(files.write), "register")
        turn = one.turn
    else:

        def turn():
            batch = bytearray()
            for which in range(METERS):
                values = meters.read(which)
                at = 78_000_000 + minutes * 60
                if kind == "struct":
                    batch += struct.pack("<IB12i", at, which, *values)
                else:
                    row = {name: values[i] for i, name in enumerate(NAMES)}
                    row["t"], row["meter"] = at, "SN-%d" % which
                    batch += (json.dumps(row).replace(", ", ",").replace(": ", ":") + "\n").encode()
            files.write(batch)

    minutes = 0
    while files.oldest == 0:  # filled once
        turn()
        minutes += 1
        if files.newest < 12:
            used, full = files.used() - empty, minutes
    before, begin = sum(files.nor.erases), minutes
    while kind == "frames" and minutes < 3 * full:
        turn()
        minutes += 1
    files.file.close()
    wear = files.nor.erases
    return {
        "readings": full * METERS, "bytes": used, "later": (minutes - begin) * METERS, "erases": sum(wear) - before,
        "hottest": max(wear), "mean_1000": sum(wear) * 1000 // len(wear),
    }  # fmt: skip


def reads(nor):
    nor.reads = 0
    journal = Journal(nor)
    journal.mount()
    return nor.reads


def mounts():
    nor = Nor(2048)
    journal = Journal(nor)
    journal.mount()
    payload, i = bytes(480), 0
    while journal.head < 2048 - CURSORS + 30:
        journal.append(1, payload, 30)
        i += 1
        if i % 8 == 0:
            journal.put(i % 3, journal.next)
    worst = 0
    for i in range(600):
        journal.append(1, payload, 30)
        journal.put(i % 3, journal.next)
        if i % 2:
            journal.prepare()
        worst = max(worst, reads(nor))
    mount._bisect = lambda journal: None
    return {"worst": worst, "scan": reads(nor), "blocks": 2048 - CURSORS}


def heap():
    nor = Nor(16)
    journal = Journal(nor)
    journal.mount()
    payload, reader = memoryview(bytearray(300)), journal.reader(0)

    def some(n):
        for i in range(n):
            journal.append(1, payload[: i % 300], 3)
            journal.prepare()
            if i % 50 == 0:
                journal.put(1, journal.next)
            reader.read()
        gc.collect()
        return gc.mem_alloc()

    before = some(1000)
    after = some(100000)
    return {"appends": 100000, "growth": after - before}


print(json.dumps({"ring": ring, "lfs": lfs, "mount": mounts, "heap": heap}[sys.argv[1]](*sys.argv[2:])))
