"""What an outlet lacks of the poles' records: it was away, they were confirmed without it, and it gets them later.

A place is kept on flash for each outlet and pole, the first record that is lacking; from there the pole is asked to
send again from its own journal, to those outlets that are there. What the pole's flash has lost meanwhile is a gap in
`seq`. docs/decisions/0014 says why.
"""
import json
from struct import pack, unpack_from

from micropython import const

from gateway import bridge, clock, log
from gateway.batches import AGAIN, IDENTITY
from lib import twin

_KEPT = const("owed")
_AGAIN_MS = const(600000)  # a pole that sends again and is not heard of: it is asked once more
_CALLED = const(4)  # poles that send again at a time
_EXPIRY_S = const(30)


class Owed:
    """`places`: {outlet: {id of a pole, as text: [epoch, ordinal]}}."""

    def __init__(self, root):
        self._root = root
        kept = twin.load(_KEPT)
        self.places = json.loads(kept) if kept else {}

    def lacks(self, courier, batch):
        """Keep that an outlet will lack a batch, if it lacked none before it; return whether that is on flash.

        Batches overtake each other.
        """
        epoch, ordinal = unpack_from(">HI", batch.payload, 0)
        places = self.places.setdefault(courier.outlet.name, {})
        ident = str(batch.member.id)
        before = places.get(ident)
        if before and before[0] == epoch and before[1] <= ordinal:
            return True
        places[ident] = [epoch, ordinal]
        if self._save():
            return True
        if before:
            places[ident] = before
        else:
            del places[ident]
        return False

    def _save(self):
        try:
            twin.save(_KEPT, json.dumps(self.places).encode())
        except OSError as error:
            log.error("mesh", "cannot keep what outlets lack: %r" % error)
            return False
        return True

    def left_behind(self, courier):
        """Wait no more for an outlet."""
        root = self._root
        for member in root.members.all.values():
            if member.again and courier in member.again:
                member.again.remove(courier)
        for batch in list(root.queue):
            if courier in batch.left and (not batch.fresh or self.lacks(courier, batch)):
                root.done(batch, courier)

    def call_in(self, now):
        """Ask poles for what outlets lack that are back, a few poles at a time."""
        root = self._root
        back = [one for one in root.couriers if not one.away and one.outlet.client.connected]
        busy = 0
        for member in root.members.all.values():
            if member.again is not None:
                if now - member.again_at > _AGAIN_MS:
                    member.again = None
                else:
                    busy += 1
        for courier in back:
            for ident, place in self.places.get(courier.outlet.name, {}).items():
                member = root.members.add(int(ident))
                if busy == _CALLED or not member or member.again is not None:
                    continue
                if not member.heard or member.gone(now):  # a question to it floods the site
                    continue
                if not member.firmware:
                    root.ask(member, IDENTITY, 0)
                    continue
                epoch, begin = place
                others = []
                for one in back:
                    other = self.places.get(one.outlet.name, {}).get(ident)
                    if other and other[0] == epoch:
                        others.append(one)
                        begin = min(begin, other[1])
                ident = root.ident()
                if not ident:
                    break
                member.run = ident & 0xFFFF  # a mark of an earlier request is none of this one
                what = pack(">BHIH", AGAIN, epoch, begin, member.run)
                if root.node.command(member.id, ident, _EXPIRY_S, what, bridge.ticks()):
                    member.again, member.again_at = others, now
                    busy += 1

    def went(self, member, number, mark):
        """Take how far a pole has sent again: all of that is acknowledged."""
        _, ordinal, last, run = unpack_from(">HIBH", mark, 0)
        self._root.confirm(member.id, number, 1)
        if member.again is None or run != member.run:
            return
        ident = str(member.id)
        for courier in member.again:
            places = self.places.get(courier.outlet.name, {})
            if last:
                places.pop(ident, None)
            elif ident in places:
                places[ident][1] = ordinal
        self._save()  # if that fails, the pole is asked once more after a restart
        member.again_at = clock.uptime_ms()
        if last:
            member.again = None
