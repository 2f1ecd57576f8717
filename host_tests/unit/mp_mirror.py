"""gateway/mirror on a real FAT: what is stored is on the card, once, and no card harms the gateway."""
import asyncio
import os

import machine
import vfs

from fake_card import Card, Slot
from fake_nor import Nor
from gateway import clock, log, mirror
from gateway.recorder import Recorder
from gateway.records import SET, WARN
from lib.journal import Journal

TIMEOUT = {"test_power_cut_at_any_block_leaves_each_record_on_the_card_once": 120}
HEAP = {
    "test_the_journal_going_round_meanwhile_leaves_a_hole_and_no_error": "16M",
    "test_a_full_card_is_told_and_what_did_not_fit_is_written_when_there_is_room": "4M",
    "test_power_cut_at_any_block_leaves_each_record_on_the_card_once": "4M",
}
ROW = {"kind": "spi", "slot": 2, "sck": 12, "mosi": 11, "miso": 13, "cs": 10}
MIDNIGHT = 1782172800000  # 2026-06-23
COLUMNS = "\n1.8.0 kWh -3\n32.7.0 V -3"


class Clock:
    source = clock.NTP

    def __init__(self):
        self.base = MIDNIGHT - 3600000

    def at(self, uptime):
        return self.base + uptime, 25

    def now(self):
        return self.at(clock.uptime_ms())

    def trusted(self):
        return True


class Names:
    def serial(self, slot):
        return "SN-%d" % slot if slot else None

    def columns(self, number):
        return COLUMNS


class Life:
    def beat(self):
        pass


class Pole:
    """A gateway's journal with the mirror on it; `at` is the uptime of the next reading in ms."""

    def __init__(self):
        machine.SDCard = Slot
        self.said = []
        log.warn = log.info = log.error = lambda area, text: self.said.append(text)
        self.nor = Nor(24)
        self.clock = Clock()
        self.at = 1000
        self.boot = 0
        self.start()

    def start(self):
        """As after a reset."""
        unmount()
        Slot.taken = False
        self.boot += 1
        self.journal = Journal(self.nor)
        self.journal.mount()
        self.recorder = Recorder(self.journal, self.boot, self.clock)
        self.mirror = mirror.Mirror(ROW, self, Names(), 9, "pole-07")

    def readings(self, count):
        for _ in range(count):
            self.recorder.reading(self.at, 1, 1, [self.at, 230000])
            self.at += 1000
            self.recorder.commit()

    async def copy(self):
        """Let the mirror do what there is to do; return whether it did."""
        try:
            while await self.mirror._batch(Life()):
                pass
            return True
        except OSError as error:
            self.mirror._fail(error)
            return False


def unmount():
    try:
        vfs.umount("/sd")
    except OSError:
        pass


def written(card):
    """Return {file: rows} as another computer reads them; each row a list of fields."""
    found = {}
    vfs.mount(vfs.VfsFat(card), "/pc")
    if "pole-07" in os.listdir("/pc"):
        for name in os.listdir("/pc/pole-07"):
            with open("/pc/pole-07/" + name) as file:
                lines = file.read().split("\r\n")
            assert lines[0].startswith("ordinal,ts,") and lines[-1] == "", name
            found[name] = [line.split(",") for line in lines[1:-1]]
    vfs.umount("/pc")
    return found


def inserted(**kind):
    card = Card(**kind)
    Slot.card = card
    return card


async def test_a_reading_is_a_line_for_each_register_and_an_event_one():
    card = inserted()
    pole = Pole()
    pole.readings(1)
    pole.recorder.event(0, "network_down", WARN, SET, {"via": "wifi", "reason": "no address"}, 2000)
    pole.recorder.lost(1)
    pole.recorder.commit()
    assert await pole.copy()
    [(name, rows)] = written(card).items()
    assert name == "2026-06-22.csv"
    front = ["0", "2026-06-22T23:00:01.00Z", "ntp", "25", "1", "1.00", "SN-1"]
    assert rows[0] == front + ["reading", "1.8.0", "1", "kWh", "good", "", "", ""]
    assert rows[1] == front + ["reading", "32.7.0", "230", "V", "good", "", "", ""]
    assert rows[2][:8] == ["1", "2026-06-22T23:00:02.00Z", "ntp", "25", "1", "2.00", "", "network_down"]
    assert rows[2][12:14] == ["warn", "set"] and '"{""reason"": ""no address"",' in ",".join(rows[2][14:])
    assert rows[3][7:] == ["comms_lost", "", "", "", "", "", "", ""] and len(rows) == 4


async def test_a_new_day_is_a_new_file_by_the_time_of_the_record():
    card = inserted()
    pole = Pole()
    pole.clock.base = MIDNIGHT - 6000
    pole.readings(10)
    assert await pole.copy()
    files = written(card)
    assert {name: len(rows) // 2 for name, rows in files.items()} == {"2026-06-22.csv": 5, "2026-06-23.csv": 5}


async def test_it_goes_on_where_it_was_after_a_reset():
    card = inserted()
    pole = Pole()
    for _ in range(3):
        pole.readings(40)
        assert await pole.copy()
        pole.start()
    [rows] = written(card).values()
    assert [int(row[0]) for row in rows[::2]] == list(range(120))


async def test_power_cut_at_any_block_leaves_each_record_on_the_card_once():
    card = inserted()
    pole = Pole()
    pole.readings(30)
    assert await pole.copy()
    clean = bytes(card.data)
    flash = Nor(24)
    flash.copy(pole.nor)
    cut = 0
    while True:
        card.data[:] = clean
        pole.nor.copy(flash)
        pole.start()
        pole.readings(45)
        card.cut, card.written = cut, 0
        done = await pole.copy()
        card.cut = None
        pole.start()  # the next boot, with a card that is whole
        assert await pole.copy(), cut
        [rows] = written(card).values()
        assert [int(row[0]) for row in rows] == [i // 2 for i in range(150)], (cut, rows[55:])
        if done:
            break
        cut += 1
    assert cut > 10, cut


async def test_the_cursor_that_was_not_kept_costs_no_second_line():
    card = inserted()
    pole = Pole()
    pole.readings(5)
    assert await pole.copy()
    pole.journal.put(9, 2)  # as it was before
    pole.start()
    pole.readings(2)
    assert await pole.copy()
    [rows] = written(card).values()
    assert [int(row[0]) for row in rows[::2]] == list(range(7))


async def test_without_a_card_nothing_is_lost_and_it_is_told_once():
    Slot.card = None
    pole = Pole()
    pole.readings(10)
    for _ in range(3):
        assert not await pole.copy() and pole.mirror.state == "no card"
    assert pole.said == ["no card"]
    card = inserted()
    assert await pole.copy() and pole.mirror.state == "ok"
    [rows] = written(card).values()
    assert len(rows) == 20


async def test_a_card_that_is_taken_out_and_put_back_misses_nothing():
    card = inserted()
    pole = Pole()
    pole.readings(4)
    assert await pole.copy()
    Slot.card = None
    pole.readings(4)
    assert not await pole.copy()
    assert pole.journal.next == 8  # the journal did not wait
    Slot.card = card
    assert await pole.copy()
    [rows] = written(card).values()
    assert [int(row[0]) for row in rows[::2]] == list(range(8))


async def test_another_card_goes_on_where_the_first_one_ended():
    first = inserted()
    pole = Pole()
    pole.readings(4)
    assert await pole.copy()
    second = inserted()
    pole.readings(3)
    assert not await pole.copy() and await pole.copy()  # the first one is missed
    assert [[int(row[0]) for row in list(written(card).values())[0][::2]] for card in (first, second)] == [
        [0, 1, 2, 3], [4, 5, 6],
    ]  # fmt: skip


async def test_a_full_card_is_told_and_what_did_not_fit_is_written_when_there_is_room():
    card = inserted()
    pole = Pole()
    vfs.mount(vfs.VfsFat(card), "/pc")
    free = os.statvfs("/pc")[3] * 512
    with open("/pc/other.bin", "wb") as file:
        for _ in range(free // 512 - 12):
            file.write(bytes(512))
    vfs.umount("/pc")
    pole.readings(100)
    assert not await pole.copy() and pole.mirror.state == "full"
    assert not await pole.copy() and pole.said.count("full") == 1
    vfs.mount(vfs.VfsFat(card), "/pc")
    os.remove("/pc/other.bin")
    vfs.umount("/pc")
    assert await pole.copy()
    [rows] = written(card).values()
    assert [int(row[0]) for row in rows] == [i // 2 for i in range(200)]


async def test_a_card_without_fat_and_one_that_fails_to_write_are_told():
    inserted(fat=False)
    pole = Pole()
    pole.readings(2)
    assert not await pole.copy() and pole.mirror.state == "no FAT"
    card = inserted()
    card.weak = True
    assert not await pole.copy() and pole.mirror.state == "error 5"
    card.weak = False
    assert await pole.copy() and pole.mirror.state == "ok"


async def test_a_slot_that_the_chip_does_not_take_is_told_and_the_task_lives_on():
    inserted()
    pole = Pole()
    pole.readings(1)
    for error in (TypeError, ValueError):

        def refuses(error=error, **pins):
            raise error

        machine.SDCard = refuses
        assert not await pole.copy() and pole.mirror.state == "no slot"


async def test_the_journal_going_round_meanwhile_leaves_a_hole_and_no_error():
    Slot.card = None
    pole = Pole()
    pole.readings(3)
    assert not await pole.copy()
    while pole.journal.first < 500:
        for _ in range(40):
            pole.recorder.reading(pole.at, 1, 1, [pole.at * 77777, pole.at * 99])
            pole.at += 1000
        pole.recorder.commit()
    first = pole.journal.first
    card = inserted(blocks=2000)
    assert await pole.copy()
    ordinals = [int(row[0]) for rows in sorted(written(card).items()) for row in rows[1][::2]]
    assert ordinals == list(range(first, pole.journal.next))


async def test_a_try_comes_every_five_minutes_while_there_is_no_card_and_life_is_shown():
    Slot.card = None
    pole = Pole()
    pole.readings(1)
    seconds = []

    class Sleep:
        def __getattr__(self, name):
            return getattr(asyncio, name)

        async def sleep_ms(self, ms):
            if ms == 1000:
                seconds.append(len(beats))
                if len(seconds) == 900:
                    raise asyncio.CancelledError
            await asyncio.sleep_ms(0)

    beats = []
    life = Life()
    life.beat = lambda: beats.append(1)
    mirror.asyncio = Sleep()
    Slot.tries = 0
    try:
        await pole.mirror.run(life)
    except asyncio.CancelledError:
        pass
    assert Slot.tries == 3 and all(b > a for a, b in zip(seconds, seconds[1:]))
