"""The ticker alone, in a process that does nothing else: `idle.py SECONDS`. The last line is JSON: {"gap_ms"}."""

import asyncio
import json
import sys
from array import array

from ticker import ticker, worst

gaps = array("I", [0] * 1000)


async def _run(seconds):
    asyncio.create_task(ticker(gaps))
    await asyncio.sleep_ms(1000 * seconds)


asyncio.run(_run(int(sys.argv[1])))
print(json.dumps({"gap_ms": worst(gaps)}))
