"""What a root knows of each member: who it is, what its numbers stand for, and what it has told last.

All of it is asked for again when it is not known; only which id is which gateway is kept on flash: a member that claims
to be another one is refused, so that a stolen pole cannot speak for a second.
"""
import json

from micropython import const

from gateway import log
from gateway.batches import LAYOUT, REPORT, TABLE
from lib import twin

_MOST = const(256)
_JOINED = const(4)  # messages of a member that are put together at a time
_LAYOUTS = const(255)  # of a member: four for each of 60 meters, and it is out of order
_KEPT = const("members")
_GONE = const(-1)
_SILENT_MS = const(960000)  # a pole speaks each five minutes


class Names:
    """What the numbers of slots and layouts stand for, in one life of a member's flash: as gateway/records.Names.

    `every`: cadences by slot. `epoch`: of the journal, None when not known yet. `missing`: the layout that was looked
    for in vain.
    """

    epoch = missing = None

    def __init__(self):
        self.every = {}
        self.serials = []
        self.layouts = {}

    def serial(self, slot):
        """Return the serial that owns `slot`; None for one that is not known."""
        return self.serials[slot - 1] if 0 < slot <= len(self.serials) else None

    def columns(self, number):
        """Return the layout of schema `number`; None, and `missing` is it, when it is not known."""
        if number not in self.layouts:
            self.missing = number
            return None
        return self.layouts[number]


class Member:
    """One member; `names` are those of the newest life: another board may take its place.

    `versions` count what was told: status, table, report.
    """

    feeder = gateway = None
    firmware = ""
    problems = heard = 0
    online = 0  # 1, or -1 when it is known not to be
    flags = 0  # of its table
    asked = None
    again = None  # the couriers for whom it sends again, on the request `run`; `again_at`: uptime ms of its last sign
    again_at = run = 0

    def __init__(self, ident, texts):
        self.id = ident
        self.names = Names()
        self.table = self.report = b"", None  # as it came, and when
        self._texts = texts
        self._parts = {}
        self.versions = [0, 0, 0]

    def topic(self):
        """Return what each of its topics begins with."""
        return "openami/v1/%s/%s" % (self.feeder, self.gateway)

    def lives(self, epoch):
        """Take the epoch of its journal; names of another one stand for nothing."""
        if self.names.epoch not in (None, epoch):
            self.names = Names()
        self.names.epoch = epoch

    def join(self, number, part, last, text):
        """Return a message when its last missing part has come, else None."""
        if not last:
            return text
        if part > last:
            return None
        if number not in self._parts:
            if len(self._parts) == _JOINED:
                del self._parts[min(self._parts)]
            self._parts[number] = [None] * (last + 1)
        parts = self._parts[number]
        if part < len(parts):
            parts[part] = bytes(text)
        return None if None in parts else b"".join(parts)

    def done(self, number):
        """Forget the parts of a message."""
        self._parts.pop(number, None)

    def named(self, lines):
        """Take serials and cadences, a line each."""
        serials = [line.split(" ")[0] for line in lines]
        every = {slot + 1: int(line.split(" ")[1]) for slot, line in enumerate(lines)}
        if serials[: len(self.names.serials)] != self.names.serials:
            self.names = Names()  # slots are added, and never given away
        self.names.serials, self.names.every = serials, every
        self.versions[0] += 1

    def take(self, kind, data, now, utc, number):
        """Take the layout `number`, a table or a report, at uptime `now`; IndexError or ValueError when it is none."""
        if kind == LAYOUT:
            text = bytes(data).decode()
            for line in text[1:].split("\n"):
                obis, unit, exponent = line.split(" ")
                if '"' in line or "\\" in line or not -30 < int(exponent) < 30:
                    raise ValueError("layout")
            if len(self.names.layouts) == _LAYOUTS:
                raise ValueError("layouts")
            for known in self._texts:  # poles with the same meters share the text
                if known == text:
                    text = known
                    break
            else:
                self._texts.append(text)
            self.names.layouts[number] = text
        elif kind == TABLE:
            self.flags = data[0]
            self.table = bytes(data), utc
            self.versions[1] += 1
            self.online = 1
            self.versions[0] += 1
        elif kind == REPORT:
            self.report = bytes(data), utc
            self.versions[2] += 1

    def gone(self, now):
        """Return whether it has not been heard of for long."""
        return now - self.heard > _SILENT_MS


class Members:
    """All of them, at most 256: `all` by id."""

    def __init__(self):
        self.all = {}
        self._texts = []
        kept = twin.load(_KEPT)
        self._pinned = json.loads(kept) if kept else {}  # id as text: "feeder/gateway"
        for key in self._pinned:  # one that died while the root was away is to be told of too
            member = self.add(int(key))
            if member:
                member.feeder, member.gateway = self._pinned[key].split("/")

    def add(self, ident):
        """Return the member of this id, made when need be; None when there is no room."""
        if ident not in self.all and len(self.all) < _MOST:
            self.all[ident] = Member(ident, self._texts)
        return self.all.get(ident)

    def look(self, now):
        """Note who has fallen silent."""
        for member in self.all.values():
            if member.online != _GONE and member.gone(now):
                member.online = _GONE
                member.versions[0] += 1
                log.warn("mesh", "%s is silent" % member.gateway)

    def claim(self, ident, member, data):
        """Take who a member is: feeder, gateway, firmware, problems, then its meters; return what it must not claim."""
        try:
            feeder, gateway, firmware, problems, *meters = bytes(data).decode().split("\n")
            name = feeder + "/" + gateway
            key = str(ident)
            if self._pinned.get(key, name) != name:
                return name
            for word in [feeder, gateway, firmware.replace("+", "")] + [line.split(" ")[0] for line in meters]:
                if not _good(word):
                    return "nobody"
            for other in self._pinned:
                if other != key and self._pinned[other] == name:
                    return name
            for other in self.all.values():
                if other is not member and other.gateway == gateway and other.feeder == feeder:
                    return name
            problems = int(problems)
            member.named(meters)
        except (IndexError, ValueError):
            return "nobody"
        if key not in self._pinned:
            self._pinned[key] = name
            try:
                twin.save(_KEPT, json.dumps(self._pinned).encode())
            except OSError:
                pass  # it holds until the next reset
        member.feeder, member.gateway, member.firmware, member.problems = feeder, gateway, firmware, problems
        return None


def _good(name):
    """Return whether a name may stand in a topic."""
    for letter in name:
        if not (letter.isalpha() or letter.isdigit() or letter in "._-"):
            return False
    return 0 < len(name) < 33
