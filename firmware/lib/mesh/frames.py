"""The bytes of a frame: header, body by type, MIC (docs/mesh.md has the tables). Big endian, at most 250 bytes.

    first 1 · site 2 · from 2 · to 2 · epoch 2 · ctr 2 | body | MIC 4
"""

from micropython import const

BEACON = const(1)
UP = const(2)
DOWN = const(3)
SEQREQ = const(4)
LACK = const(5)
FLOOD = const(6)
SOLICIT = const(7)
MOVE = const(8)
HEADER = ">BHHHHH"
BEACON_BODY = ">HHHBHBBBBHIBBHH"  # root seqno cost hops parent flags seq channel load time(2+4) stratum epoch - config
UP_BODY = ">HHBBHHH"  # origin root hops try cost epoch ctr
DOWN_BODY = ">HHBBHH"  # to root ttl kind epoch ctr
BODY = const(11)  # where a body begins
UP_SEALED = const(23)
DOWN_SEALED = const(21)
MIC = const(4)
TAG = const(8)
LIMIT = const(250)
FIRST = const(0x40)  # version 1, key epoch 0; the type is in the low four bits
ALL = const(0xFFFF)
NEVER = const(0xFFFF)  # the cost of no route
OFF = const(30000)  # what a root adds to its cost that does not reach its brokers
HOPS = const(15)  # the hop limit

# flags of a beacon
PULL = const(1)  # no route: who has one is asked for a beacon
UPLINK = const(2)  # the root reaches its brokers
TIMED = const(4)  # the time is valid
BUSY = const(8)  # the queue is long: children hold their own
ROOT = const(16)
LACKS = const(32)  # no radio acknowledges here: frames want a LACK

# what an UP frame carries, the first byte of what is sealed; the application's own kinds are below
HELLO = const(0x80)
RESULT = const(0x81)
# what a DOWN frame carries
ACK = const(1)
COMMAND = const(2)

_LEAST = b"\x28\x24\x22\x13\x14\x22\x13\x11"  # shortest length of types 1..8
_MOST = b"\x2c\xfa\xfa\x13\x14\xfa\x13\x11"


def fits(kind, n):
    """Return whether a frame of this type may be `n` bytes long; False for a type that is none."""
    return 0 < kind < 9 and _LEAST[kind - 1] <= n <= _MOST[kind - 1]
