"""gateway/batches: what leaves by the mesh is what would have left by an outlet."""
import asyncio
import struct

from fake_nor import Nor
from gateway import clock
from gateway.batches import Reader, Writer
from gateway.northbound import Northbound
from gateway.recorder import Recorder
from gateway.records import INFO, LOST, ONCE, SET, WARN
from gateway.replay import Dating, Replay
from lib.journal import Journal

ROOM = 206
T0 = 1782138600000
LAYOUTS = {
    1: "\n1.8.0 kWh -3\n16.7.0 W -3\n32.7.0 V -3",
    2: "".join(["\n1.8.%d kWh -3" % i for i in range(70)]),
    3: "\ninterval s 0\n32.3.0 V -3\n32.5.0 V -3",
    4: "\n0.0.96.1.1.255 text 0\n1.8.0 kWh -3",
}


class Names:
    def columns(self, number):
        return LAYOUTS.get(number)

    def serial(self, slot):
        return "SN-%d" % slot


class Clock:
    source, bound = clock.NTP, 40

    def __init__(self):
        self.began = T0

    def at(self, uptime):
        return None if self.source == clock.NONE else (self.began + uptime, self.bound)

    def now(self):
        return self.at(clock.uptime_ms())


class Board:
    def __init__(self):
        self.nor = Nor(32)
        self.boots = 0
        self.boot()

    def boot(self):
        self.boots += 1
        self.journal = Journal(self.nor)
        self.journal.mount()
        self.clock = Clock()
        self.recorder = Recorder(self.journal, self.boots, self.clock)

    def replay(self, ordinal=0):
        return Replay(self.journal, Names(), Dating(self.journal, self.clock, self.boots), ordinal)


def northbound():
    return Northbound("f", "pole-7", Names(), {1: 60}, 4660, 8)


def said(record, writer):
    topic, payload = writer.message(record, (T0 + 3600000, 10))
    return topic, bytes(payload)


def straight(board, ordinal=0):
    async def run():
        replay, writer, found = board.replay(ordinal), northbound(), []
        while await replay.next():
            found.append(said(replay, writer))
        return found

    return asyncio.run(run())


def batches(board, ordinal=0):
    """Return [(bytes, records)] as a pole makes them."""

    async def run():
        replay, writer, found = board.replay(ordinal), Writer(4660, ROOM), []
        while await replay.next():
            while not writer.put(replay):
                count = writer.count
                assert count, "a record that never fits"
                found.append((bytes(writer.take()), count))
        if writer.count:
            count = writer.count
            found.append((bytes(writer.take()), count))
        return found

    return asyncio.run(run())


def carried(board, ordinal=0):
    found = []
    writer, reader = northbound(), Reader(None)
    for payload, count in batches(board, ordinal):
        assert len(payload) <= ROOM or count == 1
        reader.start(memoryview(payload), Names())
        assert reader.epoch == 4660
        for _ in range(count):
            assert reader.next() is reader
            found.append(said(reader, writer))
        assert reader.next() is None
    return found


def village(board, rounds=20, meters=8):
    for turn in range(rounds):
        for slot in range(1, meters + 1):
            at = turn * 60000 + slot * 130
            volts = None if slot == 3 else 230100
            board.recorder.reading(at, slot, 1, [1000 * slot + turn, (-1) ** turn * 231500, volts])
        board.recorder.commit()


def test_every_message_is_the_one_that_an_outlet_would_have_sent():
    board = Board()
    village(board)
    board.clock.bound = 47
    board.recorder.reading(1210000, 1, 1, [2000, 5, 6], 0b101)
    board.recorder.lost(2)
    board.recorder.event(2, "comms_lost", WARN, SET, {"misses": 3}, 1211000)
    board.recorder.event(0, "restarted", INFO, ONCE, {"boot": 1, "cause": 1}, 1212000)
    board.recorder.reading(1215000, 2, 3, [900, 1, 2])
    board.recorder.reading(1216000, 4, 4, [1234567890123, 7])
    board.recorder.commit()
    assert carried(board) == straight(board) and len(straight(board)) == 166


def test_a_batch_of_eight_meters_holds_a_round():
    board = Board()
    village(board)
    assert len(batches(board)) <= 20, len(batches(board))


def test_a_record_that_is_larger_than_a_frame_goes_alone():
    board = Board()
    village(board, 1, 3)
    board.recorder.reading(61000, 5, 2, [123456789 + i for i in range(70)])
    board.recorder.event(0, "uplink_refused", WARN, SET, {"outlet": "o" * 32, "reason": "r" * 120}, 62000)
    board.recorder.commit()
    village(board, 1, 2)
    assert carried(board) == straight(board)
    assert max([len(payload) for payload, _ in batches(board)]) > ROOM


def test_a_boot_that_never_knew_the_time_is_placed_to_the_millisecond():
    board = Board()
    village(board, 1, 2)
    board.boot()
    board.clock.source = clock.NONE
    for turn in range(5):
        board.recorder.reading(turn * 7777, 1, 1, [turn, 1, 1])
    board.recorder.commit()
    board.boot()
    board.clock.began = T0 + 7654321
    board.recorder.reading(1000, 1, 1, [9, 9, 9])
    board.recorder.commit()
    assert carried(board) == straight(board) and len(straight(board)) == 8
    assert carried(board, 3) == straight(board, 3)


def test_a_thinned_record_stands_for_itself_at_least_and_for_no_other_journals():
    def first(ordinal, many):
        """A group of one, thinned: source 8 + 1, bound 10, base 0; then a lost reading of slot 1 at once."""
        reader = Reader(None)
        head = struct.pack(">HI", 4660, ordinal)
        reader.start(memoryview(head + b"\x01\x09\x0a\x00" + many + b"\x00" + bytes((1 << 4 | LOST,))), Names())
        assert reader.next() is reader and reader.source == 1
        return reader.first, reader.ordinal

    assert first(7, b"\x01") == (7, 7) and first(7, b"\x81\x01") == (7, 135)
    assert first(0xFFFFFFF0, b"\x10") == (0xFFFFFFF0, 0xFFFFFFFF)
    for ordinal, many in ((7, b"\x00"), (0xFFFFFFF0, b"\x11"), (7, b"\xff\xff\xff\xff\xff\x7f")):
        try:
            first(ordinal, many)
        except ValueError:
            continue
        raise AssertionError(many)


def test_what_is_no_batch_is_refused_and_nothing_else_is_raised():
    board = Board()
    village(board, 2, 4)
    good = batches(board)[0][0]
    reader = Reader(None)
    seed = 1
    refused = 0
    for _ in range(3000):
        data = bytearray(good)
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        data[seed % len(data)] ^= 1 << (seed >> 8) % 8
        data = data[: len(data) - (seed >> 12) % 3]
        try:
            reader.start(memoryview(data), Names())
            for _ in range(200):
                if reader.next() is None:
                    break
            else:
                raise AssertionError("no end")
        except (IndexError, ValueError):
            refused += 1
    assert refused > 300
