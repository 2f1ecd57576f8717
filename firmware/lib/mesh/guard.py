"""Who may be believed: a frame is of this site, to this node, newer than all before it, and signed; or it is dropped.

Cheap checks come first: a flood of strangers' frames costs no AES, and none of them leaves anything in memory. Only a
signed frame makes a row in the table of members, so how many rows there are depends on nobody but the members.
"""

from array import array
from struct import pack_into, unpack_from

from micropython import const

from lib.ccm import Cmac
from lib.mesh import counts
from lib.mesh.frames import ALL, BEACON, BODY, FIRST, HEADER, LIMIT, MIC, fits

_MEMBERS = const(256)
_BITS = const(0x3FFFFFFF)  # of a window: what a small int holds
_MAC = const(6)
_HOUR = const(60)  # minutes


class Floors:
    """The newest counter of each sender, `epoch` and `ctr` of 16 bits each; a row for each id, at most `limit`.

    `window`: how many older counters than the newest may still come, once each: 0 where frames keep their order, up to
    29 where ways differ. Epochs never wrap: a member has 65,535 of them.
    """

    def __init__(self, limit, window):
        self._limit = limit
        self._window = window
        self.rows = {}
        self._epochs = array("H")
        self._ctrs = array("H")
        self._seen = array("I")  # bit n: the newest less n was there; empty without a window

    def add(self, ident):
        """Return a row for this id, -1 when there is no room."""
        row = self.rows.get(ident, -1)
        if row < 0 and len(self.rows) < self._limit:
            row = self.rows[ident] = len(self.rows)
            self._epochs.append(0)
            self._ctrs.append(0)
            if self._window:
                self._seen.append(0)
        return row

    def fresh(self, row, epoch, ctr):
        """Return whether a counter was not there yet, and is not too old to tell."""
        if epoch != self._epochs[row]:
            return epoch > self._epochs[row]
        back = self._ctrs[row] - ctr
        return back < 0 or back <= self._window and back > 0 and not self._seen[row] >> back & 1

    def newest(self, row):
        """Return the newest (epoch, ctr) of a sender."""
        return self._epochs[row], self._ctrs[row]

    def mark(self, row, epoch, ctr):
        """Note a counter that is fresh."""
        back = self._ctrs[row] - ctr
        if not self._window:
            pass
        elif epoch != self._epochs[row] or back < -29:
            self._seen[row] = 1
        elif back < 0:
            self._seen[row] = (self._seen[row] & _BITS >> -back) << -back | 1  # a small int throughout
        else:
            self._seen[row] |= 1 << back
            return
        self._epochs[row] = epoch
        self._ctrs[row] = ctr


class Members(Floors):
    """Everybody who was heard or whose frames came by: counters, address, and the next hop towards them."""

    def __init__(self, window):
        super().__init__(_MEMBERS, window)
        self._via = array("H")
        self._macs = bytearray()
        self.silent = bytearray()  # minutes since a frame of each was taken, at most 60

    def add(self, ident):
        """Return a row for this id, -1 when there is no room."""
        row = super().add(ident)
        if row == len(self._via):
            self._via.append(0)
            self._macs += bytes(_MAC)
            self.silent.append(0)
        return row

    def minute(self):
        """Forget the floor of who was not heard for an hour: another may have set it. To be called once a minute."""
        for row, minutes in enumerate(self.silent):
            if minutes < _HOUR:
                self.silent[row] = minutes + 1
            else:
                self._epochs[row] = 0

    def mac(self, ident):
        """Return the address of six bytes; None when this id was never heard itself."""
        row = self.rows.get(ident, -1)
        mac = bytes(self._macs[row * _MAC : row * _MAC + _MAC]) if row >= 0 else b""
        return mac if any(mac) else None

    def moved(self, row, mac):
        """Note the address of a row; return whether it was another one before."""
        at = row * _MAC
        before = self._macs[at : at + _MAC]
        if before == mac:
            return False
        self._macs[at : at + _MAC] = mac
        return any(before)

    def via(self, ident):
        """Return the neighbour whom the last frame of this origin came from, 0 when none did."""
        row = self.rows.get(ident, -1)
        return self._via[row] if row >= 0 else 0

    def came(self, origin, neighbour):
        """Note the way that a frame of `origin` came: commands to it go back there."""
        row = self.add(origin)
        if row >= 0:
            self._via[row] = neighbour


class Counter:
    """Numbers that are never used twice, (epoch, ctr): the epoch is in flash before the first of it is used.

    `renew()` stores the next epoch and returns it, None when flash cannot be written.
    """

    def __init__(self, epoch, renew):
        self.epoch = epoch
        self.ctr = -1
        self._renew = renew

    def step(self):
        """Go to the next number; return False when there is none, and nothing may be sent."""
        if self.ctr == 0xFFFF:
            epoch = self._renew()
            if not epoch or not self.epoch < epoch <= 0xFFFF:
                return False
            self.epoch = epoch
            self.ctr = -1
        self.ctr += 1
        return True


class Guard:
    """Signs what goes out and judges what comes in. After `admit`: `source`, `to`."""

    def __init__(self, conf, key, renew, notes):
        self._site = conf.site
        self._me = conf.id
        self._cmac = Cmac(key)
        self.counter = Counter(conf.epoch, renew)
        self.members = Members(29 if conf.window32 else 0)
        self._notes = notes
        self.source = self.to = 0

    def seal(self, buf, n, kind, to):
        """Put a header before the body in `buf`, which ends at `n`, a MIC behind it; return the length, 0: must not.

        `buf` is a memoryview with room for the MIC.
        """
        counter = self.counter
        if not counter.step():
            return 0
        pack_into(HEADER, buf, 0, FIRST | kind, self._site, self._me, to, counter.epoch, counter.ctr)
        buf[n : n + MIC] = self._cmac.tag(buf[:n])[:MIC]
        return n + MIC

    def admit(self, frame, mac):
        """Return the type of a frame that may be believed, else 0: then it is counted and has left no trace."""
        n = len(frame)
        note = self._notes.note
        if not BODY + MIC < n <= LIMIT or len(mac) != _MAC:
            return note(counts.MALFORMED)
        first, site, source, to, epoch, ctr = unpack_from(HEADER, frame)
        if site != self._site:
            return note(counts.OTHER_SITE)
        kind = first & 15
        if first ^ kind != FIRST or not fits(kind, n) or kind == BEACON and n & 3 or not 0 < source < ALL:
            return note(counts.MALFORMED)
        if to != self._me and to != ALL:
            return 0
        members = self.members
        row = members.rows.get(source, -1)
        other = source == self._me  # another radio has that id
        if other:
            if (epoch, ctr) <= (self.counter.epoch, self.counter.ctr):
                return 0  # one's own frame, repeated by a hub or by somebody else
        elif row >= 0 and not members.fresh(row, epoch, ctr):
            if epoch >= members.newest(row)[0] or members.mac(source) in (mac, None):
                return note(counts.REPLAY, source)
            other = True
        n -= MIC
        if self._cmac.tag(frame[:n])[:MIC] != frame[n:]:
            return note(counts.FORGED, source)
        if other:
            return note(counts.DUPLICATE, source)
        if row < 0:
            row = members.add(source)
            if row < 0:
                return note(counts.CROWDED, source)
        members.mark(row, epoch, ctr)
        members.silent[row] = 0
        if members.moved(row, mac):
            note(counts.DUPLICATE, source)
        self.source = source
        self.to = to
        return kind
