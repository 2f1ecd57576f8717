"""Publishes with umqtt.simple, which waits for each acknowledgement: `uplink_umqtt.py PORT COUNT SIZE FOLDER`.

The last line is JSON: {"ms": from the first message to the last acknowledgement}.
"""

import json
import sys
from time import ticks_diff, ticks_ms

sys.path.insert(0, sys.argv[4])
from umqtt.simple import MQTTClient

port, count, size = [int(text) for text in sys.argv[1:4]]
client = MQTTClient(b"bench", "127.0.0.1", port)
client.connect()
began = ticks_ms()
for _ in range(count):
    client.publish(b"bench/telemetry", b"x" * size, qos=1)
print(json.dumps({"ms": ticks_diff(ticks_ms(), began)}))
