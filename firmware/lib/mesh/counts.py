"""What was dropped and why: counted at once, told as an event at most once in ten minutes for each kind."""

from array import array

from micropython import const

MALFORMED = const(0)  # no frame of ours: length, version, type
OTHER_SITE = const(1)  # a frame of a neighbouring site; never an event
REPLAY = const(2)  # counter not above the sender's floor
FORGED = const(3)  # wrong MIC
UNSEALED = const(4)  # wrong tag of the payload; detail: the origin
UNKNOWN = const(5)  # a root has no key for that origin; detail: the origin
DUPLICATE = const(6)  # one id, two radios; detail: the id
LIAR = const(7)  # a neighbour names a cost that cannot be; detail: its id
SILENT = const(8)  # a neighbour acknowledges, but nothing gets through; detail: its id
LOOP = const(9)  # over the hop limit, or one's own frame came back
CROWDED = const(10)  # a table or the queue was full
TIME = const(11)  # a time was refused; detail: who sent it
LOST_WAY = const(12)  # nobody to pass a frame on to, or given up after all tries
UNREAD = const(13)  # a root cannot read what a member has sealed; detail: the member. Only the application notes it
KINDS = const(14)

# worth an event from so many in a minute; 0: never
_MINUTE_RATES = b"\x3c\x00\x3c\x0a\x01\x01\x01\x01\x02\x0a\x3c\x01\x00\x01"
_QUIET = const(10)  # minutes


class Counts:
    """`all` maps each kind to how often it happened; `event(kind, detail)` is called from `minute`."""

    def __init__(self, event):
        self._event = event
        self.all = array("I", bytes(4 * KINDS))
        self._before = array("I", bytes(4 * KINDS))
        self._detail = array("H", bytes(2 * KINDS))
        self._quiet = bytearray(KINDS)

    def note(self, kind, detail=0):
        """Count one; return 0."""
        self.all[kind] = (self.all[kind] + 1) & 0x3FFFFFFF
        self._detail[kind] = detail
        return 0

    def minute(self):
        """Tell what was too much; to be called once a minute."""
        for kind in range(KINDS):
            rate = _MINUTE_RATES[kind]
            many = self.all[kind] - self._before[kind]
            if self._quiet[kind]:
                self._quiet[kind] -= 1
            elif rate and many >= rate:
                self._quiet[kind] = _QUIET
                self._event(kind, self._detail[kind])
            self._before[kind] = self.all[kind]
