"""Numbers that stand for names in the journal: meter slots, schemas and cursors; given once, never reused.

    ids = Ids()
    slot = ids.slot("SN-1")          # 1, 2, ...; slot 0 is the gateway itself
    schema = ids.schema(columns)     # columns = "\\n1.8.0 kWh -3\\n32.7.0 V -3", as a protocol's `points`

Kept in two copies each (lib/twin): a kWh in the backlog must reach its own family after `meters` was
re-ordered, so a number is on flash before the first record that uses it. The journal's epoch is kept with them, so that
a journal is known to be theirs. Needed at start only: `names` is what a running gateway knows of them.
"""
import json

from micropython import const

from gateway.records import Names
from lib import twin

UNTOLD = const(-1)


class Ids:
    """The numbers of this gateway; OSError when flash cannot keep a new one.

    `epoch` is that of the journal they number; None when there are none yet, UNTOLD when they were kept by a version
    that did not say.
    """

    def __init__(self):
        kept = twin.load("ids")
        self._kept = json.loads(kept) if kept else {"slots": [], "cursors": [], "schemas": 0, "epoch": None}
        self.epoch = self._kept.get("epoch", UNTOLD)
        self._columns = {}

    def _number(self, kind, name):
        names = self._kept[kind]
        if name not in names:
            names.append(name)
            self._save()
        at = names.index(name)
        names[at] = name  # the caller's text is kept for as long: one copy of it is enough
        return at + 1

    def _save(self):
        _twice("ids", json.dumps(self._kept).encode())

    def keep(self, epoch):
        """Keep the epoch of the journal whose records have these numbers."""
        if epoch != self.epoch:
            self.epoch = self._kept["epoch"] = epoch
            self._save()

    def slot(self, serial):
        """Return the slot of the meter `serial`: 1 to 65535."""
        return self._number("slots", serial)

    def cursor(self, name):
        """Return the cursor number of the outlet `name`: 1 to 253."""
        return self._number("cursors", name)

    def schema(self, columns):
        """Return the number of the layout `columns`."""
        for number in range(1, self._kept["schemas"] + 1):
            if self._columns.get(number) == columns:
                return number
            if twin.load("schema%d" % number) == columns.encode():
                self._columns[number] = columns
                return number
        number = self._kept["schemas"] + 1
        _twice("schema%d" % number, columns.encode())
        self._kept["schemas"] = number
        self._save()
        self._columns[number] = columns
        return number

    def names(self):
        """Return the Names of all slots, and of the schemas given out."""
        return Names(self._kept["slots"], self._columns)


def _twice(name, data):
    """Keep `data` in both copies: one that rots must not bring back numbers of which the newest are missing."""
    twin.save(name, data)
    twin.save(name, data)
