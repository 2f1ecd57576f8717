"""Sends stored records of a span of time once more: needed when somebody asks for it.

Each message is the one that was sent before, with the same `seq`, and a first member `"again": true`. Nothing of it
moves the outlet's cursor.
"""
import asyncio

from micropython import const

from gateway import clock
from gateway.replay import Replay
from lib import once
from lib.mqtt import Stale

_BEFORE_S = const(60)  # the journal's hint of time is a whole second, of the last record of a frame
_AFTER_MS = const(3600000)  # an interval is stored after its end, and a boot may begin before the end of the last one
_TICK_MS = const(100)


async def send(outlet, generation, life):
    """Send what `outlet.asked` names, (begin, end) in unix ms, both included, and forget it once it has arrived.

    Stale when the connection is gone: then all of it is sent over the next one.
    """
    asked = begin, end = outlet.asked
    journal, client = outlet.journal, outlet.client
    when = max(1, begin // 1000 - clock.EPOCH - _BEFORE_S)
    first = max(journal.first, once.call("lib.journal.index", "find", journal, when))
    replay = Replay(journal, outlet.northbound.names, outlet.dating, first)
    last = outlet.acked  # the others will come anyway
    while True:
        life.beat()
        record = await replay.next()
        if record is None or record.ordinal >= last or record.unix_ms - record.bound_ms > end + _AFTER_MS:
            break
        if begin <= record.unix_ms <= end:
            message = outlet.northbound.message(record, None)
            if message:
                payload = b'{"again":true,' + bytes(message[1][1:])
                await client.publish(message[0], payload, generation=generation)
        await asyncio.sleep_ms(0)
    while client.pending:
        life.beat()
        if generation != client.generation or not client.connected:
            raise Stale
        await asyncio.sleep_ms(_TICK_MS)
    if outlet.asked == asked:
        outlet.asked = None
