"""lib/mesh against whoever has a radio: mutated, replayed, forged, truncated frames.

A node in a running site is fed 100,000 frames: nothing is acted on, nothing raised, memory stays as it is.
Members that lie are in mp_mesh_liars.
"""

import gc
import random

from lib.mesh import counts
from mesh_air import Insider, chain, mac_of

TIMEOUT = {
    "test_a_hundred_thousand_hostile_frames_change_nothing": 180,
    "test_over_udp_where_frames_may_come_in_any_order_they_change_nothing_either": 180,
}


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


def recorded(**more):
    """Return a running chain of four, and all frames that were on its air."""
    air, nodes = chain(4, **more)
    air.acks = more.get("mac_ack", True)
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


def hostile(**more):
    """Feed 100,000 frames to two nodes of a site."""
    random.seed(5)
    air, nodes, log = recorded(**more)
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


def test_a_hundred_thousand_hostile_frames_change_nothing():
    hostile()


def test_over_udp_where_frames_may_come_in_any_order_they_change_nothing_either():
    hostile(mac_ack=False, window32=True, channel=0)


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
            node.on_rx(thief.frame(0xFFFF if random.randrange(3) else node.id, kind, body), -60, air.now, mac_of(50))
            if j % 8 == 0:
                air.now = air.now + 5 & (1 << 30) - 1
                node.tick(air.now)
                if node.next(air.now):
                    node.on_sent(random.randrange(2) == 0, air.now)
        gc.collect()
        assert gc.mem_alloc() - live < 8000, gc.mem_alloc() - live
        assert len(node.guard.members.rows) <= 256 and len(node.routes.links.all) <= 24
        assert node.app.batches == [] and node.app.commands == []
