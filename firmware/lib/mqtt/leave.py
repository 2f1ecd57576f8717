"""Takes leave of a broker: needed once."""
import asyncio
from time import ticks_add, ticks_diff, ticks_ms

from lib.mqtt.packet import DISCONNECT


async def flush(client, ms):
    """Do what MQTTClient.flush says."""
    generation, until = client.generation, ticks_add(ticks_ms(), ms)
    while client.connected and generation == client.generation:
        if not client._window.count and not client._link.queued:
            return True
        if ticks_diff(until, ticks_ms()) <= 0:
            break
        await asyncio.sleep_ms(10)
    return False


async def close(client, ms):
    """Do what MQTTClient.close says."""
    client.closed = True
    client._link.put(DISCONNECT)
    await flush(client, ms)
    client._lose("")
    client._link.stop()
