"""lib/mesh/guard and secrecy: who may be believed, replay, counters that never come twice."""

import gc
import random

import soft_aes  # noqa: F401
from lib.mesh import counts, keys
from lib.mesh.frames import ALL, BEACON, SEQREQ
from lib.mesh.guard import Counter, Floors, Guard, Members
from lib.mesh.secrecy import DOWNWARD, UPWARD, Secrecy
from mesh_air import SECRET, Conf, mac_of

WASM = True


def guard(ident, epoch=1, window32=False, renew=lambda: None):
    return Guard(Conf(ident, epoch=epoch, window32=window32), keys.net(SECRET), renew, counts.Counts(None))


def frame_of(sender, to=ALL, kind=BEACON, body=bytes(25)):
    buf = bytearray(60)
    n = sender.seal(memoryview(buf), 11 + len(body), kind, to)
    return bytes(buf[:n])


def noted(one):
    """The kinds of what was counted."""
    return [kind for kind in range(counts.KINDS) if one._notes.all[kind]]


def test_a_signed_frame_of_a_member_is_taken_once():
    sender, receiver = guard(2), guard(1)
    frame = frame_of(sender)
    assert receiver.admit(memoryview(frame), mac_of(2)) == BEACON
    assert receiver.source == 2 and receiver.to == ALL and receiver.members.mac(2) == mac_of(2)
    assert receiver.admit(frame, mac_of(2)) == 0 and noted(receiver) == [counts.REPLAY]


def test_a_frame_that_was_changed_anywhere_is_no_frame():
    sender = guard(2)
    frame = frame_of(sender, 1, SEQREQ, b"\0\1\0\2")
    for at in range(len(frame)):
        for bit in range(8):
            receiver = guard(1)
            wrong = bytearray(frame)
            wrong[at] ^= 1 << bit
            assert receiver.admit(wrong, mac_of(2)) == 0
            assert not receiver.members.rows
    receiver = guard(1)
    for n in range(len(frame)):
        assert receiver.admit(frame[:n], mac_of(2)) == 0
    assert receiver.admit(frame + b"\0", mac_of(2)) == 0 and receiver.admit(bytes(300), mac_of(2)) == 0
    assert receiver.admit(frame, mac_of(2)) == SEQREQ


def test_each_reason_is_counted_apart():
    sender = guard(2)
    other = Guard(Conf(2), keys.net(b"another"), None, counts.Counts(None))
    strange = guard(3)
    strange._site ^= 1
    for frame, kind in (
        (b"short", counts.MALFORMED),
        (frame_of(other), counts.FORGED),
        (frame_of(strange), counts.OTHER_SITE),
        (frame_of(sender, ALL, BEACON, bytes(26)), counts.MALFORMED),
        (frame_of(sender, ALL, 9), counts.MALFORMED),
        (frame_of(guard(ALL)), counts.MALFORMED),
        (frame_of(guard(1, epoch=2)), counts.DUPLICATE),
    ):
        receiver = guard(1)
        assert receiver.admit(frame, mac_of(2)) == 0 and noted(receiver) == [kind], (kind, noted(receiver))
        assert not receiver.members.rows
    for frame in (frame_of(sender, 7), frame_of(guard(1), ALL)):
        receiver = guard(1)  # to somebody else, or one's own that came back: nothing to count
        assert receiver.admit(frame, mac_of(2)) == 0 and noted(receiver) in ([], [counts.DUPLICATE])


def test_strangers_leave_nothing_in_memory():
    receiver = guard(1)
    for ident in range(100):
        assert receiver.admit(frame_of_stranger(ident), bytes((4, 0, 0, 0, ident >> 8, ident & 255))) == 0
    assert not receiver.members.rows


def frame_of_stranger(ident):
    site = Conf(1).site
    return bytes((0x41, site >> 8, site & 255, ident >> 8, ident & 255, 255, 255, 0, 1, 0, 1)) + bytes(29)


def test_the_table_of_members_is_bounded():
    receiver = guard(1)
    for ident in range(2, 257):
        receiver.members.add(ident)
    assert receiver.admit(frame_of(guard(300)), mac_of(300)) == BEACON
    assert receiver.admit(frame_of(guard(301)), mac_of(301)) == 0 and noted(receiver) == [counts.CROWDED]
    assert len(receiver.members.rows) == 256 and receiver.admit(frame_of(guard(2)), mac_of(2)) == BEACON


def test_strict_floors_take_only_what_is_newer():
    floors = Floors(4, 0)
    row = floors.add(7)
    taken = []
    for epoch, ctr in ((3, 5), (3, 5), (3, 4), (3, 9), (3, 8), (2, 60000), (4, 0), (3, 10), (4, 0), (4, 1)):
        if floors.fresh(row, epoch, ctr):
            floors.mark(row, epoch, ctr)
            taken.append((epoch, ctr))
    assert taken == [(3, 5), (3, 9), (4, 0), (4, 1)]


def test_a_window_takes_each_once_in_whatever_order():
    random.seed(3)
    floors = Floors(4, 29)
    row = floors.add(7)
    taken, newest = set(), -1
    for _ in range(20000):
        ctr = min(65535, max(0, newest + random.randrange(-40, 5)))
        fresh = floors.fresh(row, 1, ctr)
        assert fresh == (ctr not in taken and ctr >= newest - 29), (ctr, newest)
        if fresh:
            floors.mark(row, 1, ctr)
            taken.add(ctr)
            newest = max(newest, ctr)


def test_a_full_window_moves_on_without_numbers_that_need_memory():
    floors = Floors(4, 29)
    row = floors.add(7)
    for ctr in range(64):
        floors.mark(row, 1, ctr)
    gc.collect()
    live = gc.mem_alloc()
    for ctr in (64, 66, 90, 119):
        floors.mark(row, 1, ctr)
    assert gc.mem_alloc() - live < 50, gc.mem_alloc() - live  # nothing above 2^30 on 32 bits, none above 2^62 on 64


def test_a_floor_table_is_bounded():
    floors = Floors(3, 0)
    assert [floors.add(ident) for ident in (5, 6, 5, 7, 8)] == [0, 1, 0, 2, -1]


def test_a_counter_never_gives_a_number_twice():
    stored = [1]

    def renew():
        stored[0] += 1
        return stored[0] if stored[0] < 4 else None

    counter = Counter(1, renew)
    before = 0, 0
    for _ in range(3 * 65536):
        assert counter.step()
        assert (counter.epoch, counter.ctr) > before or before == (0, 0)
        before = counter.epoch, counter.ctr
    assert before == (3, 65535) and not counter.step() and not counter.step()


def test_an_address_is_learnt_and_a_second_one_noticed():
    members = Members(0)
    row = members.add(5)
    assert members.mac(5) is None and members.mac(6) is None
    assert not members.moved(row, mac_of(5)) and not members.moved(row, mac_of(5))
    assert members.moved(row, mac_of(6)) and members.mac(5) == mac_of(6)
    members.came(9, 5)
    assert members.via(9) == 5 and members.via(5) == 0 and members.via(77) == 0


def test_another_radio_of_an_earlier_epoch_is_a_second_one_with_that_id():
    receiver = guard(1)
    assert receiver.admit(frame_of(guard(2, epoch=9)), mac_of(2)) == BEACON
    old = frame_of(guard(2, epoch=8))
    assert receiver.admit(old, mac_of(2)) == 0 and noted(receiver) == [counts.REPLAY]
    assert receiver.admit(old, mac_of(3)) == 0 and noted(receiver) == [counts.REPLAY, counts.DUPLICATE]
    wrong = bytearray(old)
    wrong[20] ^= 1
    assert receiver.admit(wrong, mac_of(3)) == 0 and counts.FORGED in noted(receiver)
    assert receiver.members.mac(2) == mac_of(2)


def test_what_is_sealed_opens_at_the_other_end_only_once_and_only_as_what_it_was():
    pole = Secrecy(lambda ident: keys.node(SECRET, 7) if ident == 7 else None, Counter(1, None), 8)
    root = Secrecy(lambda ident: keys.node(SECRET, ident) if ident < 9 else None, Counter(1, None), 256)
    sealed = pole.seal(UPWARD, 7, 1, b"12 kWh")
    epoch, ctr = pole.counter.epoch, pole.counter.ctr
    for first, member, at, e, c in (
        (DOWNWARD, 7, 1, epoch, ctr), (UPWARD, 8, 1, epoch, ctr), (UPWARD, 7, 2, epoch, ctr),
        (UPWARD, 7, 1, epoch + 1, ctr), (UPWARD, 7, 1, epoch, ctr + 1), (UPWARD, 9, 1, epoch, ctr),
    ):  # fmt: skip
        assert root.open(first, member, at, member, e, c, sealed) is None
    assert not root.floors.rows
    assert root.open(UPWARD, 7, 1, 7, epoch, ctr, sealed) == b"12 kWh"
    assert root.open(UPWARD, 7, 1, 7, epoch, ctr, sealed) == b""


def test_two_roots_never_seal_with_the_same_nonce():
    key = lambda ident: keys.node(SECRET, ident)  # noqa: E731
    one, two = Secrecy(key, Counter(1, None), 256), Secrecy(key, Counter(1, None), 256)
    assert one.seal(DOWNWARD, 7, 1, b"same text") != two.seal(DOWNWARD, 7, 2, b"same text")


def test_without_a_number_nothing_is_sealed():
    sender = guard(2)
    sender.counter.ctr = 0xFFFF
    assert sender.seal(memoryview(bytearray(60)), 20, BEACON, ALL) == 0
    secrecy = Secrecy(lambda ident: bytes(16), sender.counter, 8)
    assert secrecy.seal(UPWARD, 2, 1, b"x") is None
