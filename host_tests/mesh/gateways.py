"""The gateways of a simulated site: what a mesh works for, and the judge of what it does.

    site = Site("ours", "grid", 30, seed=1)
    site.boot_all()
    site.run(600)              # s of virtual time
    site.kill(7)
    site.report()              # a dict of figures

A pole stores a batch of records each `every_s` (180 bytes, that is 8-10 meters), keeps it until the root has
acknowledged it, and offers the newest first while it is fresh, then the oldest. A root has each batch 50-300 ms later
at the broker (PUBACK) and confirms it then. A batch counts as delivered when the broker has it; its latency is the time
from its making to the root. All that a reboot must not lose is in `Pole`; the node of the mesh is made anew.
"""

import gc
import random
from array import array

import places
import radio
from heap import World

SITE = 0x4D45
CHANNEL = 6
PAYLOAD = 180
FRESH_US = 90 * 1000000
PUBACK_MS = 50, 300
T0_MS = 216 * 86400 * 1000  # of 2020, when a simulation begins
SAMPLE_S = 10  # between two looks at everybody's clock
RESULT = b"done"
COMMAND_LIMIT_S = 60
THRESHOLD = 8 << 20  # bytes between collections: collected only when full, a heap is too scattered for long lists


class Conf:
    """What a node is told of itself."""

    def __init__(self, ident, root, channel, epoch, datagrams):
        self.id, self.root, self.channel, self.epoch = ident, root, channel, epoch
        self.site, self.mac_ack, self.window32 = SITE, not datagrams, datagrams


class Pole:
    """One gateway: what is in its flash, and the calls that the mesh makes to its application."""

    def __init__(self, site, station, root):
        self.site, self.station, self.root = site, station, root
        self.id = station.index + 1
        self.boots = random.randrange(1, 60000)  # the epoch in flash
        self.records = {}  # number: made at, us; until acknowledged
        self.waiting = []  # numbers that the mesh has not taken yet
        self.number = 0
        self.every_s = site.every_s
        self.each = site.each
        self.phase_us = random.randrange(60) * 1000000 if site.jitter else 0
        self.retry_us = 0
        self.full = False  # the flash takes nothing
        self.done = {}  # ident of a command: how often it was carried out
        self.told = None  # (ms of 2020, own ms then): what the mesh has said of the time
        self.carried = {}  # origin: when a frame of it was passed on last
        self.events = {}
        self.beacons = self.minute = self.in_minute = 0
        self.uplink = True
        self.trusted = 0  # ms that a root's clock is off; None: it has no time

    # called by the mesh

    def acked(self, number):
        if self.records.pop(number, None) is not None and number in self.site.pending[self.id]:
            self.site.count("acked too early")

    def heard(self, origin):
        pass

    def received(self, origin, number, kind, payload):
        return self.site.received(self, origin, number, payload)

    def command(self, ident, payload):
        self.done[ident] = self.done.get(ident, 0) + 1
        self.site.commanded(self, ident)
        return RESULT

    def floor(self, ident):
        return not self.full

    def epoch(self):
        if not self.full:
            self.boots = (self.boots + 1) & 0xFFFF
        return None if self.full else self.boots

    def result(self, origin, ident, payload):
        self.site.result(origin, ident, payload)

    def unreached(self, dst, ident):
        self.site.count("unreached")

    def time(self, ms2020, bound_ms, epoch):
        self.told = ms2020, self.station.ms()

    def event(self, code, detail=None):
        self.events[code] = self.events.get(code, 0) + 1

    def channel(self, number):
        self.station.channel = number

    # its own

    def make(self, _):
        """Store what is due now, and come again."""
        site, now = self.site, self.site.world.now
        period = self.every_s * 1000000
        due = (now // period + 1) * period + self.phase_us + (random.randrange(2000000) if site.jitter else 0)
        site.world.at(due if due > now else now + period, self.make)
        if self.station.node is not None and not self.station.hung and site.makes:
            for _ in range(self.each):
                self.store()

    def store(self, made_us=None):
        """Store a batch of records, made now if it is not said when."""
        if self.full:
            self.site.count("refused by flash")
            return
        self.number += 1
        self.records[self.number] = self.site.pending[self.id][self.number] = (
            self.site.world.now if made_us is None else made_us
        )
        self.site.made += 1
        self.waiting.append(self.number)
        if self.station.node and not self.station.hung:
            self.station.soon()

    def work(self, now):
        """Offer what waits, as long as the mesh takes it."""
        waiting, us = self.waiting, self.site.world.now
        if not waiting or us < self.retry_us:
            return
        node = self.station.node
        while waiting:
            fresh = us - self.records[waiting[-1]] < FRESH_US
            number = waiting[-1 if fresh else 0]
            if not node.offer(number, self.site.payload(self.id, number), now):
                self.retry_us = us + 200000
                return
            waiting.pop(-1 if fresh else 0)

    def boot(self, _=None):
        """Start the program: the epoch is in flash before, what is not acknowledged is offered again."""
        self.waiting = sorted(self.records)
        self.told = None
        site = self.site
        conf = Conf(self.id, self.root, site.channel, self.epoch(), isinstance(site.air, radio.Datagrams))
        node = site.peer.make(conf, self)
        self.station.start(node, site.channel, random.randrange(radio.TICKS))
        self.retry_us = 0
        self.sync()
        if not self.root:
            self.store()  # a boot is an event

    def wipe(self):
        """Lose what is in flash: the records, the numbers, the floors; the epoch is that of a new provisioning."""
        self.site.made -= len(self.site.pending[self.id])
        self.site.pending[self.id] = {}
        self.records, self.waiting, self.done, self.number = {}, [], {}, 0
        self.boots += 1000

    def sync(self, _=None):
        """A root's clock is set."""
        node = self.station.node
        if self.root and node is not None:
            if self.trusted is not None:
                node.set_time(self.site.true_ms() + self.trusted, 1, self.station.ms())
            self.station.soon()

    def puback(self, key):
        """The broker has acknowledged a batch."""
        life, origin, number = key
        if self.station.life != life:
            return
        if not self.uplink:
            self.site.world.at(self.site.world.now + 5000000, self.puback, key)
            return
        self.site.delivered(self, origin, number)
        if self.station.node:
            self.station.node.confirm(origin, number, self.station.ms())
            self.station.soon()


class Site:
    """Gateways, their radio, and the books. `peer`: a module of peers.py; `kind`: of places.KINDS."""

    def __init__(self, peer, kind, n, seed=1, roots=1, every_s=60, each=1, jitter=True, burst=False,
                 air=radio.Air):
        random.seed(seed)
        gc.threshold(THRESHOLD)
        self.peer, self.every_s, self.each, self.jitter = peer, every_s, each, jitter
        self.channel = CHANNEL
        self.world = World()
        self.places = places.choose(kind, n, roots)
        self.air = air(self.world, self.places.levels, *((60, 20) if burst else (60, 2)))
        self.air.saw = self._saw
        self.links = self.places.usable()
        self.makes = True
        self.pending = [{} for _ in range(n + 1)]  # of each id: number: made at, not at the broker
        self.made = 0
        self.first_us = {}  # (origin, number): when a root had it first, until it is at the broker
        self.latencies = array("I")  # ms
        self.per_hop = array("I")  # ms a hop
        self.counted_us = 0
        self.slow = 0  # delivered later than 60 s although there was a path
        self.counts = {}
        self.formed = {}  # origin: when its first batch was at a root
        self.via = {}  # origin: the root that had its last batch
        self.watched = {}  # origin: (name, us): its first batch made after that is noted
        self.delays = {}  # name: [ms of the first batch after it]
        self.firsts, self.repeats = set(), set()
        self.over = 0
        self.rate = [0, 0, 0, 0]  # steady: begins us, beacons, used us, frames
        self.worst_minute = 0
        self.clock_ms = {}  # error in ms: how often
        self.asked = {}  # ident: [dst, asked, at the node, result at the root], us
        self.ident = 0
        self._spans = [[] for _ in range(n)]  # (from, until), us, without a path
        self._since = [0] * n  # since when without one; None: has one
        self.poles = [Pole(self, station, station.index < roots) for station in self.air.stations]
        for pole in self.poles:
            pole.station.work = pole.work
        self.paths()

    # what happens

    def boot_all(self, spread_s=10):
        """Let everybody start within so long; return when the last one does, in us."""
        last = 0
        for pole in self.poles:
            at = random.randrange(int(spread_s * 1000000) + 1)
            last = max(last, at)
            self.world.at(at, self._boot, pole)
            if not pole.root:
                self.world.at(at + 1000, pole.make)
        self.world.at(60 * 1000000, self._each_minute)
        self.world.at(30 * 1000000, self._clocks)
        self.booted_us = last
        return last

    def _boot(self, pole):
        pole.boot()
        self.paths()

    def run(self, seconds):
        """Let so many seconds pass."""
        self.world.run(self.world.now + int(seconds * 1000000))

    def true_ms(self):
        """Return the true time, ms since 2020."""
        return T0_MS + self.world.now // 1000

    def kill(self, index, watch=None):
        """Take the power of a station away; with a name, watch how long those whose frames it passed on wait."""
        self.air.stations[index].stop()
        if watch:
            self.watch(index, watch)
        self.paths()

    def hang(self, index, watch=None):
        """Let a station's program stand still; its radio goes on."""
        self.air.stations[index].hung = True
        if watch:
            self.watch(index, watch)
        self.paths()

    def revive(self, index):
        """Start a station again."""
        self.poles[index].boot()
        self.paths()

    def watch(self, index, name):
        """Watch the origins whose frames this station passed on in the last three periods."""
        now, pole = self.world.now, self.poles[index]
        least = now - 3 * self.every_s * 1000000
        for origin in range(1, len(self.poles) + 1):
            carried = pole.carried.get(origin, -1) > least or (pole.root and self.via.get(origin) == pole.id)
            if carried and origin != pole.id and self.poles[origin - 1].station.node:
                self.watched[origin] = name, now

    def weaken(self, links, tenths):
        """Let each of `links`, (any, from, to), lose so many 0.1 dB, one way."""
        for _, sender, receiver in links:
            self.air.levels[sender][receiver] -= tenths
        self.air.heed()
        self.links = self.places.usable()
        self.paths()

    def busiest(self, but=()):
        """Return the index of the station that passes on the most origins' frames, no root."""
        least = self.world.now - 3 * self.every_s * 1000000
        found = [(sum(us > least for us in pole.carried.values()), -pole.station.index) for pole in self.poles
                 if not pole.root and pole.station.node and pole.station.index not in but]  # fmt: skip
        return -max(found)[1]

    def steady(self):
        """Begin to count anew: latencies of what is made from now on, first tries, beacons, air."""
        self.counted_us = self.world.now
        self.firsts, self.repeats = set(), set()
        self.latencies, self.per_hop = array("I"), array("I")
        self.rate = [self.world.now, sum(pole.beacons for pole in self.poles), self.air.used_us, self.air.frames]

    def move_root(self, index, channel):
        """A root's access point goes to another channel."""
        station = self.air.stations[index]
        station.channel = channel
        self.peer.moved(station.node, channel, station.ms())
        station.soon()

    def ask(self, index, root=0, expiry_s=COMMAND_LIMIT_S):
        """Give a command at a root; return its ident."""
        self.ident += 1
        at = self.poles[root].station
        now = self.world.now
        self.asked[self.ident] = [index + 1, now, None, None]
        if not at.node.command(index + 1, self.ident, expiry_s, b"read now", at.ms()):
            self.count("command refused")
        at.soon()
        return self.ident

    def ask_each(self, seconds, until_us):
        """Give a command to a station, each in turn by chance, every so many seconds."""

        def once(_):
            alive = [pole.station.index for pole in self.poles if not pole.root and pole.station.node]
            if self.poles[0].station.node and alive:
                self.ask(random.choice(alive))
            if self.world.now < until_us:
                self.world.at(self.world.now + seconds * 1000000, once)

        once(None)

    def drain(self, limit_s=3600, makes=False):
        """Let time pass until all records are at the broker, at most so long; return the s it took.

        Nobody makes more of them in the meantime; with `makes` they do, and those that are old count.
        """
        self.makes = makes
        began = self.world.now
        while self.left(0 if makes else 1 << 60) and self.world.now - began < limit_s * 1000000:
            self.run(5)
        return (self.world.now - began) // 1000000

    def left(self, before_us=1 << 60):
        """Return how many batches made before that are not at the broker."""
        return sum(sum(us < before_us for us in one.values()) for one in self.pending)

    def count(self, what):
        """Count something that should be rare."""
        self.counts[what] = self.counts.get(what, 0) + 1

    # paths

    def paths(self):
        """Find out anew who has a path to a live root: called whenever somebody dies, hangs or comes back."""
        now = self.world.now
        well = {pole.station.index for pole in self.poles if pole.station.node is not None and not pole.station.hung}
        sources = [i for i in well if self.poles[i].root and self.poles[i].uplink]
        self.depths = places.hops(self.links, sources, well)
        for i, since in enumerate(self._since):
            if i in self.depths:
                if since is not None:
                    self._spans[i].append((since, now))
                    self._since[i] = None
            elif since is None:
                self._since[i] = now

    # the books

    @staticmethod
    def payload(origin, number):
        """Return the records of a batch: what nobody can take for another."""
        head = origin.to_bytes(2, "big") + number.to_bytes(4, "big")
        return head + bytes([origin * 7 + number & 255]) * (PAYLOAD - 6)

    def received(self, pole, origin, number, payload):
        """A root has a batch. Return True: there is room."""
        if bytes(payload) != self.payload(origin, number):
            self.count("wrong payload")
        if number in self.pending[origin]:
            self.first_us.setdefault((origin, number), self.world.now)
        else:
            self.count("delivered again")
        wait = PUBACK_MS[0] + random.randrange(PUBACK_MS[1] - PUBACK_MS[0])
        self.world.at(self.world.now + wait * 1000, pole.puback, (pole.station.life, origin, number))
        return True

    def delivered(self, pole, origin, number):
        """A batch is at the broker."""
        made_us = self.pending[origin].pop(number, None)
        if made_us is None:
            return
        us = self.first_us.pop((origin, number))
        late_us = us - made_us
        self.via[origin] = pole.id
        self.formed.setdefault(origin, us)
        if made_us >= self.counted_us:
            self.latencies.append(late_us // 1000)
            hops = self.peer.hops(self.poles[origin - 1].station.node)
            if hops:
                self.per_hop.append(late_us // 1000 // hops)
        if late_us > 60000000 and made_us >= 0 and late_us - self.without(origin - 1, made_us, us) > 60000000:
            self.slow += 1
        if origin in self.watched and made_us > self.watched[origin][1]:
            name, _ = self.watched.pop(origin)
            late_us -= self.without(origin - 1, made_us, us)
            self.delays.setdefault(name, []).append(max(0, late_us) // 1000)

    def without(self, index, a, b):
        """Return for how many us between the instants a and b a station had no path."""
        since = self._since[index]
        spans = self._spans[index]
        if since is None and not spans:
            return 0
        total = sum(max(0, min(b, to) - max(a, began)) for began, to in spans)
        return total + (max(0, b - max(a, since)) if since is not None else 0)

    def commanded(self, pole, ident):
        """A node carries out a command."""
        one = self.asked.get(ident)
        if pole.done[ident] > 1:
            self.count("command carried out twice")
        if one is None or one[0] != pole.id:
            self.count("command of another")
        elif one[2] is None:
            one[2] = self.world.now

    def result(self, origin, ident, payload):
        """A root has the result of a command."""
        one = self.asked.get(ident)
        if payload is None:
            self.count("refused")
        elif one is None or one[0] != origin or bytes(payload) != RESULT:
            self.count("wrong result")
        elif one[3] is None:
            one[3] = self.world.now

    def _saw(self, station, mac, frame):
        beacon, origin, hops, key, repeats = self.peer.look(frame)
        pole = self.poles[station.index]
        if beacon:
            pole.beacons += 1
            pole.in_minute += 1
            return
        if hops > self.peer.HOPS:
            self.over += 1
        if key is not None:
            if origin == pole.id:
                if repeats < 2:
                    (self.repeats if repeats else self.firsts).add(bytes(key))
            else:
                pole.carried[origin] = self.world.now

    def _each_minute(self, _):
        for pole in self.poles:
            self.worst_minute = max(self.worst_minute, pole.in_minute)
            pole.in_minute = 0
            pole.sync()
        self.world.at(self.world.now + 60 * 1000000, self._each_minute)

    @staticmethod
    def error_ms(pole, true):
        """Return by how much a pole's idea of the time is off, ms; None when it has none."""
        if pole.told is None:
            return None
        ms, then = pole.told
        return abs(ms + ((pole.station.ms() - then) & radio.TICKS) - true)

    def _clocks(self, _):
        true = self.true_ms()
        for pole in self.poles:
            if pole.told and pole.station.node and not pole.root:
                off = self.error_ms(pole, true)
                self.clock_ms[off] = self.clock_ms.get(off, 0) + 1
        self.world.at(self.world.now + SAMPLE_S * 1000000, self._clocks)

    def report(self):
        """Return the figures of the run until now; what is not at the broker counts as lost."""
        steady_s = (self.world.now - self.rate[0]) / 1e6
        beacons = sum(pole.beacons for pole in self.poles) - self.rate[1]
        n = len(self.poles)
        now = self.world.now
        waits, silent = [], 0
        for dst, asked, _, back in self.asked.values():
            without = self.without(dst - 1, asked, back or now)
            if back is not None:
                waits.append((back - asked - without) // 1000)
            if (back or now) - asked - without > COMMAND_LIMIT_S * 1000000:
                silent += 1
        for origin in list(self.watched):  # those are still waiting
            name, since = self.watched.pop(origin)
            late = [us for us in self.pending[origin].values() if us > since]
            if late:
                waited = now - min(late) - self.without(origin - 1, min(late), now)
                self.delays.setdefault(name, []).append(waited // 1000)
        first, whole = len(self.firsts), len(self.formed) >= n - self.places.roots
        events = {}
        for pole in self.poles:
            for code in pole.events:
                events[code] = events.get(code, 0) + pole.events[code]
        return {
            "made": self.made,
            "lost": self.left(),
            "delivered_60s_pct": 100 - 100 * (self.slow + self.left()) / max(1, self.made),
            "first_try_pct": 100 - 100 * len(self.repeats) / max(1, first),
            "latency_p50_ms": part(self.latencies, 50),
            "latency_p95_ms": part(self.latencies, 95),
            "latency_p99_ms": part(self.latencies, 99),
            "latency_max_ms": part(self.latencies, 100),
            "formation_s": (max(self.formed.values()) - self.booted_us) / 1e6 if whole else None,
            "beacons_per_min": beacons * 60 / steady_s / n,
            "beacons_any_minute": self.worst_minute,
            "frames_per_min": (self.air.frames - self.rate[3]) * 60 / steady_s / n,
            "airtime_pct": (self.air.used_us - self.rate[2]) / steady_s / 1e4,
            "time_error_p99_ms": weighted(self.clock_ms, 99),
            "time_error_max_ms": max(self.clock_ms) if self.clock_ms else None,
            "command_p50_ms": part(waits, 50),
            "command_p95_ms": part(waits, 95),
            "command_p99_ms": part(waits, 99),
            "latency_per_hop_p50_ms": part(self.per_hop, 50),
            "command_60s_pct": 100 - 100 * silent / max(1, len(self.asked)),
            "commands": len(self.asked),
            "commands_silent": silent,
            "over_hop_limit": self.over,
            "depth": max(self.depths.values()),
            "delays": self.delays,
            "counts": self.counts,
            "events": events,
            "overflows": sum(station.overflows for station in self.air.stations),
            "collisions": self.air.collisions,
        }


def part(values, percent):
    """Return the value that so many of a hundred do not pass; None when there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, (len(ordered) * percent + 99) // 100 - 1)]


def weighted(counts, percent):
    """Return the same of {value: how often}."""
    left = sum(counts.values()) * (100 - percent) / 100
    for value in sorted(counts, reverse=True):
        left -= counts[value]
        if left < 0:
            return value
    return None
