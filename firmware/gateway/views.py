"""Several views of one meter: each has its cadence and its points, and a record is a reading of one view.

    views = cut(conf["views"], batches, ids)            # of a profile; its meters share them
    meter = Viewed(serial, every, slot, views, batches, protocol, link)
    stage = Views(recorder, [meter, ...])               # stands before the recorder of their bus

Only the batches that a view which is due needs are read. What the operator asks for counts, so the cadence of a
profile's blocks does not.
"""
from micropython import const

from gateway.metering import Meter

_NUMBER = const("\n0.0.96.1.1.255 text 0")


def cut(rows, batches, ids):
    """Return [(s or None, schema, columns)] of the rows of `views`; s is None for the meter's own `every`.

    Columns are places among all points of the batches. Without `points` a view has those that no row names. A view of
    which a profile has no point is left out. A meter's own number, where it is a batch of its own and no row names it,
    is a view that is read once a day.
    """
    alone = _NUMBER in [batch.points for batch in batches]
    points = "".join([batch.points for batch in batches])[1:].split("\n")
    named = []
    for row in rows:
        named.extend(row.get("points", ()))
    code = _NUMBER[1:].split(" ")[0]
    if alone and code not in named:
        named.append(code)
        rows = rows + [{"every": 86400, "points": [code]}]
    views = []
    for row in rows:
        wanted = row.get("points")
        picks = bytearray()
        for i, point in enumerate(points):
            obis = point.split(" ")[0]
            if obis in wanted if wanted else obis not in named:
                picks.append(i)
        if picks:
            schema = ids.schema("".join(["\n" + points[i] for i in picks]))
            views.append((row.get("every"), schema, bytes(picks)))
    return views


class Viewed(Meter):
    """A meter of which `views` are read; `due` also chooses the `batches` for them."""

    def __init__(self, serial, every, slot, views, batches, protocol, link):
        self.views = [(own or every, schema, picks) for own, schema, picks in views]
        shortest = min([view[0] for view in self.views])
        super().__init__(serial, shortest, slot, None, batches, protocol, link)
        self.all = batches
        self.asked = []  # the views that the last poll was for

    def due(self, now):
        """Return whether a view has to be read at `now`, in s; each is, once a period of its own."""
        periods = [now // view[0] for view in self.views]
        if periods == self.period:
            return False
        every = not self.polls or self.period is None  # at the start, and for who asks now: all is read
        self.asked = [view for i, view in enumerate(self.views) if every or periods[i] != self.period[i]]
        self.period = periods
        self.polls = 0
        self.batches = []
        first = 0
        for batch in self.all:
            for view in self.asked:
                if any(first <= i < first + batch.size for i in view[2]):
                    self.batches.append(batch)
                    break
            first += batch.size
        self.size = sum([batch.size for batch in self.batches])
        return True


class Views:
    """A recorder before the recorder: makes of a reading the records of the views that it was for."""

    def __init__(self, recorder, meters):
        self._recorder = recorder
        self.lost = recorder.lost
        self.event = recorder.event
        self.commit = recorder.commit
        self._meters = {meter.slot: meter for meter in meters}

    def reading(self, uptime_ms, slot, schema, values):
        """Hand on a record for each view; none for one of which nothing was read."""
        meter = self._meters[slot]
        whole = []
        at = 0
        for batch in meter.all:
            if batch in meter.batches:
                whole.extend(values[at : at + batch.size])
                at += batch.size
            else:
                whole.extend([None] * batch.size)
        for _, schema, picks in meter.asked:
            part = [whole[i] for i in picks]
            if any(value is not None for value in part):
                self._recorder.reading(uptime_ms, slot, schema, part)
