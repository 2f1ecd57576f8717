"""lib/mesh against members that lie: a stolen pole has K_net, and says what it wants."""

from struct import pack

import soft_aes  # noqa: F401
from lib.mesh import counts
from lib.mesh.frames import ALL, BEACON, FLOOD, ROOT, TIMED, UP, UPLINK
from lib.mesh.nettime import NetTime
from mesh_air import MS_2020, Insider, chain, mac_of

WASM = True


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


def test_whatever_seqno_a_member_has_claimed_the_true_root_is_followed_again():
    for jumps in ((0x7FFF,), (0x7FFF, 0x7FFF), (0x5000, 0x4000)):
        air, nodes = chain(3)
        air.run(9000)
        node, liar = nodes[2], Insider(50)
        seqno = nodes[0].routes.own
        for jump in jumps:
            seqno = seqno + jump & 0xFFFF
            node.on_rx(liar.beacon(1, seqno, 100, 1, UPLINK), -40, air.now, mac_of(50))
            for _ in range(60):
                node.routes.links.get(50).sent(True)
            node.upward.choose(air.now)
            air.run(1500)
        air.until(lambda node=node: node.parent_id() == 2, 400000)


def test_a_member_that_signs_as_another_one_does_not_silence_that_one_for_ever():
    air, nodes = chain(3)
    air.run(9000)
    node, liar = nodes[2], Insider(2)
    liar.guard.counter.epoch = liar.guard.counter.ctr = 0xFFFF
    liar.guard.counter.ctr -= 1
    node.on_rx(liar.beacon(1, 1, 300, 1, UPLINK), -60, air.now, mac_of(50))
    assert node.counts[counts.DUPLICATE] == 1
    air.run(600000)
    assert not node.routes.root and node.counts[counts.DUPLICATE] > 1
    air.until(lambda: node.routes.root == 1, 3600000)
    log, air.log = air.log, []
    air.run(125000)
    assert log is None and node.routes.root == 1
    old = [frame for source, _, frame in air.log if source == 2]
    before = node.counts[counts.REPLAY]
    for frame in old:  # who is heard has a floor as ever
        node.on_rx(frame, -60, air.now, mac_of(2))
    assert node.counts[counts.REPLAY] == before + len([frame for frame in old if frame[5:7] in (b"\0\3", b"\xff\xff")])


def test_a_member_that_says_it_is_a_root_is_left_again():
    air, nodes = chain(4)
    thief = air.add(5, root=True)
    thief.secrecy.key = lambda ident: bytes(16)  # it has no member's key
    air.run(60000)
    assert nodes[3].routes.root == 5
    for number, node in enumerate(nodes[1:]):
        air.until(lambda number=number, node=node: node.offer(number, b"x", air.now), 20000)
    air.until(lambda: all(node.app.ackeds for node in nodes[1:]), 60000)
    assert nodes[3].routes.root == 1 and nodes[3].counts[counts.SILENT] and thief.app.batches == []


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
