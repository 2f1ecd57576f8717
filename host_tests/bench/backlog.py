"""Fills the journal of the gateway in the current folder: `backlog.py COUNT`.

The readings go the way of all readings, through the Recorder of a Gateway that is built but never run, with its meters,
slots and schemas; one commit a round, a round each minute. The last line of the output is JSON: {"first", "next"}.
"""

import json
import sys

import caught

from lib import twin

EVERY_MS = 60000

gateway = caught.gateway()
meters = [meter for bus in gateway.buses for meter in bus.meters]
codes = []  # of each meter: the OBIS codes of its values
for meter in meters:
    rows = twin.load("schema%d" % meter.schema).decode().split("\n")
    codes.append([row.split(" ")[0] for row in rows if row])
for n in range(int(sys.argv[1])):
    turn, which = divmod(n, len(meters))
    # counters grow and the rest wavers, each by its own step
    values = [
        230000 + 7919 * i + (turn * (i + 3) if code.endswith(".8.0") else turn * (i + 11) % 977)
        for i, code in enumerate(codes[which])
    ]
    meter = meters[which]
    gateway.recorder.reading(turn * EVERY_MS + which * 100, meter.slot, meter.schema, values)
    if which == len(meters) - 1:
        gateway.recorder.commit()
gateway.recorder.commit()
print(json.dumps({"first": gateway.journal.first, "next": gateway.journal.next}))
