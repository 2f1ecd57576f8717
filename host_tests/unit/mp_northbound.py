"""gateway/northbound: stored records as the contract's messages."""
import json

from gateway import clock, records
from gateway.northbound import Northbound
from lib import fixed

T0 = 1782138600000  # 2026-06-22T14:30:00Z
COLUMNS = "\n1.8.0 kWh -3\n16.7.0 W -3\n32.7.0 V -3"
BOTH = "\n16.7.0 W -3\n1.7.0 W -3\n2.7.0 W -3"
INTERVAL = "\ninterval s 0\n16.3.0 W -3\n16.5.0 W -3\n16.6.0 W -3"
NUMBER = "\n0.0.96.1.1.255 text 0\n1.8.0 kWh -3"


class Ids:
    def serial(self, slot):
        return "SN-%d" % slot

    def columns(self, number):
        return {1: COLUMNS, 2: BOTH, 3: INTERVAL, 4: NUMBER}[number]


class Record:
    first = None  # of a record of the archive: the first ordinal that it covers

    def __init__(self, what, values, tag=0, slot=1, source=clock.NTP, bound_ms=40):
        self.ordinal, self.slot, self.tag, self.what, self.values = 77, slot, tag, what, values
        self.unix_ms, self.source, self.bound_ms = T0 + 120, source, bound_ms


def message(record, now=T0 + 500, every=5):
    made = Northbound("feeder-01", "pole-07", Ids(), {1: every}, 3, 0)
    topic, payload = made.message(record, now and (now, 1))
    text = bytes(payload).decode()
    return topic, json.loads(text), text


def registers(body):
    return {row["obis"]: row["value"] for row in body["registers"]}


def test_a_reading_is_an_envelope_with_registers():
    topic, body, text = message(Record(1, [1842510, -231500, 228000]))
    assert topic == "openami/v1/feeder-01/pole-07/meter/SN-1/telemetry"
    assert (body["schemaVersion"], body["feederId"], body["gatewayId"]) == ("0.1", "feeder-01", "pole-07")
    assert (body["meterSerial"], body["seq"]) == ("SN-1", 3 * 2**32 + 77)
    assert (body["ts"], body["tsSrc"], body["tsUncMs"]) == ("2026-06-22T14:30:00.120Z", "ntp", 62)
    assert body["late"] is False
    assert '{"obis":"1.8.0","value":1842.51,"unit":"kWh","quality":"good"}' in text
    assert '{"obis":"32.7.0","value":228,"unit":"V","quality":"good"}' in text


def test_a_net_power_also_yields_import_and_export():
    for value, bought, sold in ((231500, "231.5", "0"), (-231500, "0", "231.5"), (0, "0", "0")):
        _, _, text = message(Record(1, [None, value, None]))
        assert '"16.7.0","value":%s,' % fixed.text(value, -3) in text
        assert '"1.7.0","value":%s,"unit":"W"' % bought in text and '"2.7.0","value":%s,"unit":"W"' % sold in text


def test_what_the_meter_gives_itself_is_not_derived_again():
    _, body, _ = message(Record(2, [-5000, 0, 5000]))
    assert [row["obis"] for row in body["registers"]] == ["16.7.0", "1.7.0", "2.7.0", "96.5.0"]


def test_absent_values_are_left_out_and_never_invented():
    assert registers(message(Record(1, [None, None, 230000]))[1]) == {"32.7.0": 230, "96.5.0": 0}


def test_a_silent_meter_sends_only_its_status_word():
    _, body, _ = message(Record(None, None, tag=records.LOST))
    assert body["registers"] == [{"obis": "96.5.0", "value": 1, "unit": "bitfield", "quality": "comms_lost"}]


def test_suspect_values_are_flagged_and_not_altered():
    _, body, _ = message(Record(1, [1, 2, 3], tag=records.FLAGGED))
    assert all(row["quality"] == "suspect" for row in body["registers"]) and registers(body)["96.5.0"] == 2


def test_a_mark_concerns_its_column_alone():
    for column, marked in ((0, ["1.8.0"]), (1, ["16.7.0", "1.7.0", "2.7.0"]), (2, ["32.7.0"])):
        _, body, _ = message(Record(1, [1, 2, 3], tag=16 << column | records.FLAGGED))
        assert [row["obis"] for row in body["registers"] if row["quality"] == "suspect"] == marked
        assert registers(body)["96.5.0"] == 2 and registers(body)["1.8.0"] == 0.001


def test_what_was_only_bracketed_in_time_is_suspect_whatever_is_marked():
    _, body, _ = message(Record(1, [1, 2, 3], tag=16 | records.FLAGGED, source=clock.NONE, bound_ms=3600000))
    assert all(row["quality"] == "suspect" for row in body["registers"])


def test_an_interval_says_what_it_covers_and_nothing_is_derived_from_it():
    topic, body, _ = message(Record(3, [900, -5000, 1500, 7000]))
    assert topic.endswith("/meter/SN-1/telemetry") and body["interval"] == 900
    assert registers(body) == {"16.3.0": -5, "16.5.0": 1.5, "16.6.0": 7, "96.5.0": 0}
    _, body, _ = message(Record(3, [899, None, None, 7000], tag=16 << 3 | records.FLAGGED))
    assert body["interval"] == 899 and body["registers"][0]["quality"] == "suspect"
    assert "interval" not in message(Record(1, [1, 2, 3]))[1]


def test_an_interval_ends_on_the_second_where_the_store_has_cut_its_instant():
    for off, ts in ((-15, "30:00.000"), (-10, "30:00.000"), (9, "30:00.000"), (15, "30:00.000"), (16, "30:00.016")):
        record = Record(3, [900, 1, 2, 3])
        record.unix_ms = T0 + off
        assert message(record)[1]["ts"] == "2026-06-22T14:%sZ" % ts
    record = Record(1, [1, 2, 3])
    record.unix_ms = T0 + 10
    assert message(record)[1]["ts"] == "2026-06-22T14:30:00.010Z"


def test_a_meters_own_number_is_text():
    _, body, _ = message(Record(4, [12345678, 1000]))
    assert body["registers"][0] == {
        "obis": "0.0.96.1.1.255", "value": "12345678", "unit": "text", "quality": "good"
    }  # fmt: skip


def test_an_untrusted_clock_shows_in_the_status_word():
    _, body, _ = message(Record(1, [1, 2, 3], source=clock.NONE, bound_ms=3600000))
    assert (body["tsSrc"], body["ts"]) == ("none", "2026-06-22T14:30:00Z")
    assert registers(body)["96.5.0"] == 6 and body["registers"][0]["quality"] == "suspect"


def test_whole_seconds_when_the_bound_is_a_second_or_more():
    assert message(Record(1, [1, 2, 3], bound_ms=977))[1]["ts"].endswith(".120Z")
    assert message(Record(1, [1, 2, 3], bound_ms=978))[1]["ts"] == "2026-06-22T14:30:00Z"


def test_late_means_older_than_two_periods():
    assert message(Record(1, [1, 2, 3]), T0 + 120 + 10000)[1]["late"] is False
    assert message(Record(1, [1, 2, 3]), T0 + 120 + 10001)[1]["late"] is True


def test_an_event_has_identity_and_no_registers():
    event = (0, records.WARN, records.SET, b'{"misses": 3}')
    topic, body, _ = message(Record(event, None, tag=records.EVENT))
    assert topic == "openami/v1/feeder-01/pole-07/meter/SN-1/event"
    assert (body["schemaVersion"], body["tsSrc"], body["tsUncMs"]) == ("0.1", "ntp", 62)
    assert body["registers"] == [] and body["seq"] == 3 * 2**32 + 77 and body["meterSerial"] == "SN-1"
    assert body["event"] == {"code": "comms_lost", "severity": "warn", "state": "set", "detail": {"misses": 3}}


def test_an_event_of_the_gateway_goes_to_its_own_scope():
    topic, body, _ = message(Record((16, 0, 2, b"{}"), None, tag=records.EVENT, slot=0))
    assert topic == "openami/v1/feeder-01/pole-07/gateway/event" and body["meterSerial"] == "pole-07"


def test_a_record_of_the_archive_says_from_which_seq_on_it_stands_for_all():
    record = Record(1, [1842510, -231500, 228000])
    record.first = 70
    _, body, _ = message(record)
    assert (body["seqFirst"], body["seq"]) == (3 * 2**32 + 70, 3 * 2**32 + 77)
    record.first = None
    assert "seqFirst" not in message(record)[1]
