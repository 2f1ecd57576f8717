"""Writes a journal as a gateway does, lets gateway/mirror copy it to a card, and leaves what is on it in `card.csv`.

Run in MicroPython by test_mirror.py, in an empty folder.
"""
import asyncio
import os

import esp32
import machine
import vfs

from fake_card import Card, Slot
from gateway import clock, mirror
from gateway.ids import Ids
from gateway.recorder import Recorder
from gateway.records import ALARM, CLEAR, INFO, ONCE, SET, WARN
from lib.journal import Journal

COLUMNS = "\n1.8.0 kWh -3\n32.7.0 V -3\n16.7.0 W -3\nx.soc % 0\n3.7.0 var 2"
INTERVAL = "\ninterval s 0\n32.3.0 V -3\n32.5.0 V -3\n32.6.0 V -3"


class Clock:
    source = clock.NTP

    def at(self, uptime):
        return 1782138600120 + uptime, 25

    def now(self):
        return self.at(clock.uptime_ms())


class Pole:
    pass


class Life:
    def beat(self):
        pass


machine.SDCard = Slot
Slot.card = card = Card()
ids = Ids()
slots = [ids.slot("SN-%d" % i) for i in range(3)]
schemas = ids.schema(COLUMNS), ids.schema(INTERVAL)
pole = Pole()
pole.clock = Clock()
pole.journal = Journal(esp32.Partition("journal"))
pole.journal.mount()
pole.recorder = recorder = Recorder(pole.journal, 7, pole.clock)
at = 5000
for i in range(40):
    for slot in slots:
        values = [1234000 + i, 230125 - 1000 * i, -1250 * i, None if i % 5 == 1 else i, -i]
        recorder.reading(at, slot, schemas[0], values, 0 if i % 4 else 1 << i % 5)
        at += 1230
    if i % 9 == 0:
        recorder.reading(at, slots[0], schemas[1], [900, 229000, 230000, 231000])
        recorder.event(0, "network_down", WARN, SET, {"via": "wifi", "reason": 'no "address", none'}, at)
        recorder.event(slots[1], "power_fail", ALARM, ONCE, {}, at)
        recorder.event(slots[2], "comms_restored", INFO, CLEAR, {"misses": 3}, at)
    recorder.commit()
recorder.lost(slots[1])
recorder.commit()


async def copy():
    copied = mirror.Mirror({"slot": 0, "sck": 41, "cmd": 40, "data": [10]}, pole, ids.names(), 9, "pole-07")
    while await copied._batch(Life()):
        pass


asyncio.run(copy())
text = ""
for name in os.listdir("/sd/pole-07"):
    with open("/sd/pole-07/" + name) as file:
        text += file.read()
vfs.umount("/sd")
with open("card.csv", "w") as file:
    file.write(text)
print("done", pole.journal.next)
