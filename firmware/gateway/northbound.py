"""Stored records as messages of the OpenAMI northbound contract: topics and JSON text.

JSON is written by hand, because a measured value is a mantissa and an exponent and must never pass through a float.
The schemas are in docs/northbound/.
"""
from gateway import clock, records
from lib import civil, fixed

RESOLUTION_MS = 20  # a stored instant is cut to 10 ms twice: base and step
DEFAULT_EVERY = 60  # s; of a meter that is no longer configured
COMMS_LOST, SUSPECT, UNTRUSTED = 1, 2, 4  # bits of 96.5.0


class Northbound:
    """Writes messages. `meters` maps a slot to its (every in s); `epoch` is the journal's, the upper part of `seq`."""

    def __init__(self, feeder, gateway, ids, meters, epoch):
        self._feeder = feeder
        self._gateway = gateway
        self._ids = ids
        self._meters = meters
        self._epoch = epoch
        self.root = "openami/v1/%s/%s" % (feeder, gateway)

    def message(self, record, now):
        """Return (topic, payload) of `record` (a Replay); `now` is the clock's (unix ms, bound ms) or None."""
        serial = self._ids.serial(record.slot) if record.slot else self._gateway
        scope = "%s/meter/%s/" % (self.root, serial) if record.slot else self.root + "/gateway/"
        bound = record.bound_ms + RESOLUTION_MS
        head = (
            '{"schemaVersion":"0.1","ts":"%s","feederId":"%s","gatewayId":"%s","meterSerial":"%s",'
            '"seq":%d,"tsSrc":"%s","tsUncMs":%d,'
        ) % (
            civil.iso(record.unix_ms, bound < 1000), self._feeder, self._gateway, serial,
            (self._epoch << 32) + record.ordinal, clock.SOURCES[record.source], bound,
        )  # fmt: skip
        if record.tag == records.EVENT:
            return scope + "event", head + _event(record.what)
        every = self._meters.get(record.slot, DEFAULT_EVERY)
        late = now is not None and now[0] - record.unix_ms > 2000 * every
        head += '"late":%s,"registers":[' % ("true" if late else "false")
        return scope + "telemetry", head + ",".join(self._registers(record, bound)) + "]}"

    def _registers(self, record, bound):
        status = 0
        if record.source == clock.NONE or bound > clock.TRUSTED_MS:
            status |= UNTRUSTED
        if record.tag == records.LOST:
            return [_register("96.5.0", "%d" % (status | COMMS_LOST), "bitfield", "comms_lost")]
        suspect = record.tag & records.FLAGGED or record.source == clock.NONE
        quality = "suspect" if suspect else "good"
        rows = []
        columns = self._ids.columns(record.what)
        for (obis, unit, exponent), value in zip(columns, record.values):
            if value is None:
                continue
            rows.append(_register(obis, fixed.text(value, exponent), unit, quality))
            if obis == "16.7.0":  # a net power is import when positive and export when negative
                for code, part in (("1.7.0", max(value, 0)), ("2.7.0", max(-value, 0))):
                    if not any(column[0] == code for column in columns):
                        rows.append(_register(code, fixed.text(part, exponent), unit, quality))
        rows.append(_register("96.5.0", "%d" % (status | (SUSPECT if suspect else 0)), "bitfield", quality))
        return rows


def _register(obis, value, unit, quality):
    return '{"obis":"%s","value":%s,"unit":"%s","quality":"%s"}' % (obis, value, unit, quality)


def _event(event):
    code, severity, state, detail = event
    return '"registers":[],"event":{"code":"%s","severity":"%s","state":"%s","detail":%s}}' % (
        records.CODES[code], records.SEVERITIES[severity], records.STATES[state], detail.decode(),
    )  # fmt: skip
