"""pymodbus behind the simulated line: somebody else's slave, at the pace of the wire.

    with PymodbusStation({1: {(4, 0): [0x4366, 0x3333]}}) as station:
        with Line(link, Settings(9600, "8N1"), station, log): ...
"""

import asyncio
import os
import select
import threading
import time
import tty

from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from meshems.sim.slave import Answer, Station

REPLY_S = 2.0  # pymodbus answers at once; this is for a busy machine
QUIET_S = 0.02


class PymodbusStation(Station):
    """Units with registers: `units` maps a unit id to {(function, address): [words or truth values]}."""

    def __init__(self, units):
        self._devices = [_device(unit, blocks) for unit, blocks in units.items()]
        self._units = set(units)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._stop = None

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10), "pymodbus did not start"
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = ModbusSerialServer(self._devices, port=os.ttyname(self._slave), baudrate=115200)
        await server.serve_forever(background=True)
        self._ready.set()
        await self._stop.wait()
        await server.shutdown()

    def hear(self, frame, at_s, quiet_s=1.0):
        """Pass a frame on and return what pymodbus says to it."""
        request = {"frame": frame.hex()}
        if not frame or frame[0] not in self._units:
            return Answer(request)
        os.write(self._master, frame)
        reply, until = b"", time.monotonic() + REPLY_S
        while select.select([self._master], [], [], QUIET_S if reply else until - time.monotonic())[0]:
            reply += os.read(self._master, 512)
        return Answer(request, {"frame": reply.hex()}, reply, 0.02)


def _device(unit, blocks):
    tables = {1: [], 2: [], 3: [], 4: []}
    for (function, address), values in sorted(blocks.items()):
        kind = DataType.BITS if function < 3 else DataType.REGISTERS
        tables[function].append(SimData(address, values=values, datatype=kind))
    unused = {function: [SimData(0, values=[False] * 16, datatype=DataType.BITS)] for function in (1, 2)}
    unused |= {function: [SimData(0, values=[0], datatype=DataType.REGISTERS)] for function in (3, 4)}
    return SimDevice(unit, simdata=tuple(tables[function] or unused[function] for function in tables))
