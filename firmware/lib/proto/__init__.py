"""What every protocol to a meter has in common: how it is found, and the one error that leaves it.

    protocol = proto.load("modbus")
    for batch in protocol.plan(profile): ...
    session = await protocol.session(media, {"address": 1}, {})
    values = await session.read(batch)      # an int, a str, None (the meter has no value) or a Fault for each point

A protocol is a folder lib/proto/NAME on the import path, with the names NAME POINT ACTIONS check plan session. A batch
that `plan` returns says in `every` in which polls it is read, in `size` how many points it has, and in `points` which:
for each a newline and "OBIS UNIT EXPONENT", as in "\n1.8.0 kWh -3"; one text, because a tuple for each costs a multiple
of the memory. A session says in `answered_ms` the ticks at which its meter answered last, and in `counts` how often a
read ended as each of NAMES.
"""

from lib import once

OK = 0
TIMEOUT = 1  # nothing came
FRAME = 2  # bytes came, but no valid reply
REFUSED = 3  # the meter said no; `code` is its own number
AUTH = 4  # the meter does not accept us
ABSENT = 5  # the meter has no such value
RANGE = 6  # a value that cannot be one
UNSUPPORTED = 7  # this protocol or meter cannot do that
BUSY = 8  # not asked: the meter is left alone for a while
NAMES = ("ok", "timeout", "frame", "refused", "auth", "absent", "range", "unsupported", "busy")


class Fault(Exception):
    """Why there is no value: `kind` is one of the numbers above, `code` the wire's own number, `text` for the log."""

    def __init__(self, kind, code=0, text=""):
        super().__init__(kind, code, text)
        self.kind = kind
        self.code = code
        self.text = text or NAMES[kind]


def load(name):
    """Return the module of the protocol `name`: lib/proto/NAME beside this file, or in any folder of the import path.

    ImportError when there is none.
    """
    return once.call("lib.proto.find", "module", name)
