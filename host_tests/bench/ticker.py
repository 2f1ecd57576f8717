"""A task that only wants to run every 5 ms, and how late it was: `asyncio.create_task(ticker(gaps))`."""

import asyncio
import time

PERIOD_MS = 5


async def ticker(gaps):
    """Count in gaps[n] the turns that came n ms late, in the last place all that were later still."""
    last = len(gaps) - 1
    while True:
        due = time.ticks_add(time.ticks_us(), PERIOD_MS * 1000)
        await asyncio.sleep_ms(PERIOD_MS)
        gaps[min(max(0, time.ticks_diff(time.ticks_us(), due)) // 1000, last)] += 1


def worst(gaps):
    """Return the longest delay in ms."""
    return max([n for n in range(len(gaps)) if gaps[n]] or [0])
