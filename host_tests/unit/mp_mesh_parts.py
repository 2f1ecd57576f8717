"""lib/mesh: the queue, custody, time and channel, each by itself."""

import gc

import soft_aes  # noqa: F401
from lib.mesh import counts
from lib.mesh.channel import Channel
from lib.mesh.custody import Custody
from lib.mesh.frames import ALL, DOWN, FLOOD, MOVE, SOLICIT, UP, UPLINK
from lib.mesh.nettime import NetTime
from lib.mesh.queue import SIZE, Queue
from lib.mesh.ticks import diff, later

WASM = True
NOW = (1 << 30) - 500  # ticks wrap within each test


# --- queue


def test_what_goes_down_is_sent_before_what_goes_up_and_each_in_its_order():
    queue = Queue(lambda n: 0)
    slots = [queue.take(kind, 30, 2, NOW) for kind in (UP, UP, DOWN, FLOOD, UP)]
    order = []
    while queue.count:
        slot = queue.pick(NOW, True)
        order.append(slots.index(slot))
        queue.free(slot)
    assert order == [2, 3, 0, 1, 4]


def test_without_a_route_only_what_goes_down_is_sent():
    queue = Queue(lambda n: 0)
    queue.take(UP, 30, 0, NOW)
    assert queue.pick(NOW, False) == -1 and queue.wait(NOW, False, 1000) == 1000
    slot = queue.take(DOWN, 30, 2, later(NOW, 700))
    assert queue.pick(NOW, False) == -1 and queue.wait(NOW, False, 1000) == 700
    assert queue.pick(later(NOW, 700), False) == slot


def test_the_queue_has_twenty_places():
    queue = Queue(lambda n: 0)
    slots = [queue.take(UP, 250 - 4, 0, NOW) for _ in range(SIZE)]
    assert sorted(slots) == list(range(SIZE)) and queue.take(UP, 30, 0, NOW) == -1
    for slot in slots:
        queue.frame(slot)[:] = bytes([slot]) * 250
    assert all(bytes(queue.frame(slot)) == bytes([slot]) * 250 for slot in slots)
    queue.free(7)
    queue.free(7)
    assert queue.count == 19 and queue.take(UP, 30, 0, NOW) == 7


def test_a_frame_that_is_not_acknowledged_is_tried_eight_times_upward_and_five_times_downward():
    for kind, tries in ((UP, 8), (DOWN, 5)):
        queue = Queue(lambda n: n - 1)
        slot, now, waits = queue.take(kind, 30, 2, NOW), NOW, []
        while True:
            assert queue.pick(now, True) == slot
            if not queue.failed(slot, now):
                break
            waits.append(queue.wait(now, True, 5000))
            now = later(now, waits[-1])
        assert len(waits) == tries - 1 and waits == sorted(waits) and waits[0] == 99 and waits[-1] <= 659
        assert queue.count == 0


def test_the_last_64_frames_are_known():
    queue = Queue(lambda n: 0)
    keys = [bytes((1, 0, 0, 0, 0, i >> 8, i & 255)) for i in range(200)]
    assert not any(queue.known(key) for key in keys)
    assert all(queue.known(key) for key in keys[-64:])
    assert not queue.known(keys[0])
    queue = Queue(lambda n: 0)
    queue.known(b"\1\2\3\1\2\3\1")
    queue.known(b"\2\3\1\2\3\1\2")
    assert not queue.known(b"\2\3\1\2\3\1\1")  # bytes of two neighbours are none of theirs


# --- custody


class Fake:
    """What Custody needs of a node: a parent with an uplink, and a list instead of the air."""

    def __init__(self):
        self.sent, self.acks, self.blamed, self.room = [], [], [], True
        self.flags, self.root, self.count, self.flight, self.epoch, self.id = UPLINK, 1, 0, -1, 5, 2
        self.queue = self.routes = self.parent = self.upward = self.app = self.secrecy = self.counter = self
        self.outbox = self
        self.answers = 0

    def rand(self, n):
        return 0

    def parent_id(self):
        return 1

    def send(self, content, tries, owner, now):
        if self.room:
            self.sent.append((content, tries, owner))
        return self.room

    def owned(self, owner):
        return -1

    def acked(self, number):
        self.acks.append(number)

    def silent(self, neighbour, now):
        self.blamed.append(now)

    def answered(self):
        self.answers += 1

    # of a Channel
    def say(self, to, kind, body):
        self.sent.append((to, kind, body))

    def channel(self, number):
        self.sent.append(number)

    def moved(self, now):
        self.sent.append("moved")


def ack(newest, safe, held=0, credit=1, epoch=5):
    return bytes((0, epoch, newest >> 8, newest & 255, safe >> 8, safe & 255, held >> 8, held & 255, credit))


def test_a_batch_is_sent_again_until_it_is_safe_and_never_after():
    node = Fake()
    custody = Custody(node)
    assert custody.offer(77, 0, b"x", NOW)
    gaps, now, last = [], NOW, NOW
    for _ in range(6):
        custody.sent(node.sent[-1][2], node, True, now)
        sends = len(node.sent)
        wait = custody.tick(now)
        while len(node.sent) == sends:
            now = later(now, max(1, wait))
            wait = custody.tick(now)
        gaps.append(diff(now, last))
        last = now
    assert [(gap + 500) // 1000 for gap in gaps] == [3, 3, 3, 6, 12, 24]
    assert [tries for _, tries, _ in node.sent] == [0, 1, 2, 3, 4, 5, 6]
    assert len({content for content, _, _ in node.sent}) == 1 and len(node.blamed) == 6
    custody.acked(ack(1, 1), now)
    assert node.acks == [77] and node.answers == 1
    sends = len(node.sent)
    custody.tick(later(now, 500000))
    custody.acked(ack(1, 1), now)
    assert len(node.sent) == sends and node.acks == [77]


def test_one_that_took_the_parent_several_tries_blames_it_from_the_second_time_on():
    node = Fake()
    custody = Custody(node)
    assert custody.offer(77, 0, b"x", NOW)
    now = NOW
    for blamed in range(3):
        custody.sent(node.sent[-1][2], node, False, now)
        now = later(now, 3001)
        custody.tick(now)
        assert len(node.sent) == blamed + 2 and len(node.blamed) == blamed


def test_an_acknowledgement_may_come_in_any_order_and_only_for_this_epoch():
    node = Fake()
    custody = Custody(node)
    custody._tokens = 4
    for number in (9, 8, 7, 6):
        assert custody.offer(number, 0, b"x", NOW)
    assert not custody.offer(5, 0, b"x", NOW)
    custody.acked(ack(4, 0xFFFF, epoch=4), NOW)
    custody.acked(b"", NOW)
    assert node.acks == []
    custody.acked(ack(3, 0b101), NOW)
    assert node.acks == [9, 7]
    custody.acked(ack(40000, 0xFFFF), NOW)
    assert node.acks == [9, 7]
    custody.acked(ack(4, 0b101), NOW)
    assert node.acks == [9, 7, 8, 6]


def test_one_that_was_overtaken_is_sent_again_early_and_a_held_one_late():
    node = Fake()
    custody = Custody(node)
    custody._tokens = 4
    for number in (1, 2, 3):
        custody.offer(number, 0, b"x", NOW)
        custody.sent(node.sent[-1][2], node, True, NOW)
    now = later(NOW, 1600)
    custody.acked(ack(3, 0b001, 0b010), now)
    custody.tick(now)
    assert node.acks == [3] and [content[3:5] for content, _, _ in node.sent[3:]] == [b"\0\1"]
    custody.tick(later(NOW, 14000))
    assert len(node.sent) == 4
    custody.tick(later(now, 15001))
    assert [content[3:5] for content, _, _ in node.sent[4:]] == [b"\0\2"]


def test_batches_flow_as_four_and_then_one_in_two_seconds_slower_when_they_time_out():
    node = Fake()
    custody = Custody(node)
    custody._pace = 2000
    now, taken = NOW, []
    for i in range(12000):
        if custody.offer(i, 0, b"x", now):
            taken.append(i)
            custody.acked(ack(len(taken), 0xFFFF), now)
        now = later(now, 1)
    assert taken == [0, 2000, 4000, 6000, 8000, 10000]
    for _ in range(9000):
        custody.tick(now)
        now = later(now, 1)
    assert [custody.offer(i, 0, b"x", now) for i in range(5)] == [True] * 4 + [False]
    taken += [0] * 4
    custody.acked(ack(len(taken), 0xFFFF), now)
    custody.congested(now)
    before = len(taken)
    for i in range(8500):
        if custody.offer(i, 0, b"x", now):
            taken.append(i)
            custody.acked(ack(len(taken), 0xFFFF), now)
        now = later(now, 1)
    assert len(taken) - before == 2


def test_nothing_is_taken_without_a_route_an_uplink_or_room():
    for what, value in (("parent", None), ("flags", 0), ("count", 13)):
        node = Fake()
        setattr(node, what, value)
        assert not Custody(node).offer(1, 0, b"x", NOW), what


def test_what_was_on_its_way_to_another_root_goes_at_once():
    node = Fake()
    custody = Custody(node)
    custody.offer(1, 0, b"x", NOW)
    custody.sent(node.sent[-1][2], node, True, NOW)
    custody.acked(ack(1, 0, 1), NOW)
    custody.moved(NOW)
    custody.tick(later(NOW, 1500))
    assert len(node.sent) == 2 and node.blamed == []


def test_what_a_batch_costs_does_not_grow_with_how_often_it_was_sent():
    node = Fake()
    custody = Custody(node)
    custody.offer(1, 0, b"x", NOW)
    now = NOW
    for _ in range(3000):  # a root that never says anything, for four days
        custody.sent(node.sent.pop()[2], node, True, now)
        now = later(now, 180000)
        custody.tick(now)
        node.blamed.clear()
    gc.collect()
    live = gc.mem_alloc()
    custody.sent(1 % 255 + 1, node, True, now)
    assert gc.mem_alloc() - live < 200, gc.mem_alloc() - live


# --- time


def test_what_timed_out_before_goes_to_a_new_parent_within_a_second_and_nothing_else_does():
    node = Fake()
    custody = Custody(node)
    custody._tokens = 4
    for number in (1, 2):
        custody.offer(number, 0, b"x", NOW)
    custody.sent(node.sent[0][2], node, True, NOW)
    now = later(NOW, 3001)
    custody.tick(now)
    for _, _, owner in node.sent[:2]:
        custody.sent(owner, node, True, now)
    assert len(node.sent) == 3
    custody.turned(later(now, 1000))  # sent just now
    custody.tick(later(now, 1000))
    assert len(node.sent) == 3
    custody.turned(later(now, 1600))
    custody.tick(later(now, 2600))
    assert [(content[3:5], tries) for content, tries, _ in node.sent[3:]] == [(b"\0\1", 1)]


def test_time_is_known_from_the_first_beacon_and_follows_small_errors_slowly():
    clock = NetTime(0)
    assert clock.read(NOW) is None
    assert clock.heard(1000000, 1, 7, 1, NOW)
    assert clock.read(later(NOW, 1000)) == 1001002 and clock.stratum == 2 and clock.epoch == 7
    clock.heard(1001100, 1, 7, 2, later(NOW, 1000))
    assert clock.read(later(NOW, 1000)) == 1001052  # half of 100
    clock.heard(1001000, 1, 7, 3, later(NOW, 1000))
    assert clock.read(later(NOW, 1000)) == 1001049  # it only seems late: what waits for the air gets older
    clock.heard(1003000, 1, 7, 4, later(NOW, 1000))
    assert clock.read(later(NOW, 1000)) == 1003002  # a step
    clock.heard(1002900, 1, 8, 5, later(NOW, 1000))
    assert clock.read(later(NOW, 1000)) == 1002902  # another epoch of the root's clock


def test_a_parent_whose_time_jumps_is_followed_once_a_minute():
    clock = NetTime(0)
    clock.heard(10**12, 1, 1, 1, NOW)
    now, steps = NOW, 0
    for i in range(600):
        now = later(now, 1000)
        before = clock.read(now)
        clock.heard(10**12 + i * 1000 + 7200000 * (i & 1), 1, i & 255, i, now)
        steps += abs(clock.read(now) - before) > 500
    assert 0 < steps <= 11, steps
    for i in range(2):
        now = later(now, 120000)
        assert clock.heard(2 * 10**12 + i * 120000, 1, 1, 1000 + i, now) == i  # and the truth, as soon as it is told
    assert clock.read(now) == 2 * 10**12 + 120002


def test_a_root_that_steps_begins_a_new_epoch():
    clock = NetTime(0)
    assert clock.set(10**12, 1, NOW) and clock.epoch == 1
    assert not clock.set(10**12 + 1300, 1, later(NOW, 1000)) and clock.epoch == 1
    assert clock.set(10**12 + 2000, 1, later(NOW, 1000)) and clock.epoch == 2
    assert not clock.set(None, 1, NOW) and clock.stratum == 255


def test_time_goes_on_for_weeks_without_a_beacon():
    clock = NetTime(0)
    clock.heard(1000000, 1, 1, 1, 5)
    now = 5
    for _ in range(20 * 24 * 60):
        now = later(now, 60000)
        clock.settle(now)
    assert clock.read(now) == 1000002 + 20 * 86400000


# --- channel


def walk(node, channel, ms, routed=False, now=NOW):
    """Let time pass; return what was said and tuned, with the ms of each."""
    out = []
    end = later(now, ms)
    while diff(end, now) > 0:
        node.sent.clear()
        wait = channel.tick(now, 1000, routed)
        out += [(ms - diff(end, now), what) for what in node.sent]
        now = later(now, max(1, wait))
    return out


def test_without_a_route_a_node_asks_then_scans_all_channels_the_likely_ones_first():
    node = Fake()
    channel = Channel(node, 6)
    said = walk(node, channel, 60000)
    assert all(what[:2] == (ALL, SOLICIT) for at, what in said if at < 30000) and 3 <= len(said)
    tuned = [(at, what) for at, what in said if isinstance(what, int)]
    assert [what for _, what in tuned][:13] == [1, 6, 11, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13]
    assert 30000 <= tuned[0][0] < 32000 and tuned[13][1] == 6 and tuned[12][0] - tuned[0][0] < 5000
    assert tuned[14][0] - tuned[13][0] >= 10000  # back at the configured one, and then again
    for at, _ in tuned[:13]:
        assert len([1 for when, what in said if when in range(at, at + 300) and not isinstance(what, int)]) >= 2


def test_with_a_route_or_over_udp_nothing_is_scanned():
    node = Fake()
    assert walk(node, Channel(node, 6), 600000, True) == []
    said = walk(node, Channel(node, 0), 600000)
    assert said and not any(isinstance(what, int) for _, what in said)


def test_a_node_that_finds_its_site_elsewhere_goes_back_once_and_takes_the_others_along():
    node = Fake()
    channel = Channel(node, 6)
    walk(node, channel, 31500)
    now = later(NOW, 31500)
    assert channel.at != 6
    node.sent.clear()
    channel.beacon(11, now)
    assert node.sent == [6]
    said = [what for _, what in walk(node, channel, 1000, True, now)]
    assert said[:5] == [(ALL, MOVE, b"\x0b\0")] * 3 + [11, "moved"] and channel.at == 11


def test_a_channel_that_there_is_not_is_never_tuned_to_and_over_udp_none_is():
    for hint, named in ((6, 0), (6, 15), (6, 255), (0, 6)):
        node = Fake()
        channel = Channel(node, hint)
        channel.beacon(named, NOW)
        channel.heard_move(named, NOW)
        said = walk(node, channel, 31500)
        node.sent.clear()
        channel.beacon(named, later(NOW, 31500))
        assert node.sent == [] and named not in [what for _, what in said], (hint, named)


def test_what_a_scan_costs_does_not_grow_with_how_many_there_were():
    node = Fake()
    channel = Channel(node, 6)
    channel._scans = 100000  # a year without a route
    walk(node, channel, 31000)
    gc.collect()
    now, live, most = later(NOW, 31000), gc.mem_alloc(), 0
    for _ in range(50):
        wait = channel.tick(now, 1000, False)
        most = max(most, gc.mem_alloc() - live)
        gc.collect()
        node.sent.clear()
        now, live = later(now, max(1, wait)), gc.mem_alloc()
    assert most < 3000, most


def test_a_move_is_passed_on_before_it_is_followed():
    node = Fake()
    channel = Channel(node, 6)
    channel.heard_move(1, NOW)
    said = [what for _, what in walk(node, channel, 1000, True)]
    assert said[:4] == [(ALL, MOVE, b"\1\0")] * 3 + [1]
    for wrong in (0, 15, 255, 1):
        node.sent.clear()
        channel.heard_move(wrong, NOW)
        assert [what for _, what in walk(node, channel, 1000, True)] == [], wrong


# --- counts


def test_an_event_comes_at_most_once_in_ten_minutes_for_each_kind():
    told = []
    notes = counts.Counts(lambda code, detail: told.append((code, detail)))
    for minute in range(30):
        for _ in range(200):
            notes.note(counts.FORGED, 9)
        if minute % 2:
            notes.note(counts.DUPLICATE, 7)
        notes.note(counts.OTHER_SITE)
        notes.minute()
    assert told.count((counts.FORGED, 9)) == 3 and told.count((counts.DUPLICATE, 7)) in (2, 3) and len(told) <= 6
