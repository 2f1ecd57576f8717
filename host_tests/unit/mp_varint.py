"""lib/varint: the bytes of the published encoding, and nothing read beyond the buffer."""
from lib import varint

WASM = True


def test_known_bytes():
    buf = bytearray(10)
    assert varint.put(buf, 0, 300) == 2 and buf[:2] == b"\xac\x02"  # protobuf.dev, "Encoding"
    assert varint.put_signed(buf, 0, -2) == 1 and buf[0] == 3
    assert varint.put_signed(buf, 0, 2147483647) == 5 and buf[:5] == b"\xfe\xff\xff\xff\x0f"


def test_round_trip_of_every_size():
    buf = bytearray(12)
    for shift in range(62):
        for value in ((1 << shift) - 1, 1 << shift, (1 << shift) + 1):
            end = varint.put(buf, 1, value)
            assert varint.get(buf, 1) == (value, end)
            for signed in (value, -value):
                end = varint.put_signed(buf, 0, signed)
                assert varint.get_signed(buf, 0) == (signed, end)


def test_a_short_buffer_is_an_index_error():
    for call in (lambda: varint.put(bytearray(1), 0, 128), lambda: varint.get(b"\x80\x80", 0)):
        try:
            call()
        except IndexError:
            continue
        raise AssertionError("no IndexError")


def test_an_endless_varint_is_refused():
    try:
        varint.get(b"\xff" * 50, 0)
    except ValueError:
        return
    raise AssertionError("no ValueError")
