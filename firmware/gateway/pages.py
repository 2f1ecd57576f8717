"""What the pages of the screen say: lists of up to eight lines of 16 characters, the first one their title.

    for page in pages.of(gateway): lines = page()
"""
from gateway import clock
from gateway.metering import MISSES
from lib import civil, fixed

_ROWS = 7  # under a title


class Seen:
    """Stands before the recorder of a bus, and remembers the last reading of each slot, to be shown."""

    def __init__(self, recorder, last):
        self._recorder = recorder
        self.last = last
        self.commit = recorder.commit
        self.event = recorder.event
        self.lost = recorder.lost

    def reading(self, uptime_ms, slot, schema, values, suspect=0):
        """Remember a reading, and hand it on."""
        self.last[slot] = schema, values
        if suspect:
            self._recorder.reading(uptime_ms, slot, schema, values, suspect)
        else:
            self._recorder.reading(uptime_ms, slot, schema, values)


def of(gateway, names, last):
    """Return the pages that this gateway has, as functions. `last` is that of Seen, `names` a records.Names."""
    meters = [meter for bus in gateway.buses for meter in bus.meters]
    pages: list = []
    for first in range(0, max(1, len(meters)), _ROWS):
        pages.append(lambda first=first: _meters(meters, first, names, last))
    if getattr(gateway, "mesh", None):
        pages.append(lambda: _mesh(gateway.mesh))
    pages.append(lambda: _uplink(gateway.outlets))
    pages.append(lambda: _clock(gateway))
    pages.append(lambda: _journal(gateway))
    return pages


def _meters(meters, first, names, last):
    good = len([meter for meter in meters if meter.polls and meter.misses < MISSES])
    lines = ["METERS %9s" % ("%d/%d" % (good, len(meters)))]
    for meter in meters[first : first + _ROWS]:
        name = meter.serial[-5:]
        if meter.misses >= MISSES:
            lines.append("%-5s       LOST" % name)
        elif meter.slot in last:
            schema, values = last[meter.slot]
            columns = None if schema is None else names.columns(schema)  # with `views` it is made further on
            if columns:
                volts = _value(columns, values, ("32.7.0",))
                watts = _value(columns, values, ("1.7.0", "16.7.0"))
                lines.append("%-5s%4sV%5sW" % (name, volts, watts))
            else:
                lines.append("%-5s         ok" % name)
        else:
            lines.append("%-5s        ..." % name)
    return lines


def _value(columns, values, codes):
    """Return the whole part of the first of `codes` that was read, in the unit itself; "-" when there is none."""
    for i, row in enumerate(columns[1:].split("\n")):
        obis, _, exponent = row.split(" ")
        if obis in codes and values[i] is not None:
            text = fixed.text(values[i], int(exponent)).split(".")[0]
            return text if len(text) < 6 else text[:-3] + "k"
    return "-"


def _mesh(mesh):
    """`mesh` is a Bridge; its node tells of neighbours as (id, dBm, ..., whether it carries what is sent)."""
    routes = mesh.node.routes
    lines = ["MESH %11s" % ("root %d" % routes.root if routes.root else "NO ROOT")]
    lines.append("ch %d  hops %d" % (mesh.air.channel, routes.hops()))
    for row in mesh.node.neighbours():
        lines.append("%s%6d%5d dBm" % (">" if row[-1] else " ", row[0], row[1]))
    return lines


def _uplink(outlets):
    lines = ["UPLINK"]
    for outlet in outlets:
        if outlet.network:
            lines.append("net %s" % (outlet.network.via or "none"))
            break
    for outlet in outlets:
        lines.append(outlet.name)
        lines.append(" %s" % outlet.client.state)
        lines.append(" %d waiting" % outlet.behind)
    return lines


def _clock(gateway):
    now = gateway.clock.now()
    seconds = clock.uptime_ms() // 1000
    lines = ["CLOCK %10s" % ("ok" if gateway.clock.trusted() else "LOST")]
    if now:
        date, time = civil.iso(now[0], False).split("T")
        lines += [date, time[:-1] + " UTC", "+- %d ms" % now[1]]
    lines.append("from " + clock.SOURCES[gateway.clock.source])
    lines.append("up %dd %02d:%02d" % (seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60))
    lines.append("boot %d" % gateway.recorder.boot)
    return lines


def _journal(gateway):
    journal = gateway.journal
    lines = ["JOURNAL", "%d records" % (journal.next - journal.first)]
    lines.append("%d/%d blocks" % (max(0, journal.head + 1 - journal.tail), journal._ring))
    if journal.volatile:
        lines.append("IN MEMORY ONLY")
    lines.append("failed %d" % journal.stats["failed"])
    lines.append("dropped %d" % gateway.recorder.dropped)
    if hasattr(gateway, "mirror"):
        lines.append("SD %s" % gateway.mirror.state)
    return lines
