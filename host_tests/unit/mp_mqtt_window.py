"""lib/mqtt/window: only what the broker has acknowledged without a gap is reported, in order, once."""
import sys

try:
    import socket  # noqa: F401
except ImportError:  # the 32-bit build has none, and the window needs none
    sys.modules["socket"] = sys

from lib.mqtt.window import Window

WASM = True


def test_acknowledgements_out_of_order_wait_for_the_first():
    window, got = Window(4, 100), []
    ids = [window.add(10, 0, token) for token in "abcd"]
    assert window.ack(ids[2], got.append) and window.ack(ids[1], got.append) and got == []
    assert window.ack(ids[0], got.append) and got == ["a", "b", "c"]
    assert window.ack(ids[3], got.append) and got == ["a", "b", "c", "d"]
    assert window.count == window.bytes == 0


def test_what_is_not_on_the_way_is_not_acknowledged():
    window, got = Window(4, 100), []
    ids = [window.add(1, 0, token) for token in "ab"]
    assert not window.ack(77, got.append)
    assert window.ack(ids[1], got.append) and not window.ack(ids[1], got.append), "twice"
    window.clear()
    assert not window.ack(ids[0], got.append), "of a connection that is gone"
    assert got == [] and window.count == 0


def test_the_answer_to_a_subscription_is_not_taken_for_that_to_a_message():
    window, got = Window(4, 100), []
    message, subscription = window.add(1, 0, "a"), window.add(0, 0, subscription=True)
    assert not window.ack(-message, got.append) and not window.ack(subscription, got.append)
    assert window.ack(-subscription, got.append) and got == []
    assert window.ack(message, got.append) and got == ["a"] and window.count == 0


def test_a_message_without_token_holds_its_place_and_is_not_reported():
    window, got = Window(4, 100), []
    ids = [window.add(1, 0, token) for token in (1, None, 0)]
    window.ack(ids[2], got.append)
    window.ack(ids[0], got.append)
    assert got == [1]
    window.ack(ids[1], got.append)
    assert got == [1, 0]


def test_packet_ids_go_from_65535_to_1_and_leave_out_those_on_the_way():
    window = Window(6, 100)
    window.newest = 65532
    assert [window.add(1, 0) for _ in range(4)] == [65533, 65534, 65535, 1]
    window.newest = 65532
    window.ack(65534, None)
    assert window.add(1, 0) == 65534, "free again"
    window.newest = 65534
    assert window.add(1, 0) == 2
    subscribed = Window(4, 100)
    subscribed.add(0, 0, subscription=True)
    subscribed.newest = 0
    assert subscribed.add(1, 0) == 2


def test_room_is_counted_in_messages_and_in_bytes():
    window = Window(3, 100)
    assert window.fits(1000), "more than the room goes, alone"
    window.add(60, 0)
    assert window.fits(40) and not window.fits(41)
    two = window.add(20, 0)
    assert window.fits(20)
    window.add(0, 0)
    assert not window.fits(0), "three are on the way"
    window.ack(two, None)
    assert window.count == 3 and not window.fits(0), "a gap is no room"
    window.ack(1, lambda token: None)
    assert window.count == 1 and window.fits(100) and not window.fits(101)


def test_the_oldest_tells_how_long_it_waits():
    window = Window(3, 100)
    for now in (5, 6, 7):
        window.add(1, now)
    assert window.since() == 5
    window.ack(2, None)
    assert window.since() == 5
    window.ack(1, None)
    assert window.since() == 7


def test_a_long_random_life_reports_each_token_once_and_in_order():
    window, got, flying, token, x = Window(16, 4000), [], [], 0, 1
    window.newest = 65000
    for _ in range(20000):
        x = (x * 1103 + 12345) & 0xFFFFF
        dice = x >> 4
        if dice & 1 and window.fits(200):
            pid = window.add(200, 0, token)
            assert pid not in flying and 1 <= pid <= 65535
            flying.append(pid)
            token += 1
        elif flying:
            assert window.ack(flying.pop((dice >> 1) % len(flying)), got.append)
    while flying:
        window.ack(flying.pop(), got.append)
    assert token > 5000 and got == list(range(token)) and window.count == window.bytes == 0
