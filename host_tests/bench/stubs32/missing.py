"""What the 32-bit build for browsers lacks in modules that it has: enough to build a gateway that never runs."""

import asyncio
import os

os.urandom = lambda n: bytes(n)
asyncio.run = None
