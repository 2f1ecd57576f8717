"""The air of a site: who hears whom, and what becomes of a frame. The model of ESP-NOW at 1 Mbit/s.

* Path loss is log-distance with shadowing, nearly the same both ways; each frame fades by itself; whether it is heard
  is a logistic curve round -94 dBm. Noise comes in bursts, at each receiver by itself (Gilbert-Elliott).
* A station listens before it sends (carrier sense at -92 dBm), so that one out of hearing is a hidden terminal; of two
  frames at once the one that is 8 dB stronger is captured. Who sends does not hear.
* A unicast is tried six times by the radio itself, its acknowledgement may get lost, and what comes twice is dropped by
  the receiver's radio. A station whose program hangs, or whose ring is full, still acknowledges.
* A program gets one frame, or one result, in 3-10 ms. Its clock is off by up to 20 ppm.

Levels are in 0.1 dBm, times in us.
"""

import random
from array import array
from math import cos, exp, log, log10, pi, sqrt

TX_DBM = 24  # 20 dBm and the antennas
LOSS_1M_DB = 40.2
SHADOW_DB, ASYMMETRY_DB, FADE_DB = 4, 1, 2.5
HALF_DBM, SLOPE_DB = -94, 1.6  # half of the frames are heard at this level
SENSE, CAPTURE, DEAF = -920, 80, -1050  # 0.1 dBm: carrier sense; 0.1 dB; nobody hears what is weaker on average
BEACON_US, SLOT_US, SENSED_US, TURN_US, ACK_US = 50, 20, 15, 10, 304
TRIES = 6
WINDOW = 32  # slots, doubled for each try
BAD_LOSS = 0.85
RING = 2120  # bytes of the receive ring; each frame takes 15 more than its own
LATENCY_US, SPREAD_US = 3000, 7000
PPM = 20
TICKS = (1 << 30) - 1
NEXT_CHANNEL = 150  # 0.1 dB that a neighbouring channel is weaker; nothing is heard three channels away


def gauss():
    """Return a normally distributed number."""
    return sqrt(-2 * log(1 - random.random())) * cos(2 * pi * random.random())


def airtime(size):
    """Return the us that a frame with `size` bytes of payload is on the air, at 1 Mbit/s."""
    return 192 + 8 * (43 + size)


def heard_share(level, fades=None):
    """Return which share of the frames is heard, on average over fading, at a mean level of 0.1 dBm."""
    fades = fades or (-42, -26, -14, -5, 5, 14, 26, 42)
    return sum(1 / (1 + exp((HALF_DBM * 10 - level - fade) / 10 / SLOPE_DB)) for fade in fades) / len(fades)


def levels(places, exponent):
    """Return the mean level at each station from each other: a list of arrays, [sender][receiver], 0.1 dBm."""
    n = len(places)
    table = [array("h", [0] * n) for _ in range(n)]
    for i in range(n):
        for j in range(i):
            away = max(1, sqrt((places[i][0] - places[j][0]) ** 2 + (places[i][1] - places[j][1]) ** 2))
            mean = TX_DBM - LOSS_1M_DB - 10 * exponent * log10(away) + SHADOW_DB * gauss()
            for a, b in ((i, j), (j, i)):
                level = round(10 * (mean + ASYMMETRY_DB * (2 * random.random() - 1)))
                table[a][b] = max(-1500, min(-200, level))
    return table


class Station:
    """A radio and the program that drives it; `node` has the four calls of a mesh, None while it is off."""

    def __init__(self, air, index, mac):
        self.air, self.index, self.mac = air, index, mac
        self.node = None
        self.hung = False  # the program stands still, the radio goes on
        self.channel = 0
        self.life = 0  # counts the starts
        self.ppm = random.randrange(-PPM, PPM + 1)
        self.ring = []
        self.ring_size = self.overflows = 0
        self.sent = None  # what became of the last frame, until the program has heard of it
        self.busy = False  # a frame is with the radio
        self.wakes_at = 0
        self.awake_us = 0  # until when the program is at work
        self.booted_us = 0
        self.ticks0 = 0
        self.sends_from = self.sends_to = -1
        self.number = 0
        self.numbers = {}  # of the last unicast from each other
        self.bad, self.changes_us = False, 0
        self.work = None  # work(now_ms): the application's, before each tick of the node
        self.frame_ms = 0

    def ms(self):
        """Return the station's own time: ms that wrap at 2^30."""
        since = self.air.world.now - self.booted_us
        return (self.ticks0 + (since + since * self.ppm // 1000000) // 1000) & TICKS

    def start(self, node, channel, ticks0):
        """Let it run: a node that has just been made."""
        self.life += 1
        self.node, self.channel, self.hung = node, channel, False
        self.ring, self.ring_size, self.sent, self.busy = [], 0, None, False
        self.booted_us, self.ticks0 = self.air.world.now, ticks0
        self.awake_us = self.wakes_at = 0
        self.numbers = {}
        self.wake(self.air.world.now)

    def stop(self):
        """Take its power away."""
        self.life += 1
        self.node = None

    def wake(self, us):
        """Let the program run at `us`, if nothing wakes it earlier."""
        if not self.wakes_at or us < self.wakes_at:
            self.wakes_at = us
            self.air.world.at(us, self._run, (us, self.life))

    def soon(self):
        """Let the program run as soon as it comes to it."""
        now = self.air.world.now
        self.wake((now if now > self.awake_us else self.awake_us) + LATENCY_US + random.randrange(SPREAD_US))

    def _run(self, key):
        us, life = key
        if us != self.wakes_at or life != self.life:
            return
        self.wakes_at = 0
        if self.hung or self.node is None:
            return
        self.awake_us = us
        node, now = self.node, self.ms()
        if self.sent is not None:
            ok, self.sent = self.sent, None
            self.busy = False
            node.on_sent(ok, now)
        elif self.ring:
            frame, level, stamp, mac = self.ring.pop(0)
            self.ring_size -= len(frame) + 15
            node.on_rx(frame, level, stamp, mac)
        if self.work:
            self.work(now)
        wait = node.tick(now)
        if not self.busy and self.life == life:
            out = node.next(now)
            if out is not None:
                self.busy = True
                self.air.send(self, out[0], bytes(out[1]))
        if self.ring or self.sent is not None:
            self.soon()
        else:
            self.wake(us + 1000 * max(1, min(1000, wait)))

    def take(self, frame, level, mac):
        """The radio has a frame for the program."""
        size = len(frame) + 15
        if self.ring_size + size > RING:
            self.overflows += 1
            return
        self.ring_size += size
        self.ring.append((frame, level // 10, self.ms(), mac))
        if not self.hung:
            self.soon()

    def done(self, ok):
        """The radio has sent the program's frame."""
        self.sent = ok
        if not self.hung:
            self.soon()


class Air:
    """The medium. `table`: as of levels(); `good_s`, `bad_s`: how long a receiver has no noise, and how long it has."""

    def __init__(self, world, table, good_s=60, bad_s=2):
        self.world, self.levels = world, table
        self.good_us, self.bad_us = int(good_s * 1e6), int(bad_s * 1e6)
        self.stations = [Station(self, i, self.mac(i)) for i in range(len(table))]
        self.by_mac = {station.mac: station for station in self.stations}
        self.on_air = []  # [from, until, sender, channel, senders that sent at the same time]
        self.used_us = self.frames = self.collisions = 0
        self.saw = None  # saw(station, mac, frame): each frame that a program hands to its radio
        self._fades = array("h", [round(10 * FADE_DB * gauss()) for _ in range(1024)])
        self._shares = array("i", [
            round(65536 / (1 + exp((HALF_DBM - level / 10) / SLOPE_DB))) for level in range(-1100, -700)
        ])  # fmt: skip
        self.heed()
        for station in self.stations:
            station.changes_us = self._period(self.good_us)

    @staticmethod
    def mac(index):
        """Return the address of the station with this index."""
        return b"\x02\x00\x00\x00" + bytes((index >> 8, index & 255))

    def heed(self):
        """Take in that `levels` has changed."""
        rows = self.levels
        self._hear = [[j for j, level in enumerate(rows[i]) if j != i and level > DEAF] for i in range(len(rows))]

    def send(self, station, mac, frame):
        """A program hands over a frame: to one mac, or to all (None)."""
        if self.saw:
            self.saw(station, mac, frame)
        self.frames += 1
        station.number += 1
        self._attempt_in(WINDOW, (station, mac, frame, station.life, 1))

    def _attempt_in(self, window, job):
        self.world.at(self.world.now + BEACON_US + SLOT_US * random.randrange(window), self._attempt, job)

    def _attempt(self, job):
        station, mac, frame, life, tries = job
        if station.life != life:
            return
        now, index, busy, channel = self.world.now, station.index, station.sends_to, station.channel
        for other in self.on_air:
            if other[1] > busy and other[0] + SENSED_US <= now and other[3] == channel:
                if self.levels[other[2]][index] >= SENSE:
                    busy = other[1]
        if busy > now:
            window = min(WINDOW << (tries - 1), 1024)
            self.world.at(busy + BEACON_US + SLOT_US * random.randrange(window), self._attempt, job)
            return
        self.world.at(now + airtime(len(frame)), self._sent_all if mac is None else self._sent_one, (
            job, self._begin(station, airtime(len(frame)))
        ))  # fmt: skip

    def _begin(self, station, lasts):
        """Return the entry of a transmission that begins now."""
        now, channel = self.world.now, station.channel
        mine = [now, now + lasts, station.index, channel, []]
        for other in self.on_air:
            if -3 < other[3] - channel < 3:
                other[4].append((station.index, channel))
                mine[4].append((other[2], other[3]))
        self.on_air.append(mine)
        station.sends_from, station.sends_to = now, now + lasts
        self.used_us += lasts
        return mine

    def _heard(self, station, sent):
        """Return the level at which a station has received a transmission; 0 when it has not."""
        if station.node is None or (station.sends_to > sent[0] and station.sends_from < sent[1]):
            return 0
        apart = abs(station.channel - sent[3])
        if apart > 2:
            return 0
        index = station.index
        level = self.levels[sent[2]][index] + self._fades[random.getrandbits(10)] - NEXT_CHANNEL * apart
        step = level + 1100
        if step < 0 or (step < 400 and random.getrandbits(16) >= self._shares[step]):
            return 0
        for sender, channel in sent[4]:
            if self.levels[sender][index] - NEXT_CHANNEL * abs(channel - station.channel) > level - CAPTURE:
                self.collisions += 1
                return 0
        now = sent[1]
        while station.changes_us < now:
            station.bad = not station.bad
            station.changes_us += self._period(self.bad_us if station.bad else self.good_us)
        if station.bad and random.random() < BAD_LOSS:
            return 0
        return level

    @staticmethod
    def _period(mean_us):
        return int(-log(1 - random.random()) * mean_us) + 1000

    def _sent_all(self, key):
        (station, _, frame, life, _), sent = key
        self.on_air.remove(sent)
        if station.life != life:
            return
        stations, mac = self.stations, station.mac
        for j in self._hear[station.index]:
            level = self._heard(stations[j], sent)
            if level:
                stations[j].take(frame, level, mac)
        station.done(True)

    def _sent_one(self, key):
        job, sent = key
        station, mac, frame, life, _ = job
        self.on_air.remove(sent)
        if station.life != life:
            return
        other = self.by_mac.get(mac)
        level = self._heard(other, sent) if other else 0
        if not level or (other.sends_to > self.world.now):
            self.world.at(self.world.now + TURN_US + ACK_US, self._missed, job)
            return
        number = station.life, station.number
        if other.numbers.get(station.index) != number:
            other.numbers[station.index] = number
            other.take(frame, level, station.mac)
        self.world.at(self.world.now + TURN_US + ACK_US, self._acked, (job, self._begin(other, TURN_US + ACK_US)))

    def _acked(self, key):
        job, sent = key
        self.on_air.remove(sent)
        station, life = job[0], job[3]
        if station.life != life:
            return
        if self._heard(station, sent):
            station.done(True)
        else:
            self._missed(job)

    def _missed(self, job):
        station, mac, frame, life, tries = job
        if station.life != life:
            return
        if tries == TRIES:
            station.done(False)
            return
        self._attempt_in(min(WINDOW << tries, 1024), (station, mac, frame, life, tries + 1))


class Datagrams(Air):
    """The same stations over UDP: nobody waits, nothing is acknowledged, some are lost, and some overtake others."""

    LOSS, LATEST_US = 0.05, 250000

    def _attempt_in(self, window, job):
        station, mac, frame, life, _ = job
        for j in self._hear[station.index] if mac is None else [self.by_mac[mac].index]:
            if random.random() >= self.LOSS:
                wait = 500 + random.randrange(self.LATEST_US if random.random() < 0.2 else 2000)
                self.world.at(self.world.now + wait, self._arrived, (self.stations[j], frame, station.mac))
        self.world.at(self.world.now + 200, self._gone, (station, life))

    @staticmethod
    def _arrived(key):
        station, frame, mac = key
        if station.node is not None:
            station.take(frame, -500, mac)

    @staticmethod
    def _gone(key):
        station, life = key
        if station.life == life:
            station.done(True)
