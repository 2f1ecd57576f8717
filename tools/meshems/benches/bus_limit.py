"""The least time that a cycle on a Modbus line can take, whoever reads it: nothing here is measured.

A read takes its characters, the meter's turnaround, and the silence that has to follow; a cycle is the sum of its
reads. Modbus over serial line V1.02, 2.5.1.1.
"""

from collections.abc import Iterable

from meshems.sim.line import Settings

REQUEST, OVERHEAD = 8, 5  # characters; of a reply without its registers


def read_s(settings: Settings, registers: int, turnaround_s: float) -> float:
    """Return how long one read of so many registers keeps the line; the turnaround is at least 3.5 characters."""
    characters = REQUEST + OVERHEAD + 2 * registers
    return characters * settings.char_s + max(turnaround_s, settings.gap_s) + settings.gap_s


def cycle_s(settings: Settings, meters: int, blocks: Iterable[int], turnaround_s: float) -> float:
    """Return how long one cycle is: `blocks` has the number of registers of each read of a meter."""
    return meters * sum(read_s(settings, registers, turnaround_s) for registers in blocks)
