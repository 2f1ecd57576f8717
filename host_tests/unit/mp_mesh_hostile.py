"""lib/mesh against whoever has a radio: mutated, replayed, forged, truncated frames, and members that lie.

A node in a running site is fed 100,000 frames: nothing is acted on, nothing raised, memory stays as it is.
"""

import gc
import random
from struct import pack, pack_into

from lib.mesh import counts, keys
from lib.mesh.frames import ALL, BEACON, BEACON_BODY, BODY, FLOOD, ROOT, TIMED, UP, UPLINK
from lib.mesh.guard import Guard
from lib.mesh.nettime import NetTime
from mesh_air import MS_2020, SECRET, Conf, mac_of
from mp_mesh_node import chain

TIMEOUT = {"test_a_hundred_thousand_hostile_frames_change_nothing": 180}


def state(node):
    """All that a frame could have changed."""
    routes = node.routes
    return (
        node.parent_id(), routes.root, routes.cost(), routes.own, routes.seqno(), [one.id for one in routes.links.all],
        sorted(node.guard.members.rows), node.guard.members.via(4), node.queue.count, node.channel.at,
        node.nettime.epoch, node.app.batches, node.app.ackeds, node.app.commands, node.app.results, node.app.times[-1:],
        node.outbox._sayings, node.outbox._answers, len(node.custody._batches), node.guard.members._epochs,
        node.guard.members._ctrs, routes._floors, node.down._answers,
    )  # fmt: skip


def recorded():
    """Return a running chain of four, and all frames that were on its air."""
    air, nodes = chain(4)
    air.log = []
    air.run(9000)
    for number in range(1, 4):
        nodes[3].offer(number, b"12 kWh" * 20, air.now)
        air.run(3000)
    nodes[0].command(4, 1, 60, b"open", air.now)
    nodes[0].command(3, 2, 60, b"open", air.now)
    air.run(20000)
    return air, nodes, air.log


def mutated(frame):
    """A frame that is wrong in one way or another."""
    wrong = bytearray(frame)
    how = random.randrange(6)
    if how == 0:
        return bytes(random.getrandbits(8) for _ in range(random.randrange(260)))
    if how == 1:
        return bytes(wrong[: random.randrange(len(wrong))])
    if how == 2:
        return bytes(wrong) + bytes(1 + random.randrange(300))
    if how == 3:  # newer counters, which only the MIC can tell
        wrong[7 + random.randrange(4)] ^= 1 + random.randrange(255)
    elif how == 4:
        for _ in range(1 + random.randrange(4)):
            wrong[random.randrange(len(wrong))] ^= 1 << random.randrange(8)
    else:
        wrong[1] ^= 1 + random.randrange(255)
    return bytes(wrong)


def test_a_hundred_thousand_hostile_frames_change_nothing():
    random.seed(5)
    air, nodes, log = recorded()
    for i in (1, 0):  # a pole in the middle, and the root
        node = nodes[i]
        near = node.id - 1, node.id + 1
        frames = [frame for source, mac, frame in log if source in near and mac in (None, mac_of(node.id))]
        air.run(1000)
        before = str(state(node))
        gc.collect()
        live = gc.mem_alloc()
        for j in range(50000):
            frame = frames[random.randrange(len(frames))]
            if j % 3:
                frame = mutated(frame)
            mac = mac_of(random.randrange(65536))
            node.on_rx(memoryview(frame) if j % 2 else frame, -60, air.now, mac)
        assert str(state(node)) == before
        gc.collect()
        assert gc.mem_alloc() - live < 1000, gc.mem_alloc() - live
        told = len(node.app.events)
        noted = [node.counts[kind] for kind in (counts.MALFORMED, counts.OTHER_SITE, counts.REPLAY, counts.FORGED)]
        assert min(noted) > 1000, noted
        air.run(130000)
        codes = [code for code, _ in node.app.events[told:]]
        assert sorted(codes) == [counts.MALFORMED, counts.REPLAY, counts.FORGED], codes  # each once
    nodes[3].offer(9, b"x", air.now)
    air.until(lambda: 9 in nodes[3].app.ackeds)


class Insider:
    """A stolen pole: it has K_net, and says what it wants."""

    def __init__(self, ident):
        self.guard = Guard(Conf(ident, epoch=100), keys.net(SECRET), lambda: None, counts.Counts(None))

    def frame(self, to, kind, body):
        buf = bytearray(250)
        buf[BODY : BODY + len(body)] = body
        return bytes(buf[: self.guard.seal(memoryview(buf), BODY + len(body), kind, to)])

    def beacon(self, root, seqno, cost, hops, flags, ms=0, clock=1, parent=1):
        body = bytearray(25)
        pack_into(BEACON_BODY, body, 0, root, seqno, cost, hops, parent, flags, 1, 6, 0, ms >> 32, ms & 0xFFFFFFFF, 1,
                  clock, 0, 0)  # fmt: skip
        return self.frame(ALL, BEACON, body)


def test_a_member_with_an_impossible_cost_is_not_believed():
    air, nodes = chain(3)
    node, liar = nodes[2], Insider(50)
    for said in (
        (1, 500, 50, 1, UPLINK), (1, 500, 0, 3, UPLINK), (1, 500, 200, 0, UPLINK), (50, 500, 100, 1, UPLINK),
        (1, 500, 0, 0, UPLINK | ROOT), (50, 500, 0, 1, UPLINK | ROOT), (50, 500, 0, 0, ROOT), (1, 500, 200, 1, 0),
    ):  # fmt: skip
        before = node.counts[counts.LIAR]
        node.on_rx(liar.beacon(*said), -50, air.now, mac_of(50))
        assert node.counts[counts.LIAR] == before + 1 and node.parent_id() == 2, said


def test_a_member_that_attracts_everything_and_drops_it_is_left_again():
    air, nodes = chain(3)
    air.run(25000)
    node, liar = nodes[2], Insider(50)
    air.nodes[50] = Mute()
    air.reach = lambda a, b: abs(a - b) == 1 or {a, b} == {3, 50}
    node.on_rx(liar.beacon(1, nodes[0].routes.own, 100, 1, UPLINK), -50, air.now, mac_of(50))
    for _ in range(50):
        node.routes.links.get(50).sent(True)
    node.upward.choose(air.now)
    assert node.parent_id() == 50
    assert node.offer(1, b"x", air.now)
    air.until(lambda: node.app.ackeds, 20000)
    assert node.parent_id() == 2 and node.counts[counts.SILENT]


class Mute:
    """Takes and says nothing; its radio acknowledges."""

    def on_rx(self, frame, rssi, now, mac):
        pass

    def tick(self, now):
        return 1000

    def next(self, now):
        return None


def test_a_member_that_always_knows_a_newer_seqno_makes_no_storm_of_waves():
    air, nodes = chain(3)
    air.run(120000)
    root, liar = nodes[0], Insider(50)
    air.log = []
    began = root.routes.own
    for _ in range(600):  # ten a second, for a minute
        root.on_rx(liar.beacon(1, root.routes.own + 1000 & 0xFFFF, 200, 1, UPLINK), -50, air.now, mac_of(50))
        air.run(100)
    waves = {frame[13:15] for source, _, frame in air.log if source == 1 and frame[0] & 15 == BEACON}
    assert root.routes.own != began and len(waves) < 10, len(waves)
    air.run(300000)
    assert all(node.routes.root == 1 for node in nodes)


def test_a_time_a_day_ahead_is_refused_until_a_second_wave_says_the_same():
    air, nodes = chain(2)
    pole = nodes[1]
    air.run(1000)
    air.remove(1)
    root = Insider(1)
    seqno = nodes[0].routes.own
    true = pole.nettime.read(air.now)
    flags = UPLINK | ROOT | TIMED
    for _ in range(5):  # however often it is said in one wave
        pole.on_rx(root.beacon(1, seqno + 1, 0, 0, flags, true + 90000000, 9, 0), -60, air.now, mac_of(1))
    assert abs(pole.nettime.read(air.now) - true) < 10 and pole.counts[counts.TIME] == 5
    pole.on_rx(root.beacon(1, seqno + 2, 0, 0, flags, true + 190000000, 9, 0), -60, air.now, mac_of(1))
    assert abs(pole.nettime.read(air.now) - true) < 10
    pole.on_rx(root.beacon(1, seqno + 3, 0, 0, flags, true + 190000000, 9, 0), -60, air.now, mac_of(1))
    assert abs(pole.nettime.read(air.now) - true - 190000000) < 10


def test_a_time_before_the_one_that_was_stored_is_refused_after_a_reboot():
    fresh = NetTime(MS_2020 + 10**9)
    assert not fresh.heard(MS_2020, 1, 1, 5, 100) and fresh.read(100) is None
    assert fresh.heard(MS_2020 + 10**9, 1, 1, 5, 100)


def test_what_was_stored_in_the_future_does_not_keep_the_time_away_for_ever():
    air, (root, _) = chain(2)
    air.run(1000)
    air.remove(2)
    air.log = []
    pole = air.add(2, epoch=2, time=MS_2020 + 10**12)
    air.reach = lambda a, b: a == 1  # its questions are not heard yet
    root.beacons.wave(air.now)
    air.until(lambda: pole.routes.root)
    assert pole.nettime.read(air.now) is None
    air.reach = lambda a, b: True
    old = [frame for source, mac, frame in air.log if source == 1 and mac is None]
    air.until(lambda: pole.nettime.read(air.now) is not None, 15000)
    assert abs(pole.nettime.read(air.now) - root.nettime.read(air.now)) < 10 and pole.counts[counts.TIME] > 0
    air.remove(2)
    pole = air.add(2, epoch=3, time=MS_2020 + 10**12)
    air.reach = lambda a, b: False
    for frame in old:  # who only repeats what was said before the reboot answers no question
        pole.on_rx(frame, -60, air.now, mac_of(1))
        air.run(500)
    assert pole.parent_id() == 1 and pole.nettime.read(air.now) is None


def test_a_member_can_forge_neither_anothers_readings_nor_a_command():
    air, nodes = chain(3)
    air.run(9000)
    root, pole = nodes[0], nodes[1]
    thief = Insider(50)
    up = pack(">HHBBHHH", 3, 1, 0, 0, 500, 9, 9) + bytes(40)
    root.on_rx(thief.frame(1, UP, up), -60, air.now, mac_of(50))
    assert root.app.batches == [] and root.counts[counts.UNSEALED] == 1
    root.on_rx(thief.frame(1, UP, pack(">HHBBHHH", 5000, 1, 0, 0, 500, 9, 9) + bytes(40)), -60, air.now, mac_of(50))
    assert root.counts[counts.UNKNOWN] == 1
    for kind in (1, 2, 77):
        down = pack(">HHBBHH", 2, 1, 9, kind, 9, 9) + bytes(40)
        pole.on_rx(thief.frame(ALL, FLOOD, down), -60, air.now, mac_of(50))
    assert pole.app.commands == [] and pole.app.ackeds == [] and pole.counts[counts.UNSEALED] == 3


def test_whatever_a_member_signs_nothing_is_raised_and_memory_is_bounded():
    random.seed(9)
    air, nodes = chain(3)
    air.run(9000)
    for node in nodes[:2]:
        thief = Insider(50)
        lengths = (25, 29), (21, 235), (19, 235), (4,), (5,), (19, 235), (4,), (2,)
        for j in range(20000):
            if j == 12000:  # the tables are full
                gc.collect()
                live = gc.mem_alloc()
            kind = 1 + random.randrange(8)
            n = random.choice(lengths[kind - 1])
            body = bytes(random.getrandbits(8) & (255 if random.randrange(3) else 3) for _ in range(n))
            node.on_rx(thief.frame(ALL if random.randrange(3) else node.id, kind, body), -60, air.now, mac_of(50))
            if j % 8 == 0:
                air.now = air.now + 5 & (1 << 30) - 1
                node.tick(air.now)
                if node.next(air.now):
                    node.on_sent(random.randrange(2) == 0, air.now)
        gc.collect()
        assert gc.mem_alloc() - live < 8000, gc.mem_alloc() - live
        assert len(node.guard.members.rows) <= 256 and len(node.routes.links.all) <= 24
        assert node.app.batches == [] and node.app.commands == []
