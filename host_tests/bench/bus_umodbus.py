"""Reads meters with micropython-modbus, which is on the path `library` of the job: what bus.py is for the firmware."""

import json
import sys
import time

with open(sys.argv[1]) as file:
    job = json.load(file)
sys.path.append(job["library"])

from umodbus.serial import Serial

(uart, units), = job["lines"]
parity = {"N": None, "E": 0, "O": 1}[job["format"][1]]
host = Serial(uart, job["baud"], 8, int(job["format"][2]), parity, (17, 18))
polls = []
while len(polls) < job["polls"]:
    unit = units[len(polls) // len(job["blocks"]) % len(units)]
    block = len(polls) % len(job["blocks"])
    function, address, count = job["blocks"][block]
    ask = host.read_holding_registers if function == 3 else host.read_input_registers
    begin = time.ticks_us()
    try:
        words = list(ask(unit, address, count, False))
    except (OSError, ValueError):
        words = None
    polls.append((unit, block, begin, time.ticks_us(), words))
print(json.dumps({"polls": polls}))
