"""What the numbers in the journal stand for, while the gateway runs; gateway/ids gives them, at the start."""
from lib import once


class Names:
    """`serials` in the order of their slots; `columns`: {number: layout}, of the schemas in use."""

    def __init__(self, serials, columns):
        self._serials = serials
        self._columns = columns

    def serial(self, slot):
        """Return the serial that owns `slot`; None for one that was never given."""
        return self._serials[slot - 1] if 0 < slot <= len(self._serials) else None

    def columns(self, number):
        """Return the layout of schema `number`, "\\nOBIS UNIT EXPONENT" for each value; None when it is not known."""
        if number not in self._columns:
            kept = once.call("lib.twin", "load", "schema%d" % number)  # of a meter that is no more, or was another
            if not kept:
                return None
            self._columns[number] = kept.decode()
        return self._columns[number]
