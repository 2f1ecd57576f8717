"""lib/journal: what is stored comes back, in order, numbered, once; on flash that is whole."""
from fake_journal import RING, boot, filled, rest
from fake_nor import BLOCK, PROGRAM_TEARS, Nor, PowerCut
from lib.journal import MAX, Journal
from lib.journal.mount import give_up

WASM = True


def refused(error, call, *args):
    try:
        call(*args)
    except error:
        return True
    return False


def test_an_empty_partition_is_an_empty_journal():
    nor = Nor(16)
    journal = boot(nor)
    assert journal.empty and (journal.first, journal.next, journal.cursor(0)) == (0, 0, None)
    assert journal.reader(0).read() is None and nor.ops == 0
    journal.append(1, b"x", 1)
    assert not journal.empty and not boot(nor).empty


def test_frames_come_back_as_they_were_stored():
    nor = Nor(16)
    journal = boot(nor)
    stored = []
    full = (b"\xff" * MAX, bytes(MAX), b"12345678" * 63)
    for payload in (b"", b"\xff", b"\0", b"end\xff\xff", b"a" * 8, b"a" * 9, b"\xff" * 24) + full:
        for kind, count in ((0, 0), (14, 63), (1, 1)):
            fresh = not journal.room() or journal.room() < len(payload)
            stored.append((kind, journal.append(kind, payload, count), count, payload, fresh))
    assert rest(journal.reader(0)) == stored == rest(boot(nor).reader(0))
    assert [frame[4] for frame in stored].count(True) == journal.head + 1


def test_a_payload_may_be_any_kind_of_bytes():
    nor = Nor(16)
    journal = boot(nor)
    for payload in (b"same", bytearray(b"same"), memoryview(bytearray(b"the same"))[4:]):
        journal.append(1, payload, 1)
    assert [frame[3] for frame in rest(journal.reader(0))] == [b"same"] * 3


def test_a_frame_is_on_flash_when_append_returns():
    nor = Nor(16)
    journal = boot(nor)
    for i in range(100):
        assert journal.append(1, b"%d" % i * 50, 3) == i * 3
        assert boot(nor).next == journal.next == i * 3 + 3


def test_ordinals_and_the_boot_count_go_on_across_boots():
    nor = Nor(16)
    for i in range(40):
        journal = boot(nor)
        assert journal.append(1, bytes(300), 7) == i * 7
    assert [frame[1] for frame in rest(journal.reader(0))] == [i * 7 for i in range(40)]
    assert 3 < journal.header(journal.head)[4] <= 40


def test_a_frame_outside_the_limits_is_refused():
    journal = boot(Nor(16))
    for kind, payload, count in ((15, b"", 0), (-1, b"", 0), (1, b"", 64), (1, b"", -1), (1, bytes(MAX + 1), 1)):
        assert refused(ValueError, journal.append, kind, payload, count)
    assert refused(ValueError, journal.put, 255, 0) and refused(ValueError, journal.put, -1, 0)
    assert journal.next == 0 and journal.empty
    assert refused(ValueError, Journal, Nor(11)) and Journal(Nor(12))


def test_a_block_can_be_filled_to_its_last_byte():
    nor = Nor(16)
    journal = boot(nor)
    assert journal.room() == 0
    for left in (MAX,) * 6 + (472, 0):
        length = journal.room() or MAX
        journal.append(1, b"\xff" * length, 1)
        assert journal.room() == left
    assert (journal.head, journal.end) == (0, BLOCK) and rest(boot(nor).reader(0)) == rest(journal.reader(0))
    assert boot(nor).append(1, b"", 1) == 8 and boot(nor).head == 1


def test_after_a_block_that_was_filled_to_its_last_byte_nothing_of_the_next_is_read():
    nor = Nor(8 + 4)
    journal = boot(nor)
    for i in range(4 * 8):  # the last block of the partition too
        journal.append(1, b"\xff" * (472 if i % 8 == 7 else MAX), 1)
        again = boot(nor)
        assert again.end <= BLOCK and [frame[1] for frame in rest(again.reader(0))] == list(range(i + 1))
    assert (again.head, again.end) == (3, BLOCK)


def test_room_tells_whether_a_frame_opens_a_block():
    journal = boot(Nor(16))
    for i in range(300):
        payload = bytes(i * 37 % 200)
        opens, head = not journal.room() or len(payload) > journal.room(), journal.head
        journal.append(1, payload, 1)
        assert (journal.head != head) == opens


def test_a_block_closes_when_its_offsets_are_used_up():
    nor = Nor(16)
    journal = boot(nor)
    for _ in range(60):
        journal.append(1, b"", 63)
    assert journal.head == 3 and journal.next == 60 * 63
    assert [frame[1] for frame in rest(boot(nor).reader(0))] == [i * 63 for i in range(60)]


def test_a_session_goes_on_at_a_new_page():
    nor = Nor(16)
    journal = boot(nor)
    for length, page in ((100, 256), (504, 1024), (504, 1792), (248, 2304), (0, 2560)):  # 248: ends with its page
        journal.append(1, bytes(length), 1)
        journal = boot(nor)
        assert (journal.head, journal.end) == (0, page)
    assert journal.append(1, b"", 1) == 5 and len(rest(journal.reader(0))) == 6


def test_a_session_does_not_go_on_in_a_block_that_holds_only_its_header():
    nor = Nor(16)
    filled(nor, 1)
    nor.image[RING * BLOCK + 32 : (RING + 1) * BLOCK] = b"\xff" * (BLOCK - 32)
    journal = boot(nor)
    assert journal.room() == 0 and journal.append(1, b"new", 1) == 0 and journal.head == 1
    assert [frame[3] for frame in rest(boot(nor).reader(0))] == [b"new"]


def test_the_ring_takes_the_oldest_block_and_wears_evenly():
    nor = Nor(8 + 5)
    journal = filled(nor, 1000, 200)
    assert journal.head > 40 and max(nor.erases[RING:]) - min(nor.erases[RING:]) <= 1
    assert journal.first == 2 * (1000 - len(rest(journal.reader(0)))) and journal.next == 2000
    assert [journal.header(seq)[3] for seq in range(journal.tail, journal.head + 1)] == [
        nor.erases[journal.block(seq)] for seq in range(journal.tail, journal.head + 1)
    ]
    again = boot(nor)
    assert (again.first, again.next, again.head) == (journal.first, 2000, journal.head)


def test_every_place_of_the_head_in_the_ring_mounts():
    nor = Nor(8 + 4)
    journal = boot(nor)
    for _ in range(120):
        journal.append(1, bytes(400), 1)
        again = boot(nor)
        assert (again.first, again.next, again.head) == (journal.first, journal.next, journal.head)
        assert [frame[1] for frame in rest(again.reader(0))] == list(range(again.first, again.next))


def test_prepare_erases_ahead_once_and_only_after_an_append():
    nor = Nor(8 + 5)
    filled(nor, 170)
    journal = boot(nor)
    assert journal.end > BLOCK // 2 and not journal.prepare() and nor.erases == filled(nor, 0).dev.erases
    erases = sum(nor.erases)
    while journal.head == boot(nor).head and journal.end <= BLOCK - 120:
        journal.append(1, bytes(100), 2)
    first, reader = journal.first, journal.reader(journal.first)
    assert journal.prepare() and not journal.prepare()
    assert sum(nor.erases) == erases + 1 and journal.first > first
    assert reader.read()[1] == journal.first and reader.lost == journal.first - first
    head = journal.head
    for _ in range(3):
        journal.append(1, bytes(100), 2)
    assert journal.head == head + 1 and sum(nor.erases) == erases + 1 and not journal.prepare()


def test_a_reader_sees_what_is_appended_later():
    nor = Nor(16)
    journal = boot(nor)
    early, reader = journal.reader(0), journal.reader(0)
    assert early.read() is None
    for i in range(200):
        assert reader.read() is None
        journal.append(1, bytes([i]) * 150, 2)
        assert [frame[1] for frame in rest(reader)] == [i * 2]
    assert len(rest(early)) == 200 and early.lost == reader.lost == 0


def test_a_payload_stays_while_others_append_and_read():
    journal = filled(Nor(16), 60)
    one, other = journal.reader(0), journal.reader(0)
    payload = one.read()[3]
    journal.append(1, b"later" * 20, 1)
    rest(other)
    assert payload == bytes(100) and one.read()[3] == b"\1" * 100


def test_a_reader_starts_with_the_block_that_holds_its_ordinal():
    journal = filled(Nor(16), 120, 150, 3)
    begins = [journal.header(seq)[1] for seq in range(journal.head + 1)]
    for ordinal in range(journal.next + 1):
        kind, first, count, payload, fresh = journal.reader(ordinal).read()
        assert fresh and first == max(begin for begin in begins if begin <= ordinal)


def test_a_reader_that_is_overtaken_goes_on_at_the_tail_and_counts():
    journal = filled(Nor(8 + 5), 30, 200, 3)
    reader, at, lost = journal.reader(0), 3, 0
    assert reader.read()[1] == 0
    for _ in range(4):
        for _ in range(200):
            journal.append(1, bytes(200), 3)
        lost += journal.first - at
        found = rest(reader)
        assert found[0][1] == journal.first and found[0][4] and reader.lost == lost > 0
        assert [frame[1] for frame in found] == list(range(journal.first, journal.next, 3))
        at = journal.next
    assert journal.stats["lost"] == 0


def test_a_reader_of_what_is_gone_counts_it_and_of_what_is_to_come_waits():
    journal = filled(Nor(8 + 5), 300, 200, 3)
    gone = journal.reader(7)
    assert gone.read()[1] == journal.first and gone.lost == journal.first - 7
    reader = journal.reader(journal.next + 2)
    rest(reader)
    journal.append(1, b"", 4)
    assert reader.read()[1] == 900 and reader.lost == 0


def test_the_hint_of_time_does_not_go_back():
    nor = Nor(16)
    for when in (100, 300, 200, 0, 400):
        journal = boot(nor)
        journal.append(1, bytes(MAX), 1, when)
        while journal.room():
            journal.append(1, bytes(journal.room()), 1, when)
    assert [journal.header(seq)[2] for seq in range(5)] == [100, 300, 300, 300, 400]


def test_a_cursor_is_what_was_put_last():
    nor = Nor(16)
    journal = filled(nor, 50)
    for i in range(3000):
        journal.put(i % 7, i // 40)
        if i % 500 == 3:
            journal = boot(nor)
    assert [boot(nor).cursor(i) for i in range(8)] == [74] * 7 + [None]
    assert max(nor.erases[:RING]) - min(nor.erases[:RING]) <= 1 and sum(nor.erases[:RING]) < 3000 // 240 + 3


def test_there_is_room_for_254_cursors_and_the_begin():
    nor = Nor(16)
    journal = filled(nor, 200)
    give_up(journal)
    for i in range(254):
        journal.put(i, journal.next + i)
    journal.put(100, journal.next + 333)
    begin, journal = journal.next, boot(nor)
    assert [journal.cursor(i) for i in range(254)] == [begin + (333 if i == 100 else i) for i in range(254)]
    assert journal.empty


def test_what_was_given_up_is_never_read_again():
    for count in (1, 3, 200, 3000):  # a frame, some, some blocks, more than the ring holds
        nor = Nor(16)
        journal = filled(nor, count)
        journal.put(1, journal.next - 1)
        journal.put(2, journal.next)
        begin = journal.next
        assert give_up(journal) == (begin - 1, begin - 1)
        for again in (journal, boot(nor)):
            assert (again.empty, again.first, again.next, again.room()) == (True, begin, begin, 0)
            assert again.cursor(1) is None and again.cursor(2) == begin
            assert again.reader(0).read() is None and again.reader(begin).read() is None
        reader, late = again.reader(begin), again.reader(0)
        assert again.append(1, b"new", 2, 7) == begin and not again.empty
        for one in (again, boot(nor)):
            assert (one.empty, one.first, one.next) == (False, begin, begin + 2)
            assert [frame[1:3] for frame in rest(one.reader(0))] == [(begin, 2)]
        assert reader.read()[1] == begin and late.read()[1] == begin
        for _ in range(2000):
            again.append(1, b"x" * 100, 1)
        assert boot(nor).first == again.first > begin


def test_a_power_cut_while_giving_up_leaves_all_or_nothing():
    for at in range(4):
        for mode in PROGRAM_TEARS:
            nor = Nor(16)
            journal = filled(nor, 50)
            journal.put(1, 7)
            nor.cut_at, nor.cut_mode = nor.ops + at, (mode, "half")
            try:
                give_up(journal)
            except PowerCut:
                pass
            nor.cut_at = -1
            again = boot(nor)
            found = again.empty, again.first, again.cursor(1)
            assert found in ((False, 0, 7), (True, journal.next, None)), (at, mode)
