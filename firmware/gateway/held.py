"""Looks whether a button is held while the board starts: needed then only, and where the board has one."""
import time

import machine
from micropython import const

from lib import button

_LOOKS = const(5)
_LOOK_MS = const(20)


def held(board):
    """Return why the application must not run if a button of the board is held now, else ""."""
    reads = []
    if "ladder" in board:
        levels = {name: mv for name, mv in board["ladder"].items() if name != "pin"}
        adc = machine.ADC(machine.Pin(board["ladder"]["pin"]), atten=machine.ADC.ATTN_11DB)
        reads.append(button.ladder(adc, levels))
    if "button" in board:
        reads.append(button.pin(machine.Pin(board["button"]["pin"], machine.Pin.IN, machine.Pin.PULL_UP)))
    for read in reads:
        looks = 0
        while looks < _LOOKS and read() in ("a", "b"):  # an open door is no button
            looks += 1
            time.sleep_ms(_LOOK_MS)  # rule: nothing else runs yet
        if looks == _LOOKS:
            return "the button is held"
    return ""
