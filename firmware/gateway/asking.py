"""What a root knows of its poles, and how it comes to know it: they tell, and it asks for the rest.

One question to a pole at a time, as a command; what is longer than an answer comes in parts (docs/northbound/mesh.md).
"""
from micropython import const

from gateway import bridge, clock, log
from gateway.batches import IDENTITY
from gateway.members import Members
from lib.mesh import counts

_EXPIRY_S = const(30)  # of a question
_ASKED = const(1 << 40)  # above the numbers of batches: what is put together from answers


class Asking(bridge.Bridge):
    """`members`: the poles heard of, by id, and the root itself."""

    def __init__(self, now, recorder, nvs):
        super().__init__(now, recorder, nvs)
        self.members = Members()

    def heard(self, origin):
        """Take a sign of life."""
        member = self.members.add(origin)
        if member:
            member.heard = clock.uptime_ms()
            if member.table[0] and member.online < 0:
                member.online = 1
                member.versions[0] += 1

    def learn(self, origin, member, kind, whole, number=0):
        """Take what a member has told of itself, or answered: `number` is that of a layout."""
        if kind == IDENTITY:
            other = self.members.claim(origin, member, whole)
            if other:
                log.error(self.name, "member %d says that it is %s" % (origin, other))
                self.node.notes.note(counts.DUPLICATE, origin)
        else:
            try:
                member.take(kind, whole, clock.uptime_ms(), self.clock.now(), number)
            except (IndexError, ValueError):
                self.node.notes.note(counts.UNREAD, origin)
            if not member.firmware:
                self.ask(member, IDENTITY, 0)

    def ident(self):
        """Return a number for a command, above all before: seconds since 2024 while the time is known.

        None when it cannot be kept: it would come again after a reset.
        """
        now = self.clock.now()
        try:
            last = self.nvs.get_i32("mesh_ident")
        except OSError:
            last = 0
        ident = max(last + 1, now[0] // 1000 - clock.EPOCH if now else 0)
        try:
            self.nvs.set_i32("mesh_ident", ident)
            self.nvs.commit()
        except OSError:
            return None
        return ident

    def ask(self, member, kind, number, part=0):
        """Ask a pole for a part of what is not known of it, one question at a time."""
        if not member.asked:
            ident = self.ident()
            what = bytes((kind, part, number >> 8, number & 255))
            if ident and self.node.command(member.id, ident, _EXPIRY_S, what, bridge.ticks()):
                member.asked = ident, kind, part, number

    def result(self, origin, ident, payload):
        """Take a part of what was asked for, and ask for the next."""
        member = self.members.add(origin)
        if not member or not member.asked or member.asked[0] != ident:
            return
        _, kind, part, number = member.asked
        member.asked = None
        if not payload:
            return
        key = _ASKED | kind << 16 | number
        whole = member.join(key, part, payload[0], payload[1:])
        if whole is not None:
            member.done(key)
            self.learn(origin, member, kind, whole, number)
        elif part < payload[0]:
            self.ask(member, kind, number, part + 1)

    def unreached(self, origin, ident):
        """Take that a question was not answered: it is asked again when that is needed."""
        member = self.members.add(origin)
        if member and member.asked and member.asked[0] == ident:
            member.asked = None
