"""lib/mqtt/packet: every packet as the standard draws it; whatever comes in, a packet or Malformed comes out."""
import sys

try:
    import socket  # noqa: F401
except ImportError:  # the 32-bit build has none, and the codec needs none
    sys.modules["socket"] = sys

from lib.mqtt import hello, packet

WASM = True
HEAP = {
    "test_garbage_gives_packets_or_malformed_within_a_small_heap": "96k",
    "test_a_message_of_256_mb_is_skipped_within_a_small_heap": "96k",
}
LIMIT = 64  # of the decoders here


class Dice:
    """Numbers that are the same in each run."""

    def __init__(self, seed):
        self._x = seed

    def below(self, n):
        self._x = (self._x * 1103 + 12345) & 0xFFFFF
        return (self._x >> 4) % n

    def bytes(self, n):
        return bytes([self.below(256) for _ in range(n)])


def published(topic, msg, retain=False, qos=0, pid=0):
    return bytes(packet.publish(memoryview(topic), memoryview(msg), retain, qos, pid))


def fed(data, decoder=None, step=LIMIT):
    """Return what the decoder makes of `data` that arrives in pieces of `step` bytes."""
    decoder = decoder or packet.Decoder(LIMIT)
    got, at = [], 0
    while at < len(data):
        room = decoder.room()
        assert len(room), "no room, so nothing would ever come in again"
        n = min(len(room), step, len(data) - at)
        room[:n] = data[at : at + n]
        decoder.filled(n)
        at += n
        kind = decoder.next()
        while kind:
            got.append(event(kind, decoder))
            kind = decoder.next()
    return got


def event(kind, decoder):
    if kind == packet.PUBLISH:
        return "publish", decoder.topic, decoder.msg, decoder.pid
    if kind == packet.CONNACK:
        return "connack", decoder.code, decoder.session
    if kind == packet.PUBACK:
        return "puback", decoder.pid
    if kind == packet.SUBACK:
        return "suback", decoder.pid, decoder.code
    if kind == packet.OVERSIZE:
        return "oversize", decoder.pid
    assert kind == packet.PINGRESP
    return ("pingresp",)


def is_malformed(data, step=LIMIT):
    try:
        fed(data, None, step)
    except packet.Malformed:
        return True
    return False


def test_connect_carries_id_will_user_and_password():
    # figure 3.6, but with clean session 0
    will = "w/t", b"off", False, 1
    assert hello.connect("id", "me", "pw", 10, will) == (
        b"\x10\x20\x00\x04MQTT\x04\xcc\x00\x0a" b"\x00\x02id" b"\x00\x03w/t" b"\x00\x03off" b"\x00\x02me" b"\x00\x02pw"
    )


def test_connect_without_anything_asks_for_a_kept_session():
    assert hello.connect("a", None, None, 600, None) == b"\x10\x0d\x00\x04MQTT\x04\x00\x02\x58\x00\x01a"


def test_connect_never_has_a_password_without_a_user():  # MQTT-3.1.2-22
    assert hello.connect("a", None, "pw", 1, None) == b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x01\x00\x01a"


def test_a_retained_will_and_bytes_are_taken():
    made = hello.connect(b"a", b"u", None, 1, ("t", "m", True, 0))
    assert made == b"\x10\x16\x00\x04MQTT\x04\xa4\x00\x01\x00\x01a\x00\x01t\x00\x01m\x00\x01u"


def test_publish_is_as_in_the_standard():
    assert published("a/b", b"", False, 1, 10) == b"\x32\x07\x00\x03a/b\x00\x0a"  # figure 3.11
    assert published("a/b", b"xy", True, 0) == b"\x31\x07\x00\x03a/bxy"
    assert published(b"t", "é", False, 1, 65535) == b"\x32\x07\x00\x01t\xff\xff\xc3\xa9"


def test_lengths_count_bytes_and_not_characters():
    assert published("zähler", "°") == b"\x30\x0b\x00\x07z\xc3\xa4hler\xc2\xb0"
    assert hello.subscribe(1, {"ä": 1}) == b"\x82\x07\x00\x01\x00\x02\xc3\xa4\x01"


def test_remaining_length_is_as_in_table_2_4():
    table = (
        (127, b"\x7f"), (128, b"\x80\x01"), (321, b"\xc1\x02"), (16383, b"\xff\x7f"), (16384, b"\x80\x80\x01"),
    )  # fmt: skip
    for length, coded in table:
        made = published("t", bytes(length - 3))
        assert made[1 : 1 + len(coded)] == coded and len(made) == 1 + len(coded) + length, length


def test_a_publish_in_two_parts_is_the_one_in_one():
    for length in (5, 300, 20000):
        topic, msg = memoryview("t"), bytes(length)
        for qos in (0, 1):
            assert packet.publish(topic, b"", 0, qos, 7, length) + msg == published("t", msg, False, qos, 7), length


def test_subscribe_asks_for_all_topics_at_once():
    body = b"\x00\x03a/b\x01", b"\x00\x03c/d\x00"  # figure 3.23, with QoS 0 for its 2
    made = hello.subscribe(10, {"a/b": 1, "c/d": 0})
    assert made in (b"\x82\x0e\x00\x0a" + body[0] + body[1], b"\x82\x0e\x00\x0a" + body[1] + body[0])


def test_the_small_packets():
    assert packet.puback(0x1234) == b"\x40\x02\x12\x34"
    assert packet.PINGREQ == b"\xc0\x00" and packet.DISCONNECT == b"\xe0\x00"


STREAM = (
    (b"\x20\x02\x01\x00", ("connack", 0, 1)),
    (b"\x20\x02\x00\x05", ("connack", 5, 0)),
    (b"\x40\x02\x00\x0a", ("puback", 10)),
    (b"\x90\x03\x00\x0a\x01", ("suback", 10, 1)),
    (b"\x90\x05\x00\x0a\x00\x80\x02", ("suback", 10, 128)),
    (b"\xd0\x00", ("pingresp",)),
    (b"\x30\x07\x00\x03a/bxy", ("publish", b"a/b", b"xy", 0)),
    (b"\x31\x03\x00\x01a", ("publish", b"a", b"", 0)),
    (b"\x3a\x07\x00\x01t\xff\xff\xc3\xa9", ("publish", b"t", b"\xc3\xa9", 65535)),
)


def test_packets_are_found_however_the_stream_is_cut():
    data = b"".join([raw for raw, _ in STREAM])
    for step in range(1, LIMIT + 1):
        assert fed(data, None, step) == [expected for _, expected in STREAM], step


def test_a_packet_as_long_as_the_limit_is_taken_and_one_byte_more_is_not():
    longest = published("t", bytes(LIMIT - 7), False, 1, 7)
    assert len(longest) == LIMIT
    more = published("t", bytes(LIMIT - 6), False, 1, 8)
    for step in range(1, LIMIT + 1):
        got = fed(longest + more + longest, None, step)
        assert [e[0] for e in got] == ["publish", "oversize", "publish"] and got[1][1] == 8, step


def test_of_an_oversize_message_the_packet_id_is_kept_wherever_it_is():
    for topic in (b"t", b"t" * (LIMIT - 5), b"t" * (LIMIT - 4), b"t" * LIMIT, b"t" * 3 * LIMIT):
        data = published(topic, b"m" * LIMIT, False, 1, 0xABCD) + b"\xd0\x00"
        for step in (1, 2, 3, 5, LIMIT):
            assert fed(data, None, step) == [("oversize", 0xABCD), ("pingresp",)], (len(topic), step)


def test_of_an_oversize_message_with_qos_0_nothing_is_left_behind():
    for topic in (b"t", b"t" * 2 * LIMIT):
        data = published(topic, b"m" * LIMIT) + b"\xd0\x00"
        for step in (1, 2, LIMIT):
            assert fed(data, None, step) == [("oversize", 0), ("pingresp",)]


def test_what_the_standard_forbids_is_malformed():
    forbidden = (
        b"\x00\x00", b"\xf0\x00",  # reserved types
        b"\x10\x00", b"\x82\x05\x00\x01\x00\x00\x00", b"\xa2\x02\x00\x01", b"\xc0\x00", b"\xe0\x00",  # the client's own
        b"\x50\x02\x00\x01", b"\x62\x02\x00\x01", b"\x70\x02\x00\x01", b"\xb0\x02\x00\x01",  # never asked for
        b"\x34\x05\x00\x01t\x00\x01", b"\x36\x05\x00\x01t\x00\x01",  # QoS 2 and 3
        b"\x21\x02\x00\x00", b"\x48\x02\x00\x01", b"\x91\x03\x00\x01\x00", b"\xd1\x00",  # flags
        b"\x20\x03\x00\x00\x00", b"\x20\x01\x00", b"\x40\x00", b"\x40\x03\x00\x01\x00",
        b"\x90\x02\x00\x01", b"\xd0\x01\x00",
        b"\x40\x02\x00\x00", b"\x90\x03\x00\x00\x00", b"\x32\x05\x00\x01t\x00\x00",  # packet id 0
        b"\x30\x02\x00\x00", b"\x32\x04\x00\x00\x00\x01",  # no topic
        b"\x30\x02\x00\x01\x00", b"\x30\x03\x00\x02t", b"\x32\x04\x00\x01t\x00\x01", b"\x30\x00\x00\x00",
        b"\x30\x01\x00\x01",
        b"\x30\xff\xff\xff\xff\x01", b"\x30\x80\x80\x80\x80\x00",  # remaining length of 5 bytes
        b"\x30\x80\x01\x00\x00", b"\x32\x80\x01\x00\x7e", b"\x30\x80\x01\x00\x7f",  # oversize, topic does not fit
        b"\x32\x80\x01\x00\x01t\x00\x00",  # oversize, packet id 0
        b"\x90\x80\x01\x00\x01",  # oversize, and not a message
    )  # fmt: skip
    for data in forbidden:
        for step in (1, LIMIT):
            assert is_malformed(data, step), data


def test_a_reset_forgets_half_a_packet_and_what_was_to_be_skipped():
    decoder = packet.Decoder(LIMIT)
    for begun in (b"\x30\x10\x00", published("t" * 100, b"m", False, 1, 9)[:20], published("t", bytes(100))[:20]):
        fed(begun, decoder)
        decoder.reset()
        assert fed(b"\xd0\x00", decoder) == [("pingresp",)]


def test_random_streams_of_packets_come_out_as_they_went_in():
    dice = Dice(1)
    for _ in range(60):
        data, expected = b"", []
        for _ in range(12):
            if dice.below(3):
                qos = dice.below(2)
                pid = qos * (1 + dice.below(65535))
                topic, msg = dice.bytes(1 + dice.below(50)), dice.bytes(dice.below(40))
                if not dice.below(4):
                    topic = dice.bytes(1 + dice.below(200))
                raw = published(topic, msg, dice.below(2), qos, pid)
                expected.append(("publish", topic, msg, pid) if len(raw) <= LIMIT else ("oversize", pid))
            else:
                raw, what = STREAM[dice.below(6)]
                expected.append(what)
            data += raw
        assert fed(data, None, 1 + dice.below(90)) == expected


def _survives(decoder, data, dice):
    decoder.reset()
    try:
        fed(data, decoder, 1 + dice.below(LIMIT))
    except packet.Malformed:
        return 1
    return 0


def test_garbage_gives_packets_or_malformed_within_a_small_heap():
    dice, decoder, ends = Dice(7), packet.Decoder(LIMIT), [0, 0]
    for _ in range(600):
        ends[_survives(decoder, dice.bytes(dice.below(100)), dice)] += 1
    for _ in range(1500):
        data = bytearray(b"".join([STREAM[dice.below(len(STREAM))][0] for _ in range(4)]))
        if not dice.below(4):
            data += published(dice.bytes(1 + dice.below(80)), dice.bytes(60), 0, 1, 5)
        for _ in range(1 + dice.below(3)):
            what, at = dice.below(3), dice.below(len(data))
            if what == 0:
                data[at] = dice.below(256)
            elif what == 1:
                data[at] = data[at] ^ 1 << dice.below(8)
            else:
                data = data[:at] + data[at + 1 + dice.below(3) :] or bytearray(1)
        ends[_survives(decoder, data, dice)] += 1
    assert min(ends) > 100, ends  # both ends were seen


def test_a_message_of_256_mb_is_skipped_within_a_small_heap():
    decoder, piece = packet.Decoder(LIMIT), bytes(LIMIT)
    assert fed(b"\x32\xff\xff\xff\x7f\x00\x01t\x00\x09", decoder) == [("oversize", 9)]
    for _ in range(5000):
        assert fed(piece, decoder) == []
