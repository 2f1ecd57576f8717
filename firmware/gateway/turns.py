"""Outlets take turns where the memory is too small for a TLS connection each.

An outlet gives way to one that has something to send: when it has nothing more to send itself and had its least time,
when its connection fails, and at the latest after its longest time.
"""
import asyncio

from gateway import clock

LEAST_MS = 20000
LONGEST_MS = 120000
TICK_MS = 200


class Turns:
    """Who has one of `size` connections; `waiting` are the outlets that have none."""

    def __init__(self, size):
        self._free = size
        self._waiting = []

    async def link(self, outlet, life):
        """Keep the connection of `outlet` while it has its turn, for ever."""
        client = outlet.client
        while True:
            await self._turn(outlet, life)
            task = asyncio.create_task(client.run(life.beat))
            try:
                began = clock.uptime_ms()
                while not self._over(outlet, clock.uptime_ms() - began):
                    await asyncio.sleep_ms(TICK_MS)
                await client.close()
                await task
                client.closed = False
            finally:
                task.cancel()
                self._free += 1
            await asyncio.sleep_ms(2 * TICK_MS)  # whoever waits goes first

    async def _turn(self, outlet, life):
        self._waiting.append(outlet)
        try:
            while not self._free:
                life.beat()
                await asyncio.sleep_ms(TICK_MS)
            self._free -= 1
        finally:
            self._waiting.remove(outlet)

    def _over(self, outlet, ms):
        if not [other for other in self._waiting if other.behind]:
            return False
        if outlet.client.state not in ("connecting", "connected"):
            return True
        return ms >= LONGEST_MS or ms >= LEAST_MS and not outlet.behind
