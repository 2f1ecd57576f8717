"""The mesh of the firmware, as the simulator drives it, and what its frames tell the judge (docs/mesh.md)."""

import random

from lib.mesh import keys as mesh_keys
from lib.mesh.node import Node

HOPS = 15
SECRET = bytes(range(32))
BEACON, UP = 1, 2


def look(frame):
    """Return what a frame is to the judge: is it a beacon, its origin, hops taken, its key, whether it is a repetition."""
    kind = frame[0] & 15
    if kind == UP:
        return False, frame[11] << 8 | frame[12], frame[15], frame[11:13] + frame[19:23], bool(frame[16] & 0x7F)
    return kind == BEACON, 0, 0, None, False
