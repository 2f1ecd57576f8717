"""Simulated meters on a simulated line. Stands alone: it shares the profile files with the firmware, and no code.

uart.py      characters: what one UART hears of another
wire.py      the half-duplex line, sans-I/O: who sends when, collisions, frames
line.py      the line behind a terminal, in real time
virtual.py   the line for a master that lives in virtual time
slave.py     Modbus units, each with the registers of its profile
faults.py    what can go wrong with a reply
meters.py    the living values behind the registers
spec.py      which of them there are: schema/sim.json
timing.py    judges a line's log: silences, collisions, answers
"""
