"""What stands between the meters of a bus and the recorder, as far as it is configured: needed at the start only."""
from micropython import const

from gateway.records import FLAGGED, RECORDS, Decoder

_VOLTS = const(300)  # no phase carries more, whatever its current
_LOOK_BACK = const(8)  # records for each meter
_PHASES = ("32.7.0", "52.7.0", "72.7.0")


def before(recorder, conf, meters, now, ids, journal):
    """Return the recorder for the bus of `meters`: views, checks and intervals hand on to it, in this order."""
    layouts = [(meter, [(meter.every, meter.schema)]) for meter in meters]
    if "views" in conf:
        layouts = [(meter, [view[:2] for view in meter.views]) for meter in meters]
    first = recorder
    names = ids.names()
    if "intervals" in conf:
        from gateway.intervals import Intervals

        first = Intervals(first, now, conf["intervals"]["every"])
        for meter, kinds in layouts:
            points = conf["intervals"]["points"][:]
            for every, schema in sorted(kinds):
                layout, picks = interval(names.columns(schema), points)
                if picks:
                    first.add(meter.slot, schema, every, ids.schema(layout), picks)
    if "checks" in conf:
        from gateway.checks import Checks

        first = Checks(first, names, conf["checks"])
        rows = {row["serial"]: row for row in conf["meters"]}
        for meter, kinds in layouts:
            row = rows[meter.serial]
            schemas = [schema for _, schema in kinds]
            phases = 3 if any("\n52.7.0 " in names.columns(schema) for schema in schemas) else 1
            watts = row.get("amps", conf["checks"]["amps"]) * _VOLTS * phases
            first.add(meter, schemas, watts, row.get("export", False), row.get("device"))
        _prime(first.watches, journal, names, conf["checks"]["vMin"])
    if "views" in conf:
        from gateway.views import Views

        first = Views(first, meters)
    return first


def interval(columns, points):
    """Return (layout of an interval, the columns that it is of, as bytes) for those of `points` that are instantaneous.

    They are taken off `points`: of a point in several views the most frequent one counts.
    OBIS group D (IEC 62056-61): 7 instantaneous, 3 minimum, 5 last average, 6 maximum.
    """
    picks = bytearray()
    layout = "\ninterval s 0"
    for i, row in enumerate(columns[1:].split("\n")):
        obis = row.split(" ")[0]
        if obis in points and ".7." in obis:
            points.remove(obis)
            picks.append(i)
            for group in (3, 5, 6):
                layout += "\n" + row.replace(".7.", ".%d." % group)
    return layout, bytes(picks)


def _prime(watches, journal, names, least):
    """Tell the counters what the newest records say, so that one that fell between two boots is seen.

    And which phases had a voltage, `least` V or more, so that one that went away is seen.
    """
    reader = journal.reader(max(journal.first, journal.next - _LOOK_BACK * len(watches)))
    decoder = Decoder(names)
    while True:
        frame = reader.read()
        if frame is None:
            return
        kind, _, count, payload, fresh = frame
        if fresh:
            decoder.forget()
        if kind != RECORDS:
            continue
        try:
            decoder.begin(payload)
            for _ in range(count):
                _, slot, tag, schema, values = decoder.record()
                if values and slot in watches and not tag & FLAGGED:
                    _note(watches[slot], names.columns(schema), values, least)
        except (IndexError, ValueError):
            decoder.forget()


def _note(watch, columns, values, least):
    for row, value in zip(columns[1:].split("\n"), values):
        obis, _, exponent = row.split(" ")
        counter = watch.counters.get(obis)
        if value is None:
            continue
        if counter:
            counter.value = value
        elif obis in _PHASES and value >= least * 10 ** max(0, -int(exponent)):
            watch.phases |= 2 << _PHASES.index(obis)
