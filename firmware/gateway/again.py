"""Sends stored records of a span of time once more: needed when somebody asks for it.

Each message is the one that was sent before, with the same `seq`, and a last member `"again": true`. Nothing of it
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
    """Send what `outlet.asked` names, (begin, end) in unix ms, both included, and return when it has arrived.

    Stale when the connection is gone: then all of it is to be sent over the next one, unless somebody has asked for
    something else meanwhile.
    """
    asked = outlet.asked
    outlet.asked = None  # whatever else goes wrong with it would go wrong again
    try:
        await _send(outlet, generation, life, *asked)
    except (Stale, asyncio.CancelledError):
        outlet.asked = outlet.asked or asked
        raise


async def _send(outlet, generation, life, begin, end):
    journal, client, northbound = outlet.journal, outlet.client, outlet.northbound
    when = max(1, begin // 1000 - clock.EPOCH - _BEFORE_S)
    first = max(journal.first, once.call("lib.journal.index", "find", journal, when))
    replay = Replay(journal, northbound.names, outlet.dating, first)
    last = outlet.acked  # the others will come anyway
    while True:
        life.beat()
        record = await replay.next()
        if record is None or record.ordinal >= last or record.unix_ms - record.bound_ms > end + _AFTER_MS:
            break
        if begin <= record.unix_ms <= end:
            message = northbound.message(record, None)
            if message:
                northbound._at -= 1  # the closing brace
                northbound._put(',"again":true}')
                payload = memoryview(northbound._buf)[: northbound._at]
                await client.publish(message[0], payload, generation=generation)
        await asyncio.sleep_ms(0)
    while client.pending:
        life.beat()
        if generation != client.generation or not client.connected:
            raise Stale
        await asyncio.sleep_ms(_TICK_MS)
