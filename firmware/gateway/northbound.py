"""Stored records as messages of the OpenAMI northbound contract: topics and JSON text.

JSON is written by hand, because a measured value is a mantissa and an exponent and must never pass through a float.
The schemas are in docs/northbound/.
"""
from micropython import const

from gateway import clock, records
from lib import civil, fixed, once

_RESOLUTION_MS = const(22)  # a stored instant is cut to 10 ms twice, base and step; the clock rounds to 1 ms twice
_SNAP_MS = const(15)  # an interval ends on a whole second; so far a stored instant may be off
_EVERY_S = const(60)  # of a meter that is no longer configured
_COMMS_LOST = const(1)  # bits of 96.5.0
_SUSPECT = const(2)
_UNTRUSTED = const(4)
_INTERVAL = const("\ninterval ")  # the first column of a layout: what the others cover, in s
_HEAD = const(512)  # bytes of a message without its registers, and of one register
_REGISTER = const(64)


class Northbound:
    """Writes messages into its own buffer, made for `points` registers and growing when need be.

    `every` maps a slot to s of its meter; `epoch` is the journal's, the upper part of `seq`; `root` begins each topic.
    """

    def __init__(self, feeder, gateway, names, every, epoch, points):
        self._feeder = feeder
        self._gateway = gateway
        self.names = names
        self.every = every
        self.epoch = epoch
        self._buf = bytearray(_HEAD + _REGISTER * points)
        self._at = 0
        self.late = False  # what the last message said
        self.root = "openami/v1/%s/%s" % (feeder, gateway)

    def _put(self, text):
        text = text.encode()
        end = self._at + len(text)
        while end > len(self._buf):
            self._buf.extend(bytes(_HEAD))
        self._buf[self._at : end] = text
        self._at = end

    def message(self, record, now):
        """Return (topic, payload) of `record` (a Replay); `now` is the clock's (unix ms, bound ms) or None.

        The payload is a memoryview that the next call overwrites.
        """
        serial = self.names.serial(record.slot) if record.slot else self._gateway
        scope = "%s/meter/%s/" % (self.root, serial) if record.slot else self.root + "/gateway/"
        bound = record.bound_ms + _RESOLUTION_MS
        unix_ms = record.unix_ms
        if record.values and self.names.columns(record.what).find(_INTERVAL) == 0:
            rest = (unix_ms + _SNAP_MS) % 1000
            if rest <= 2 * _SNAP_MS:
                unix_ms += _SNAP_MS - rest
        self._at = 0
        self.late = False
        self._put(
            '{"schemaVersion":"0.1","ts":"%s","feederId":"%s","gatewayId":"%s","meterSerial":"%s",'
            % (civil.iso(unix_ms, bound < 1000), self._feeder, self._gateway, serial)
        )
        seq = (self.epoch << 32) + record.ordinal
        self._put('"seq":%d,"tsSrc":"%s","tsUncMs":%d,' % (seq, clock.SOURCES[record.source], bound))
        if record.first is not None:
            self._put('"seqFirst":%d,' % ((self.epoch << 32) + record.first))
        if record.tag == records.EVENT:
            self._put(once.call("gateway.events", "sent", *record.what))
            return scope + "event", memoryview(self._buf)[: self._at]
        every = self.every.get(record.slot, _EVERY_S)
        self.late = now is not None and now[0] - record.unix_ms > 2000 * every
        self._put('"late":%s,' % ("true" if self.late else "false"))
        self._registers(record, _UNTRUSTED if record.source == clock.NONE or bound > clock.TRUSTED_MS else 0)
        self._put("]}")
        return scope + "telemetry", memoryview(self._buf)[: self._at]

    def _registers(self, record, status):
        if record.tag == records.LOST:
            self._put('"registers":[')
            self._register("96.5.0", status | _COMMS_LOST, "bitfield", "comms_lost")
            return
        columns = self.names.columns(record.what)
        at = 1
        first = 0
        if columns.find(_INTERVAL) == 0:
            self._put('"interval":%d,' % record.values[0])
            at = columns.find("\n", 1) + 1
            first = 1
        self._put('"registers":[')
        flagged = record.tag & records.FLAGGED or record.source == clock.NONE
        marks = 0 if record.source == clock.NONE else record.tag >> 4  # the columns that it concerns; 0: all
        for i in range(first, len(record.values)):
            value = record.values[i]
            end = columns.find("\n", at)
            obis, unit, exponent = columns[at : end if end > 0 else len(columns)].split(" ")
            at = end + 1
            if value is None:
                continue
            exponent = int(exponent)
            quality = "suspect" if flagged and (not marks or marks >> i & 1) else "good"
            text = fixed.text(value, exponent)
            self._register(obis, '"%s"' % text if unit == "text" else text, unit, quality)
            if obis == "16.7.0":  # a net power is import when positive and export when negative
                for code, part in (("1.7.0", max(value, 0)), ("2.7.0", max(-value, 0))):
                    if "\n%s " % code not in columns:
                        self._register(code, fixed.text(part, exponent), unit, quality)
        quality = "suspect" if flagged and not marks else "good"
        self._register("96.5.0", status | (_SUSPECT if flagged else 0), "bitfield", quality)

    def _register(self, obis, value, unit, quality):
        comma = "" if self._buf[self._at - 1] == 91 else ","  # 91 is [
        self._put('%s{"obis":"%s","value":%s,"unit":"%s","quality":"%s"}' % (comma, obis, value, unit, quality))
