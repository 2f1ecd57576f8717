"""lib/mesh/node: nodes on a small radio; ticks wrap at 2^30 in the middle of each test."""

from struct import pack, pack_into

from lib.mesh import counts
from lib.mesh.custody import Custody
from lib.mesh.frames import ALL, BEACON, BODY, DOWN, FLOOD, LACK, UP
from lib.mesh.nettime import NetTime
from lib.mesh.queue import SIZE
from lib.mesh.ticks import diff, later
from mesh_air import WRAP, Air, chain, mac_of

WASM = True
TIMEOUT = {
    "test_a_chain_forms_and_a_batch_goes_up_and_is_acknowledged": 120,
    "test_over_udp_frames_count_as_arrived_when_the_mesh_itself_says_so": 120,
}


def test_a_chain_forms_and_a_batch_goes_up_and_is_acknowledged():
    air, nodes = chain(5)
    root, far = nodes[0], nodes[-1]
    assert [node.parent_id() for node in nodes] == [0, 1, 2, 3, 4]
    assert [node.routes.hops() for node in nodes] == [0, 1, 2, 3, 4]
    air.run(8000)
    assert far.offer(4000000000, b"12 kWh", air.now, 5)
    assert air.until(lambda: far.app.ackeds) < 1000
    assert root.app.batches == [(5, 4000000000, 5, b"12 kWh")]
    assert far.app.ackeds == [4000000000]
    assert list(far.counts) == list(root.counts) == [0] * counts.KINDS


def test_a_batch_is_acknowledged_only_when_the_brokers_have_it():
    air, (root, pole) = chain(2)
    root.app.prompt = False
    air.run(8000)
    assert pole.offer(7, b"x", air.now)
    air.run(20000)
    assert [batch[1] for batch in root.app.batches] == [7] and pole.app.ackeds == []
    root.confirm(2, 8, air.now)  # never heard of
    root.confirm(3, 7, air.now)
    air.run(2000)
    assert pole.app.ackeds == []
    root.confirm(2, 7, air.now)
    air.run(500)
    assert pole.app.ackeds == [7]


def test_a_batch_whose_acknowledgement_was_lost_is_delivered_once_and_acknowledged_again():
    air, (root, pole) = chain(2)
    air.run(8000)
    air.reach = lambda a, b: b == 1
    assert pole.offer(7, b"x", air.now)
    air.run(3000)
    assert len(root.app.batches) == 1 and pole.app.ackeds == []
    air.reach = lambda a, b: True
    air.until(lambda: pole.app.ackeds)
    assert len(root.app.batches) == 1


def test_what_a_root_has_no_room_for_comes_again_until_it_has():
    air, (root, pole) = chain(2)
    air.run(8000)
    root.app.room = False
    assert pole.offer(7, b"x", air.now)
    air.run(10000)
    assert pole.app.ackeds == []
    root.app.room = True
    air.until(lambda: pole.app.ackeds, 120000)


def test_the_window_is_four_and_one_that_is_lost_does_not_stop_the_others():
    air, (root, pole) = chain(2)
    root.app.prompt = False
    air.run(8000)
    pole.custody._tokens = 4
    took = [pole.offer(number, b"x", air.now) for number in (50, 49, 48, 47, 46)]
    assert took == [True] * 4 + [False]
    air.run(500)
    assert [batch[1] for batch in root.app.batches] == [50, 49, 48, 47]
    root.confirm(2, 47, air.now)
    root.confirm(2, 49, air.now)
    air.run(500)
    assert sorted(pole.app.ackeds) == [47, 49]


def deliver(air, pole, number):
    """Offer a batch until it is taken; return the ms until it is acknowledged."""
    air.until(lambda: pole.offer(number, b"x", air.now), 5000)
    return air.until(lambda: number in pole.app.ackeds)


def test_an_origin_whose_batches_went_to_another_root_for_long_is_taken_again():
    for elsewhere in (14, 15, 16, 0x7FFF, 0x9C40, 0xFFF0):
        air, (root, pole) = chain(2)
        air.run(8000)
        for number in (1, 2):
            assert deliver(air, pole, number) < 1000, elsewhere
            pole.custody._seq = pole.custody._seq + elsewhere & 0xFFFF
        assert [batch[1] for batch in root.app.batches] == [1, 2]


def test_batches_that_another_root_has_made_safe_take_no_room_at_this_one():
    air, (root, pole) = chain(2)
    root.app.prompt = False
    air.run(8000)
    for first in (1, 5, 9):
        pole.custody._tokens = 4
        assert all(pole.offer(first + i, b"x", air.now) for i in range(4))
        air.run(1500)
        assert [batch[1] for batch in root.app.batches] == list(range(1, first + 4))
        if first < 9:
            pole.custody.acked(pack(">HHHHB", 1, pole.custody._seq, 15, 0, 1), air.now)
    for number in range(1, 13):
        root.confirm(2, number, air.now)
    air.run(500)
    assert sorted(pole.app.ackeds) == list(range(1, 13))


def test_numbers_that_come_again_after_a_reboot_are_no_duplicates_of_those_before():
    air, (root, pole) = chain(2)
    air.run(8000)
    assert pole.offer(7, b"before", air.now)
    air.until(lambda: pole.app.ackeds)
    air.remove(2)
    pole = air.add(2, epoch=2)
    air.until(lambda: pole.routes.root)
    air.run(8000)
    assert pole.offer(7, b"after", air.now)
    air.until(lambda: pole.app.ackeds)
    assert [batch[3] for batch in root.app.batches] == [b"before", b"after"]


def test_an_acknowledgement_of_an_earlier_life_never_counts():
    air, (root, pole) = chain(2)
    root.app.prompt = False
    air.run(8000)
    assert pole.offer(7, b"before", air.now)
    air.until(lambda: root.app.batches)
    air.remove(2)
    pole = air.add(2, epoch=2)
    air.until(lambda: pole.routes.root)
    air.run(8000)
    assert pole.offer(8, b"after", air.now)
    air.until(lambda: len(root.app.batches) == 2)
    root.confirm(2, 7, air.now)
    air.run(1000)
    assert pole.app.ackeds == []


def test_nothing_is_taken_without_an_uplink_and_the_tree_stands():
    air, nodes = chain(3)
    air.run(8000)
    nodes[0].uplink(False, 0, air.now)
    air.run(3000)
    assert nodes[2].routes.root == 1 and not nodes[2].offer(1, b"x", air.now)
    nodes[0].uplink(True, 0, air.now)
    air.run(3000)
    assert nodes[2].offer(1, b"x", air.now)


def test_a_command_is_carried_out_once_and_its_result_comes_up():
    air, nodes = chain(4)
    root, far = nodes[0], nodes[3]
    air.run(9000)
    assert root.command(4, 77, 60, b"open", air.now)
    air.until(lambda: root.app.results)
    assert root.app.results == [(4, 77, b"did open")] and far.app.commands == [(77, b"open")]
    assert root.command(4, 77, 60, b"open", air.now)  # once more: the answer comes from the cache
    air.until(lambda: len(root.app.results) == 2)
    assert root.app.results[1] == (4, 77, b"did open") and len(far.app.commands) == 1
    assert root.command(4, 76, 60, b"open", air.now)  # below the floor
    air.until(lambda: len(root.app.results) == 3)
    assert root.app.results[2] == (4, 76, None) and len(far.app.commands) == 1


def test_a_command_with_an_expiry_waits_until_the_time_is_known():
    air, (root, pole) = chain(2)
    air.run(9000)
    assert root.command(2, 9, 60, b"open", air.now)
    root.set_time(None, 0, air.now)
    pole.nettime = NetTime(0)  # as after a reboot
    air.run(8000)
    assert pole.app.commands == [] and pole.app.above == -1
    root.set_time(root.nettime.read(air.now), 1, air.now)
    root.beacons.wave(air.now)
    air.until(lambda: root.app.results, 10000)
    assert root.app.results == [(2, 9, b"did open")] and pole.app.commands == [(9, b"open")]


def test_a_command_of_a_root_that_does_not_trust_its_time_has_no_expiry():
    air, (root, pole) = chain(2)
    air.run(9000)
    root.set_time(None, 0, air.now)
    pole.nettime = NetTime(0)
    assert root.command(2, 9, 60, b"open", air.now)
    air.until(lambda: root.app.results, 10000)
    assert root.app.results == [(2, 9, b"did open")]


def test_a_command_that_has_expired_is_not_carried_out():
    air, (root, pole) = chain(2)
    air.run(9000)
    air.reach = lambda a, b: False
    assert root.command(2, 9, 60, b"open", air.now)
    pole.nettime._base += 70000
    air.run(1000)
    air.reach = lambda a, b: True
    air.until(lambda: root.app.lost, 10000)
    assert root.app.lost == [(2, 9)] and pole.app.commands == [] and pole.app.above == -1


def test_a_command_whose_result_is_lost_is_answered_again_and_not_carried_out_again():
    air, (root, pole) = chain(2)
    air.run(9000)
    air.reach = lambda a, b: b == 2
    assert root.command(2, 1, 60, b"open", air.now)
    air.until(lambda: pole.app.commands)
    air.run(200)
    air.reach = lambda a, b: True
    air.until(lambda: root.app.results)
    assert len(pole.app.commands) == 1


def test_a_command_that_is_not_answered_in_time_is_reported():
    air, (root, pole) = chain(2)
    air.remove(2)
    assert root.command(2, 5, 20, b"open", air.now)
    assert 19000 < air.until(lambda: root.app.lost) < 22000
    assert root.app.lost == [(2, 5)]
    assert not root.command(5000, 6, 20, b"open", air.now)  # nobody of ours
    assert not root.command(2, 6, 0, b"open", air.now) and not root.command(2, 6, 20, bytes(300), air.now)


def test_a_command_floods_where_the_way_down_is_gone():
    air, nodes = chain(4)
    root = nodes[0]
    air.run(9000)
    root.guard.members.came(4, 3)  # a neighbour that is not there
    air.log = []
    assert root.command(4, 77, 60, b"open", air.now)
    air.until(lambda: root.app.results)
    kinds = [frame[0] & 15 for _, _, frame in air.log]
    assert FLOOD in kinds and len(nodes[3].app.commands) == 1


def test_an_answer_may_take_its_time():
    air, (root, pole) = chain(2)
    air.run(9000)
    pole.app.command = lambda ident, payload: None
    assert root.command(2, 9, 60, b"open", air.now)
    air.run(5000)
    assert root.app.results == []
    pole.answer(9, b"done", air.now)
    air.until(lambda: root.app.results)
    assert root.app.results == [(2, 9, b"done")]


def test_a_dead_parent_is_left_and_the_batch_arrives():
    def reach(a, b):
        return {a, b} in ({1, 2}, {1, 3}, {2, 4}, {3, 4})

    air = Air(reach, now=WRAP - 4000)
    root = air.add(1, root=True)
    poles = [air.add(ident) for ident in (2, 3, 4)]
    air.until(lambda: all(pole.routes.root for pole in poles))
    air.run(9000)
    far = poles[2]
    dead = far.parent_id()
    air.remove(dead)
    assert far.offer(1, b"x", air.now)
    air.until(lambda: far.app.ackeds, 8000)
    assert far.parent_id() == 5 - dead and root.app.batches[0][0] == 4


def hang(node):
    """Its program stands still, its radio acknowledges."""
    node.on_rx = lambda frame, rssi, now, mac: None
    node.tick = lambda now: 1000
    node.next = lambda now: None


def drop(node):
    """It answers, and forwards nothing."""
    node.upward.take = lambda frame, now: True


def left(harm, within_ms):
    """In a diamond the parent of the far end comes to harm: a batch arrives by the other way, and one event tells."""
    air = Air(lambda a, b: {a, b} in ({1, 2}, {1, 3}, {2, 4}, {3, 4}))
    air.add(1, root=True)
    poles = [air.add(ident) for ident in (2, 3, 4)]
    air.until(lambda: all(pole.routes.root for pole in poles))
    air.run(25000)
    far = poles[2]
    parent = air.nodes[far.parent_id()]
    harm(parent)
    assert far.offer(1, b"x", air.now)
    air.until(lambda: far.app.ackeds, within_ms)
    assert far.parent_id() != parent.id and far.counts[counts.SILENT] == 1


def test_a_parent_that_answers_and_forwards_nothing_is_left():
    left(drop, 20000)


def test_a_parent_whose_program_hangs_is_found_by_one_batch():
    left(hang, 8000)  # a time-out of at most 4.5 s, two questions of a second


def test_one_that_answers_is_kept_when_it_is_the_root_behind_it_that_hangs():
    air, nodes = chain(3)
    air.run(25000)
    root, parent, far = nodes
    hang(root)
    assert far.offer(1, b"x", air.now)
    air.until(lambda: far.upward._trial is not None, 5000)
    asked = air.now
    air.until(lambda: far.upward._trial is None, 2000)
    assert far.parent_id() == parent.id and diff(far.routes.parent.heard, asked) > 0


def test_it_is_left_too_when_nobody_else_may_be_followed_yet():
    air = Air(lambda a, b: {a, b} in ({1, 2}, {2, 4}, {4, 3}, {3, 5}, {5, 6}, {6, 1}))
    air.rssi = lambda a, b: -90 if {a, b} == {3, 4} else -60
    root = air.add(1, root=True)
    poles = [air.add(ident) for ident in (2, 3, 4, 5, 6)]
    hung, detour, far = poles[:3]
    air.until(lambda: all(pole.routes.root for pole in poles))
    air.run(25000)
    assert detour.parent_id() == 4 and far.parent_id() == 2
    hang(hung)
    assert far.offer(1, b"x", air.now)
    air.until(lambda: far.app.ackeds, 30000)
    assert far.parent_id() == 3 and detour.parent_id() == 5 and root.app.batches[0][0] == 4


def test_it_is_left_too_when_it_swallows_the_question_for_a_newer_seqno():
    air = Air(lambda a, b: {a, b} in ({1, 2}, {1, 5}, {2, 3}, {5, 3}, {3, 4}))
    air.add(1, root=True)
    poles = [air.add(ident) for ident in (2, 3, 4, 5)]
    air.until(lambda: all(pole.routes.root for pole in poles))
    air.run(25000)
    near, far = poles[1], poles[2]
    hung = air.nodes[near.parent_id()]
    hang(hung)
    far.routes._floors[0][2] = 1  # what is offered leads back here, as far as it knows
    far.upward.choose(air.now)
    assert not far.routes.root
    air.until(lambda: far.routes.root, 20000)
    assert near.parent_id() not in (0, hung.id) and far.parent_id() == near.id


def test_the_second_root_takes_over():
    def reach(a, b):
        return {a, b} in ({1, 2}, {2, 3}, {3, 4})

    air = Air(reach)
    air.add(1, root=True)
    other = air.add(4, root=True)
    poles = [air.add(ident) for ident in (2, 3)]
    air.until(lambda: all(pole.routes.root for pole in poles))
    air.run(9000)
    assert [pole.routes.root for pole in poles] == [1, 4]
    air.remove(1)
    assert poles[0].offer(1, b"x", air.now)
    air.until(lambda: poles[0].app.ackeds, 15000)
    assert poles[0].routes.root == 4 and other.app.batches[0][0] == 2


def test_a_root_that_counts_its_waves_from_0_again_is_followed():
    air, nodes = chain(4)
    air.run(250000)
    air.remove(1)
    root = air.add(1, root=True, epoch=2)
    air.run(3000)
    far = nodes[3]
    assert far.routes.root == 1
    assert far.offer(1, b"x", air.now)
    air.until(lambda: far.app.ackeds, 15000)
    assert root.routes.own > 1


def test_time_reaches_everybody_and_a_step_of_the_root_too():
    air, nodes = chain(4)
    root = nodes[0]
    air.run(200000)
    for node in nodes[1:]:
        assert abs(node.nettime.read(air.now) - root.nettime.read(air.now)) < 10
        assert node.app.times
    root.set_time(root.nettime.read(air.now) + 3600000, 1, air.now)
    air.run(5000)
    for node in nodes[1:]:
        assert abs(node.nettime.read(air.now) - root.nettime.read(air.now)) < 10
        assert node.app.times[-1][3] == root.nettime.epoch


def test_a_parent_whose_beacons_are_never_heard_is_asked_for_one():
    air, (root, pole) = chain(2)
    air.unheard.add((1, 2))
    root.set_time(root.nettime.read(air.now) + 3600000, 1, air.now)
    air.run(240000)
    assert abs(pole.nettime.read(air.now) - root.nettime.read(air.now)) < 10
    air.run(600000)
    assert pole.routes.root == 1


def test_hello_goes_up_so_that_commands_find_their_way():
    air, nodes = chain(3)
    air.run(11000)
    assert nodes[0].guard.members.via(3) == 2 and nodes[1].guard.members.via(3) == 3


def test_a_hello_that_finds_no_room_is_said_later():
    air, nodes = chain(3)
    far = nodes[2]
    while far.queue.count < SIZE:
        far.queue.take(DOWN, 40, 2, later(air.now, 30000))
    air.run(20000)
    assert nodes[0].guard.members.via(3) == 0
    air.run(20000)
    assert nodes[0].guard.members.via(3) == 2


def test_over_udp_frames_count_as_arrived_when_the_mesh_itself_says_so():
    air, nodes = chain(3, mac_ack=False, window32=True, channel=0)
    air.acks = False
    air.run(9000)
    lost = [0]

    def reach(a, b):
        lost[0] += 1
        return abs(a - b) == 1 and lost[0] % 5 != 0

    air.reach = reach
    far = nodes[2]
    far.custody._pace = 2000
    for number in range(1, 9):
        air.until(lambda number=number: far.offer(number, b"x", air.now), 30000)
    air.until(lambda: len(far.app.ackeds) == 8, 60000)
    assert sorted({batch[1] for batch in nodes[0].app.batches}) == list(range(1, 9))
    assert far.neighbours()[0][2] > 100  # the losses are seen


def test_over_udp_a_frame_is_sent_three_times_and_a_late_lack_for_any_of_them_counts():
    air, (root, pole) = chain(2, mac_ack=False, window32=True, channel=0)
    air.acks = False
    air.run(12000)
    for heard, fails in ((0, 1), (1, 0)):
        air.run(60000)
        pole.queue.take(UP, 40, 0, air.now)
        frames = []
        for i in range(47):  # by hand from here: 10 ms each
            now = later(air.now, 10 * i)
            pole.tick(now)
            out = pole.next(now)
            if out and out[1][0] & 15 == UP:
                frames.append(bytes(out[1]))
            if out:
                pole.on_sent(True, now)
            if heard and len(frames) == 2:  # the answer to the first
                root.outbox.say(2, LACK, frames[0][7:11] + b"\1")
                pole.on_rx(root.next(now)[1], -60, now, mac_of(1))
                root.on_sent(True, now)
                heard = 0
                assert pole.queue.count == 0
        assert len(frames) == (3 if fails else 2) and len({frame[7:11] for frame in frames}) == len(frames)
        assert pole.routes.links.get(1).fails == fails
        for slot in range(20):
            pole.queue.free(slot)
        air.now = later(air.now, 1000)
        for node in (root, pole):
            node.tick(air.now)


def test_a_frame_that_was_refused_for_want_of_room_is_taken_when_it_comes_again():
    air, (root, pole) = chain(2)
    for kind in (UP, DOWN, FLOOD):
        frame = bytearray(60)  # from 7, by way of 1, a root that this frame is not for
        pack_into(">HHBBHHH" if kind == UP else ">HHBBHH", frame, BODY, 7, 9, 5, 0, 5, 0, 1)
        pole.guard.members.came(7, 3)
        for room in (False, True):
            taken = [pole.queue.take(UP, 40, 0, air.now) for _ in range(0 if room else SIZE - pole.queue.count)]
            n = root.guard.seal(memoryview(frame), 50, kind, ALL if kind == FLOOD else 2)
            before = pole.queue.count
            pole.on_rx(frame[:n], -60, air.now, mac_of(1))
            assert pole.queue.count == before + room, (kind, room)
            for slot in taken:
                pole.queue.free(slot)


def test_frames_have_the_published_length_and_none_is_longer_than_250_bytes():
    air, nodes = chain(3)
    air.log = []
    air.run(9000)
    far = nodes[2]
    assert not far.offer(1, bytes(far.room + 1), air.now)
    assert far.offer(1, bytes(far.room), air.now)
    nodes[0].command(3, 1, 60, b"x", air.now)
    air.run(130000)
    lengths = {}
    for _, _, frame in air.log:
        lengths.setdefault(frame[0] & 15, set()).add(len(frame))
    assert lengths[BEACON] <= {40, 44} and max(lengths[UP]) == 250 and max(lengths[DOWN]) <= 250
    assert all(frame[0] >> 4 == 4 and frame[BODY] is not None for _, _, frame in air.log)


def test_without_a_counter_that_is_stored_nothing_is_sent():
    air, (root, pole) = chain(2)
    air.run(9000)
    pole.guard.counter.ctr = 0xFFFE
    pole.app.writable = False
    air.log = []
    air.run(300000)
    assert sum(source == 2 for source, _, _ in air.log) <= 1
    pole.app.writable = True
    air.run(130000)
    assert sum(source == 2 for source, _, _ in air.log) > 2
    assert root.counts[counts.REPLAY] == 0


def test_an_origin_beyond_the_table_of_a_root_is_counted():
    air, (root, pole) = chain(2)
    for ident in range(3, 259):
        root.secrecy.floors.add(ident)
    air.run(9000)
    assert pole.offer(1, b"x", air.now)
    air.run(2000)
    assert pole.app.ackeds == [] and root.counts[counts.CROWDED]


def test_two_radios_with_one_id_are_noticed():
    air, nodes = chain(3)
    air.run(2000)
    frame = []
    twin = Air(lambda a, b: True)
    twin.add(1, root=True)
    twin.add(3, epoch=9)
    twin.log = frame
    twin.run(9000)
    stolen = [data for source, _, data in frame if source == 3 and data[3:7] == b"\0\3\xff\xff"]
    nodes[1].on_rx(stolen[0], -70, air.now, mac_of(99))
    assert nodes[1].counts[counts.DUPLICATE] == 1
    air.run(61000)
    assert (counts.DUPLICATE, 3) in nodes[1].app.events


def test_two_of_one_id_in_one_epoch_are_noticed_although_nobody_hears_both():
    air, (root, pole) = chain(2)
    air.run(9000)
    pole.secrecy.counter.ctr = 500
    assert deliver(air, pole, 1) < 1000
    pole.secrecy.counter.ctr = 20  # the other one, further away
    air.until(lambda: pole.offer(2, b"x", air.now), 20000)
    air.run(120000)
    assert pole.app.ackeds == [1] and root.app.events == [(counts.DUPLICATE, 2)]


def test_two_of_one_id_in_one_epoch_are_not_acknowledged_for_each_other():
    air, (root, pole) = chain(2)
    air.run(9000)
    both = pole.custody, Custody(pole)
    for i in range(8):
        pole.custody = both[i % 2]
        pole.custody._tokens = 1
        assert pole.offer(i, b"x", air.now)
        air.until(lambda i=i: i in pole.app.ackeds)
        assert root.app.batches[-1][1] == i
    air.run(60000)
    assert (counts.DUPLICATE, 2) in root.app.events


def test_two_of_one_id_in_one_epoch_take_turns_at_a_slow_broker_and_lose_nothing():
    air, (root, pole) = chain(2)
    air.run(9000)
    root.app.prompt = False
    both = pole.custody, Custody(pole)
    for i in (0, 1):
        pole.custody = both[i]
        pole.custody._tokens = 4
        assert all(pole.offer(10 * i + j, b"x", air.now) for j in range(4))
        air.run(300)
    for number in (0, 1, 2, 3, 10, 11, 12, 13):
        root.confirm(2, number, air.now)
        air.run(50)
    air.run(1000)
    assert sorted(pole.app.ackeds) == [10, 11, 12, 13]
    pole.custody = both[0]
    root.app.prompt = True
    air.until(lambda: len(pole.app.ackeds) == 8)
