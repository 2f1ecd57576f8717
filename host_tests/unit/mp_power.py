"""gateway/power: the supply fails, and what was measured is on flash before the reserve is used up."""
import asyncio
import time

import machine

import fake_chip
from fake_nor import Nor
from gateway import clock, log, power
from gateway.recorder import Recorder
from gateway.records import EVENT, Decoder
from lib.journal import Journal

ROW = {"pin": 8, "activeLow": True, "holdMs": 60}


class Clock:
    source = clock.NTP

    def at(self, uptime):
        return 1782138600000 + uptime, 25

    def trusted(self):
        return True


class Life:
    def beat(self):
        pass


class Outlet:
    """Keeps a cursor as an outlet does; `broken` when flash is beyond use."""

    broken = False

    def __init__(self, journal):
        self.journal = journal
        self.acked = 0

    def keep(self, at_once=False):
        if self.broken:
            raise OSError(5)
        if at_once:
            self.journal.put(1, self.acked)


class Pole:
    """A recorder on a flash whose operations are traced, and a line that the test drives."""

    def __init__(self):
        log.warn = log.info = log.error = lambda area, text: None
        self.nor = Nor(16)
        self.journal = Journal(self.nor)
        self.journal.mount()
        self.recorder = Recorder(self.journal, 1, Clock())
        self.outlets, self.mesh = [Outlet(self.journal)], None
        self.line = fake_chip.Pin(8)
        self.line.drive(1)
        self.power = power.Power(ROW, self)

    def start(self):
        asyncio.create_task(self.power.run(Life()))

    def readings(self, count):
        for i in range(count):
            self.recorder.reading(clock.uptime_ms(), i + 1, 1, [230000 + i, 50000, 1234567 + i, i, -i, 7])

    def stored(self):
        """Return the number of readings and the events on the flash, as the next boot finds them."""
        journal = Journal(self.nor)
        journal.mount()
        reader = journal.reader(0)
        decoder = Decoder(self)
        readings, events = 0, []
        frame = reader.read()
        while frame:
            if frame[4]:
                decoder.forget()
            decoder.begin(frame[3])
            for _ in range(frame[2]):
                row = decoder.record()
                if row[2] == EVENT:
                    events.append(row[3])
                else:
                    readings += 1
            frame = reader.read()
        return readings, events, journal.cursor(1)

    def columns(self, number):
        return "\nx V 0" * 6


async def settle(ms=20):
    await asyncio.sleep_ms(ms)


async def test_what_is_pending_and_the_cursors_are_on_flash_when_the_line_fell():
    pole = Pole()
    pole.start()
    await settle()
    pole.readings(8)
    pole.outlets[0].acked = 5
    assert pole.stored() == (0, [], None)
    pole.line.drive(0)
    await settle()
    readings, events, cursor = pole.stored()
    assert readings == 8 and cursor == 5
    assert [event[:3] for event in events] == [(2, 2, 0)]  # power_fail, alarm, set


async def test_what_the_mesh_has_acknowledged_is_kept_too():
    pole = Pole()
    pole.mesh = Outlet(pole.journal)
    pole.outlets = []
    pole.start()
    pole.readings(2)
    pole.mesh.acked = 2
    pole.line.drive(0)
    await settle()
    assert pole.stored()[2] == 2


async def test_it_takes_one_frame_and_a_cursor_and_no_erase_once_a_block_is_open():
    pole = Pole()
    pole.start()
    pole.readings(1)
    pole.recorder.commit()  # as at the end of each bus round
    pole.journal.put(1, 0)
    await settle()
    pole.readings(30)
    pole.outlets[0].acked = 1
    pole.nor.trace = []
    pole.line.drive(0)
    await settle()
    programs = [len(data) for _, data, _ in pole.nor.trace if data is not None]
    print("programs of a power failure with 30 readings pending:", programs)
    assert len(programs) == len(pole.nor.trace), "an erase takes 45 ms, and 400 at worst"
    assert sum(programs) <= 2 * 512 + 16 and len(programs) <= 2 * 9 + 1
    assert pole.stored()[0] == 31


async def test_nothing_is_written_while_the_line_is_low_and_the_reserve_lasts():
    pole = Pole()
    pole.start()
    await settle()
    others = []

    async def other():
        while True:
            others.append(time.ticks_ms())
            await asyncio.sleep_ms(5)

    task = asyncio.create_task(other())
    await settle()
    before = len(others)
    pole.line.drive(0)
    began = time.ticks_ms()
    await settle(100)
    gap = max([time.ticks_diff(others[i + 1], others[i]) for i in range(before - 1, len(others) - 1)])
    assert gap >= ROW["holdMs"] and others[-1] > time.ticks_add(began, ROW["holdMs"])  # and then a battery carries it
    task.cancel()


async def test_a_failure_and_its_end_are_one_pair_of_events_though_the_line_chatters():
    pole = Pole()
    pole.start()
    await settle()
    for _ in range(5):
        pole.readings(1)
        pole.line.drive(0)
        await settle(80)
        pole.line.drive(1)
        await settle()
    assert pole.stored()[0] == 5 and len(pole.stored()[1]) == 1  # each time what was pending was stored
    await settle(4200)
    pole.recorder.commit()
    assert [event[:3] for event in pole.stored()[1]] == [(2, 2, 0), (3, 0, 1)]
    assert pole.power.failing is None
    pole.line.drive(0)
    await settle()
    assert len(pole.stored()[1]) == 3


async def test_a_lost_interrupt_costs_a_second_and_no_record():
    pole = Pole()
    pole.start()
    await settle()
    pole.readings(3)
    pole.line.deaf = True
    pole.line.drive(0)
    await settle(1100)
    assert pole.stored()[0] == 3 and len(pole.stored()[1]) == 1
    pole.line.deaf = False


async def test_a_flash_that_fails_does_not_end_the_task():
    pole = Pole()
    pole.start()
    await settle()
    pole.outlets[0].broken = True
    pole.nor.dead = True
    pole.readings(3)
    pole.line.drive(0)
    await settle(100)
    pole.line.drive(1)
    await settle(4200)
    assert pole.power.failing is None


async def test_a_line_that_is_low_at_the_start_is_a_failure_at_once():
    pole = Pole()
    pole.line.drive(0)
    pole.start()
    await settle(100)
    assert len(pole.stored()[1]) == 1


async def test_an_active_high_line_fails_when_it_rises():
    pole = Pole()
    pole.line.drive(0)
    pole.power = power.Power({"pin": 8, "holdMs": 10}, pole)
    pole.start()
    await settle()
    assert pole.power.failing is None
    pole.line.drive(1)
    await settle(50)
    assert pole.power.failing is not None and machine.Pin is fake_chip.Pin
