"""What the firmware reads of board.json at the start: the clock on I2C, and what the board says it cannot do."""
import json

import machine

from gateway import build, log, tasks
from gateway.records import INFO, ONCE

LACKS = [{"what": "rtc", "why": "no clock"}, {"what": "ethernet", "why": "no INT"}]


class Recorder:
    boot = 7

    def __init__(self):
        self.events = []

    def event(self, *event):
        self.events.append(event)


def lines():
    said = []
    log._say = lambda level, area, text: said.append((level, area, text))
    return said


def board(**keys):
    with open("board.json", "w") as file:  # the current folder comes first on the path
        json.dump(keys, file)
    import sys

    sys.path.insert(0, "")


def test_what_the_board_cannot_do_is_in_the_log_and_in_the_event_of_the_start():
    board(cannot=LACKS)
    said, recorder = lines(), Recorder()
    tasks.tell(recorder)
    assert said == [("I", "board", "cannot rtc: no clock"), ("I", "board", "cannot ethernet: no INT")]
    detail = {"boot": 7, "cause": machine.reset_cause(), "cannot": "rtc ethernet"}
    assert recorder.events == [(0, "restarted", INFO, ONCE, detail)]


def test_a_board_that_lacks_nothing_says_nothing_of_it():
    board(uarts=[])
    said, recorder = lines(), Recorder()
    tasks.tell(recorder)
    assert said == [] and recorder.events[0][4] == {"boot": 7, "cause": machine.reset_cause()}


def test_the_clock_is_looked_for_on_the_boards_i2c():
    asked = []

    class I2C:
        def __init__(self, number, sda, scl):
            asked.append((number, sda, scl))

    machine.I2C = I2C
    machine.Pin = lambda number: number
    assert len(build.rtcs({"i2c": {"id": 1, "sda": 14, "scl": 21}})) == 1 and asked == []
    found = build.rtcs({"i2c": {"id": 1, "sda": 14, "scl": 21}, "rtc": {"kind": "ds3231", "int": 16}})
    assert len(found) == 2 and asked == [(1, 14, 21)]
