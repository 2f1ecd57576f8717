"""Publishes with lib/mqtt: `uplink_publish.py PORT COUNT SIZE MODE`.

The last line is JSON. MODE is "rate": {"ms": from the first message to the last acknowledgement}; "busy" or "idle",
messages or none until the connection is lost: {"ms": since the oldest message was sent that was not acknowledged, or
since the connection was there}.
"""

import asyncio
import json
import sys
from time import ticks_diff, ticks_ms

from lib.mqtt import MQTTClient, Stale

port, count, size = [int(text) for text in sys.argv[1:4]]
mode = sys.argv[4]
client = MQTTClient("bench", "127.0.0.1", port)
acked = [0]


def on_ack(token):
    acked[0] = token + 1


async def rate():
    generation = await client.up()
    began = ticks_ms()
    payload = b"x" * size
    for token in range(count):
        await client.publish("bench/telemetry", payload, token=token, generation=generation)
    while acked[0] < count:
        await asyncio.sleep_ms(1)
    print(json.dumps({"ms": ticks_diff(ticks_ms(), began)}))


async def lost():
    generation = await client.up()
    print("up")
    sent = [ticks_ms()]
    try:
        while client.connected:
            if mode == "busy":
                sent.append(ticks_ms())
                await client.publish("bench/telemetry", b"x" * size, token=len(sent) - 1, generation=generation)
            await asyncio.sleep_ms(100)
            if client.pending > 8:
                break
    except Stale:
        pass
    while client.connected:
        await asyncio.sleep_ms(2)
    print(json.dumps({"ms": ticks_diff(ticks_ms(), sent[acked[0] if mode == "busy" else 0])}))


async def main():
    client.on_ack = on_ack
    asyncio.create_task(client.run())
    await (rate() if mode == "rate" else lost())


asyncio.run(main())
