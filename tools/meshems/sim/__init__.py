"""Simulated meters on a simulated line. Stands alone: it shares the profile files with the firmware, and no code.

line.py      the wire: each character takes its time
slave.py     Modbus units on it, each with the registers of its profile
faults.py    what can go wrong with a reply
meters.py    the living values behind the registers
spec.py      which of them there are: schema/sim.json
"""
