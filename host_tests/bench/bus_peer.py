"""Reads meters with a library of CPython: `bus_peer.py pymodbus-sync|pymodbus-async|minimalmodbus JOB`, as bus.py."""

import asyncio
import json
import logging
import sys
import time
from pathlib import Path

import minimalmodbus
from pymodbus import ModbusException
from pymodbus.client import AsyncModbusSerialClient, ModbusSerialClient


class Pymodbus:
    """The blocking client; each read is asked for once."""

    def __init__(self, job):
        self._client = ModbusSerialClient(**_port(job))

    async def start(self):
        self._client.connect()

    async def read(self, unit, function, address, count):
        ask = self._client.read_holding_registers if function == 3 else self._client.read_input_registers
        try:
            reply = ask(address, count=count, device_id=unit)
        except ModbusException:
            self._client.connect()
            return None
        return None if reply.isError() else reply.registers


class PymodbusAsync:
    """The client for asyncio."""

    def __init__(self, job):
        self._job = job

    async def start(self):
        self._client = AsyncModbusSerialClient(**_port(self._job))
        await self._client.connect()

    async def read(self, unit, function, address, count):
        ask = self._client.read_holding_registers if function == 3 else self._client.read_input_registers
        try:
            reply = await ask(address, count=count, device_id=unit)
        except ModbusException:
            if not self._client.connected:
                await self._client.connect()
            return None
        return None if reply.isError() else reply.registers


class Minimal:
    """minimalmodbus: one instrument a unit, all on one port."""

    def __init__(self, job):
        self._job = job
        self._instruments = {}

    async def start(self):
        for unit in self._job["units"]:
            instrument = minimalmodbus.Instrument(self._job["link"], unit)
            instrument.serial.baudrate = self._job["baud"]
            instrument.serial.timeout = self._job["timeout_ms"] / 1000
            self._instruments[unit] = instrument

    async def read(self, unit, function, address, count):
        try:
            return self._instruments[unit].read_registers(address, count, function)
        except (OSError, ValueError):  # ModbusException is an OSError
            return None


CLIENTS = {"pymodbus-sync": Pymodbus, "pymodbus-async": PymodbusAsync, "minimalmodbus": Minimal}


def _port(job):
    return {
        "port": job["link"], "baudrate": job["baud"], "parity": job["format"][1], "stopbits": int(job["format"][2]),
        "timeout": job["timeout_ms"] / 1000, "retries": 0,
    }  # fmt: skip


async def main(name, job):
    """Read, and print what bus.py prints."""
    logging.disable()
    client = CLIENTS[name](job)
    await client.start()
    polls = []
    units, blocks = job["units"], job["blocks"]
    while len(polls) < job["polls"]:
        unit, block = units[len(polls) // len(blocks) % len(units)], len(polls) % len(blocks)
        begin = time.monotonic_ns() // 1000
        words = await client.read(unit, *blocks[block])
        polls.append((unit, block, begin, time.monotonic_ns() // 1000, words))
    print(json.dumps({"polls": polls}))


asyncio.run(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))
