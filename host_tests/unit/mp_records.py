"""gateway/records: what is encoded comes back, and what cannot be known is refused."""
from gateway import clock, events, records
from gateway.records import EVENT, FLAGGED, LOST, Decoder, Encoder

A = "\n1.8.0 kWh -3\n16.7.0 W -3\n32.7.0 V -3"
B = "".join(["\n%d.7.0 W -3" % i for i in range(33)])


class Ids:
    def columns(self, number):
        return {1: A, 2: B}.get(number)


def encode(encoder, rows, utc=(1782138600000, 40), size=500):
    buf = bytearray(size)
    at = encoder.begin(buf, rows[0][0], clock.RTC, utc)
    before = rows[0][0]
    for row in rows:
        at = encoder.add(buf, at, row[0] - before, row)
        before = row[0]
    return memoryview(buf)[:at]


def decode(decoder, payload, count):
    decoder.begin(payload)
    rows = []
    for _ in range(count):
        now, slot, tag, what, values = decoder.record()
        rows.append((now, slot, tag if tag >= LOST else tag & FLAGGED, what, values and list(values)))
    return rows


def test_readings_events_and_losses_come_back_in_order():
    rows = [
        (1000, 1, 0, 1, [1842510, 231500, 228700]),
        (1012, 2, 0, 2, [i * 1000 - 9000 for i in range(33)]),
        (1011, 1, FLAGGED, 1, [1842511, -5, 2147483647]),
        (1030, 3, LOST, None, None),
        (1031, 0, EVENT, (16, 0, 2, b'{"source":"ntp"}'), None),
        (1040, 1, 0, 1, [None, 7, None]),
        (1050, 1, 0, 1, [1842600, 8, 0]),
    ]
    decoder = Decoder(Ids())
    assert decode(decoder, encode(Encoder(7), rows), len(rows)) == rows
    assert (decoder.boot, decoder.uptime, decoder.source, decoder.bound) == (7, 1000, clock.RTC, 40)
    assert decoder.utc * 10 + clock.EPOCH * 1000 == 1782138600000


def test_each_suspect_column_is_marked_and_nothing_else_changes():
    values = [i * 7 for i in range(33)]
    for mask in (0, 1, 1 << 32, 0x155555555, (1 << 33) - 1):
        decoder, tag = Decoder(Ids()), mask << 4 | FLAGGED
        decoder.begin(encode(Encoder(1), [(0, 1, tag, 2, values), (0, 1, 0, 2, values)]))
        row = decoder.record()
        assert row[2] >> 4 == mask and row[2] & FLAGGED and row[4] == values
        row = decoder.record()
        assert row[2] == 0 and row[4] == values


def test_beyond_sixty_columns_a_mark_is_one_of_all():
    wide = Ids()
    wide.columns = lambda number: "\n1.8.0 kWh -3" * 70
    decoder = Decoder(wide)
    decode(decoder, encode(Encoder(1), [(0, 1, 0, 1, [5] * 70)]), 1)
    for bit, kept in ((59, 1 << 59), (60, 0)):
        decoder.begin(encode(Encoder(1), [(0, 1, 1 << bit << 4 | FLAGGED, 1, [5] * 70)]))
        row = decoder.record()
        assert row[2] >> 4 == kept and row[2] & FLAGGED and row[4] == [5] * 70


def test_values_are_deltas_across_frames_of_a_block():
    encoder, decoder = Encoder(1), Decoder(Ids())
    key = encode(encoder, [(0, 1, 0, 1, [10000000, 230000, 229000])])
    delta = encode(encoder, [(100, 1, 0, 1, [10000001, 230010, 228990])])
    assert len(delta) < len(key)
    decode(decoder, key, 1)
    assert decode(decoder, delta, 1)[0][4] == [10000001, 230010, 228990]


def test_a_delta_without_its_key_is_refused():
    encoder, decoder = Encoder(1), Decoder(Ids())
    encode(encoder, [(0, 1, 0, 1, [1, 2, 3])])
    orphan = encode(encoder, [(1, 1, 0, 1, [2, 3, 4])])
    decoder.begin(orphan)
    try:
        decoder.record()
    except ValueError:
        return
    raise AssertionError("a delta was read without its key")


def test_a_kind_of_a_later_version_is_refused():
    for tag in range(10, 16):
        payload = encode(Encoder(7), [(1000, 3, LOST, None, None)])
        payload[-1] = 3 << 4 | tag
        try:
            decode(Decoder(Ids()), payload, 1)
            raise AssertionError("tag %d" % tag)
        except ValueError:
            pass


def test_after_forget_the_next_reading_stands_alone():
    encoder = Encoder(1)
    encode(encoder, [(0, 1, 0, 1, [1, 2, 3])])
    encoder.forget()
    alone = encode(encoder, [(1, 1, 0, 1, [5, 6, 7])])
    assert decode(Decoder(Ids()), alone, 1)[0][4] == [5, 6, 7]


def test_a_changed_schema_is_a_key():
    encoder, decoder = Encoder(1), Decoder(Ids())
    decode(decoder, encode(encoder, [(0, 1, 0, 1, [1, 2, 3])]), 1)
    values = list(range(33))
    assert decode(decoder, encode(encoder, [(1, 1, 0, 2, values)]), 1)[0][3:] == (2, values)


def test_a_row_that_does_not_fit_changes_nothing():
    encoder = Encoder(1)
    first = [(0, 1, 0, 1, [1000, 2000, 3000])]
    head = encode(encoder, first)
    for size in range(1, 12):
        try:
            encoder.add(bytearray(size), 0, 0, (1, 1, 0, 1, [10**9, 10**9, 10**9]))
        except IndexError:
            continue
        raise AssertionError("a row fitted into %d bytes" % size)
    decoder = Decoder(Ids())
    decode(decoder, head, 1)
    after = encode(encoder, [(2, 1, 0, 1, [1001, 2001, 3001])])
    assert decode(decoder, after, 1)[0][4] == [1001, 2001, 3001]


def test_an_undated_frame_carries_uptime_only():
    decoder = Decoder(Ids())
    decode(decoder, encode(Encoder(3), [(4242, 1, 0, 1, [1, 2, 3])], None), 1)
    assert (decoder.boot, decoder.uptime, decoder.source, decoder.utc) == (3, 4242, clock.NONE, 0)


def test_random_bytes_raise_nothing_else():
    import random

    random.seed(5)
    decoder = Decoder(Ids())
    refused = 0
    for _ in range(3000):
        try:
            decoder.begin(memoryview(bytes(random.getrandbits(8) for _ in range(random.randint(0, 60)))))
            for _ in range(20):
                decoder.record()
        except (ValueError, IndexError):
            refused += 1
    assert refused > 2500


def test_codes_are_the_contracts():
    codes = events.CODES.split()
    assert codes[0] == "comms_lost" and codes[24] == "command_result"
    assert codes[25:] == "uplink_refused uplink_restored network_up network_down restarted mesh_trouble".split()  # ours


def test_the_example_of_the_specification():
    encoder = Encoder(7)
    rows = [
        (123456, 1, 0, 1, [1842510, 231500, 228700]),
        (123471, 2, 0, 1, [99, None, 229000]),
        (123956, 1, 0, 1, [1842511, 230900, 228750]),
        (123956, 2, EVENT, (0, records.WARN, records.SET, b'{"misses": 3}'), None),
        (123957, 2, LOST, None, None),
    ]
    buf = bytearray(100)
    at = encoder.begin(buf, rows[0][0], clock.NTP, (1782138600000, 40))
    before = rows[0][0]
    for row in rows:
        at = encoder.add(buf, at, row[0] - before, row)
        before = row[0]
    example = (
        "07c0c40704a081de8a1d28 00110 19cf5e00198a11cb8f51b 1e230105c60190fa1b ca071002af0964"
        "00290010 0d7b226d6973736573223a20337d 0228"
    )
    assert bytes(buf[:at]).hex() == example.replace(" ", "")
