"""Numbers that stand for names in the journal: meter slots, schemas and cursors; given once, never reused.

    ids = Ids()
    slot = ids.slot("SN-1")          # 1, 2, ...; slot 0 is the gateway itself
    schema = ids.schema(columns)     # columns = "\\n1.8.0 kWh -3\\n32.7.0 V -3", as a protocol's `points`

Kept in two copies each (lib/twin): a kWh in the backlog must reach its own family after `meters` was
re-ordered, so a number is on flash before the first record that uses it.
"""
import json

from lib import twin


class Ids:
    """The numbers of this gateway; OSError when flash cannot keep a new one."""

    def __init__(self):
        kept = twin.load("ids")
        self._kept = json.loads(kept) if kept else {"slots": [], "cursors": [], "schemas": 0}
        self._columns = {}

    def _number(self, kind, name):
        names = self._kept[kind]
        if name not in names:
            names.append(name)
            self._save()
        return names.index(name) + 1

    def _save(self):
        twin.save("ids", json.dumps(self._kept).encode())

    def slot(self, serial):
        """Return the slot of the meter `serial`: 1 to 65535."""
        return self._number("slots", serial)

    def serial(self, slot):
        """Return the serial that owns `slot`; None for one that was never given."""
        return self._kept["slots"][slot - 1] if 0 < slot <= len(self._kept["slots"]) else None

    def cursor(self, name):
        """Return the cursor number of the outlet `name`: 1 to 255."""
        return self._number("cursors", name)

    def schema(self, columns):
        """Return the number of the layout `columns`."""
        for number in range(1, self._kept["schemas"] + 1):
            if self.columns(number) == columns:
                self._columns[number] = columns  # one copy in memory: the profile's
                return number
        number = self._kept["schemas"] + 1
        twin.save("schema%d" % number, columns.encode())
        self._kept["schemas"] = number
        self._save()
        self._columns[number] = columns
        return number

    def columns(self, number):
        """Return the columns of schema `number`, or None when it is not known."""
        if number not in self._columns:
            kept = twin.load("schema%d" % number)
            if not kept:
                return None
            self._columns[number] = kept.decode()
        return self._columns[number]
