"""An outlet that gets only a part: some meters, some registers, telemetry or events.

`seq` has gaps for it, so each message also carries `seqPrev`, the `seq` of the one sent to it before: a consumer that
has that one misses nothing.
"""
from micropython import const

from gateway import records
from gateway.northbound import Northbound
from gateway.uplink import Outlet

_STATUS = const("96.5.0")


class Filtered(Northbound):
    """Writes the messages that pass `rules`, the `filter` of an outlet; `prev` is the ordinal of the last, or -1."""

    def __init__(self, identity, rules):
        super().__init__(*identity)
        self.prev = -1
        self._meters = rules.get("meters")
        self._codes = rules.get("registers")
        self._kinds = rules.get("kinds")
        self._some = False  # the message has something of what is asked for

    def message(self, record, now):
        """Return (topic, payload), or None when the record is not for this outlet."""
        event = record.tag == records.EVENT
        if self._kinds is not None and ("event" if event else "telemetry") not in self._kinds:
            return None
        if record.slot and self._meters is not None and self.names.serial(record.slot) not in self._meters:
            return None
        self._some = event or record.tag == records.LOST
        topic, _ = Northbound.message(self, record, now)
        if not self._some:
            return None
        if 0 <= self.prev < record.ordinal:
            self._at -= 1  # the closing brace
            self._put(',"seqPrev":%d}' % ((self.epoch << 32) + self.prev))
        self.prev = max(self.prev, record.ordinal)  # it may be one that is sent again
        return topic, memoryview(self._buf)[: self._at]

    def _register(self, obis, value, unit, quality):
        if obis != _STATUS:
            if self._codes is not None and not [code for code in self._codes if obis.startswith(code)]:
                return
            self._some = True
        Northbound._register(self, obis, value, unit, quality)


class FilteredOutlet(Outlet):
    """An Outlet that remembers, over restarts too, what it sent last."""

    def __init__(self, config, secrets, identity, cursor, rest):
        super().__init__(config, secrets, Filtered(identity, config["filter"]), *rest)
        self._behind = cursor  # the number of the cursor for what was sent last
        self._prev = self._prev_kept = (self.journal.cursor(cursor) or 0) - 1

    async def _serve(self, life, generation):
        self.northbound.prev = self._prev
        await Outlet._serve(self, life, generation)

    def _acknowledged(self, token):
        Outlet._acknowledged(self, token)
        self._prev = max(self._prev, token)

    def keep(self, at_once=False):
        """Write both places; that of the last message after the other, so that it is never ahead."""
        before = self._kept
        Outlet.keep(self, at_once)
        if self._kept != before and self._prev != self._prev_kept:
            try:
                self.journal.put(self._behind, self._prev + 1)
                self._prev_kept = self._prev
            except OSError:
                pass
