"""End to end between a member and the roots: AES-CCM under the member's own key, with a tag of 8 bytes.

What may not change on the way (who, to which root, what kind, which number) is the nonce, and so covered by the tag;
the rest (hops, tries, costs) changes at each hop. The sealing root is part of it: two roots share a member's key.
"""

from struct import pack

from micropython import const

from lib import ccm
from lib.mesh.guard import Floors

_NONCE = ">BHHHHI"  # type and kind, member, root, epoch, ctr, 0: 13 bytes
WINDOW = const(29)  # frames of one member go different ways and may come out of order
UPWARD = const(0x20)  # first byte of the nonce; downward it is this and the kind:
DOWNWARD = const(0x30)


class Secrecy:
    """Seals and opens with `key(id)`; at a pole the peers are the roots, at a root the members, at most `limit`."""

    def __init__(self, key, counter, limit):
        self.key = key
        self.counter = counter
        self.floors = Floors(limit, WINDOW)

    def seal(self, first, member, root, text):
        """Return what only the other end can open, None when no number may be used; see `counter` for its number."""
        counter = self.counter
        if not counter.step():
            return None
        nonce = pack(_NONCE, first, member, root, counter.epoch, counter.ctr, 0)
        return ccm.seal(self.key(member), nonce, text)

    def open(self, first, member, root, peer, epoch, ctr, sealed):
        """Return what the other end has sealed, b"" when it was here already, None when it is not whole."""
        floors = self.floors
        row = floors.rows.get(peer, -1)
        if row >= 0 and not floors.fresh(row, epoch, ctr):
            return b""
        key = self.key(member)
        text = ccm.open(key, pack(_NONCE, first, member, root, epoch, ctr, 0), sealed) if key else None
        if text:
            if row < 0:
                row = floors.add(peer)
                if row < 0:
                    return b""
            floors.mark(row, epoch, ctr)
        return text
