"""Sends stored records of a span of time once more: needed when somebody asks for it.

Each message is the one that was sent before, with the same `seq`, and a first member `"again": true`. Nothing of it
moves the outlet's cursor.
"""
import asyncio

from gateway.replay import Replay


async def send(outlet, generation, life):
    """Send what `outlet.asked` names, (begin, end) in unix ms, both included; Stale when the connection is gone."""
    begin, end = outlet.asked
    outlet.asked = None
    journal = outlet.journal
    replay = Replay(journal, outlet.northbound.names, outlet.dating, journal.first)
    last = outlet.acked  # the others will come anyway
    while True:
        life.beat()
        record = await replay.next()
        if record is None or record.ordinal >= last:
            return
        if begin <= record.unix_ms <= end:
            message = outlet.northbound.message(record, None)
            if message:
                payload = b'{"again":true,' + bytes(message[1][1:])
                await outlet.client.publish(message[0], payload, generation=generation)
        await asyncio.sleep_ms(0)
