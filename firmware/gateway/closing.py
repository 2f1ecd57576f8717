"""Ends a gateway in good order: needed once."""
import asyncio

from micropython import const

from gateway import log
from lib.mqtt import Stale

_LEAVE_MS = const(2000)  # for each outlet


async def close(gateway):
    """Commit what is pending and take leave of the brokers: what they acknowledge until then is kept."""
    recorder = gateway.recorder
    recorder.begin = 0
    recorder.commit()
    for outlet in gateway.outlets:
        client = outlet.client
        try:
            if client.connected:
                text = '{"state":"offline"}'
                await asyncio.wait_for_ms(client.publish(outlet.root + "/status", text, retain=True), _LEAVE_MS)
                await client.flush(_LEAVE_MS)
                await client.close()
        except (OSError, asyncio.TimeoutError, Stale):
            pass
        outlet.keep(True)
    if gateway.mesh:
        gateway.mesh.keep(True)
    log.info("app", "closed: %d records stored" % (gateway.journal.next - gateway.journal.first))
