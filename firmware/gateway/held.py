"""The buttons of a board, and whether one is held while it starts: needed at the start, where there are some."""
import time

import machine
from micropython import const

from lib.button import Button, ladder, pin

_LOOKS = const(5)
_LOOK_MS = const(20)


def _readers(board):
    """Return a reader of lib/button for each place at which the board has buttons."""
    readers = []
    if "ladder" in board:
        levels = dict(board["ladder"])
        at = machine.Pin(levels.pop("pin"))
        readers.append(ladder(machine.ADC(at, atten=machine.ADC.ATTN_11DB), levels))
    if "button" in board:
        readers.append(pin(machine.Pin(board["button"]["pin"], machine.Pin.IN, machine.Pin.PULL_UP)))
    return readers


def button(board):
    """Return the Button of a board; the ladder's, where it has both."""
    return Button(_readers(board)[0])


def held(board):
    """Return why the application must not run if a button of the board is held now, else ""."""
    for read in _readers(board):
        looks = 0
        while looks < _LOOKS and read() in ("a", "b"):  # an open door is no button
            looks += 1
            time.sleep_ms(_LOOK_MS)  # rule: nothing else runs yet
        if looks == _LOOKS:
            return "the button is held"
    return ""
