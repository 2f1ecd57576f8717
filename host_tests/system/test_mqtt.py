"""lib/mqtt in MicroPython against mosquitto, with paho as the independent observer."""

import json
import signal
import subprocess
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from mosquitto import Broker
from mp_plugin import environment, micropython

HERE = Path(__file__).parent
TOPIC = "n"


class Publisher:
    """mqtt_publisher.py in a process of its own; `said` is what it printed."""

    def __init__(self, broker, **job):
        job = {"port": broker.port, "id": "gateway", **job}
        self.said = []
        self._process = subprocess.Popen(
            [micropython(), str(HERE / "mqtt_publisher.py"), json.dumps(job)],
            env=environment(HERE), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self):
        for line in self._process.stdout:
            self.said.append(json.loads(line) if line.startswith("{") else {"trouble": line})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        assert not self.all("trouble"), "".join(self.all("trouble"))

    def kill(self):
        """Pull its plug."""
        self._process.kill()
        self._process.wait(10)
        self._listener.join(10)

    def all(self, what):
        """Return what it has said of one kind."""
        return [line[what] for line in list(self.said) if what in line]

    def wait(self, condition, seconds=20):
        """Return when `condition()` is true."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, self.said[-20:]
            time.sleep(0.01)


    def sleep(self):
        """Stop its clock, so to speak, until `wake`."""
        self._process.send_signal(signal.SIGSTOP)

    def wake(self):
        self._process.send_signal(signal.SIGCONT)


class Observer:
    """Everything that the broker passes on; `messages` is [(topic, payload)], `subscribed` how often it was let in.

    It subscribes with QoS 0: what it had to acknowledge, it would throw away when the broker dies in the middle of it.
    """

    def __init__(self, broker):
        self.messages, self.subscribed = [], 0
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="observer")
        self._client.reconnect_delay_set(0.1, 0.1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", 0)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = lambda _c, _u, message: self.messages.append((message.topic, message.payload))
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def _subscribed(self, *_):
        self.subscribed += 1

    def __enter__(self):
        assert self.wait(lambda: self.subscribed)
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def wait(self, condition, seconds=10):
        """Return whether `condition()` came true in time."""
        until = time.monotonic() + seconds
        while not condition() and time.monotonic() < until:
            time.sleep(0.01)
        return bool(condition())

    def numbers(self):
        """Return the numbers received, in the order of arrival."""
        return [int(payload) for topic, payload in list(self.messages) if topic == TOPIC]


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path / "broker") as running:
        yield running


def retained(broker, topic):
    """Return what a newcomer is told of `topic`."""
    got = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="newcomer")
    client.on_connect = lambda *_: client.subscribe(topic, 1)
    client.on_message = lambda _c, _u, message: got.append((message.payload, message.retain))
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    until = time.monotonic() + 5
    while not got and time.monotonic() < until:
        time.sleep(0.01)
    client.disconnect()
    client.loop_stop()
    return got


def send(broker, topic, *payloads):
    """Publish with QoS 1, and return when the broker has all of it."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="operator")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for payload in payloads:
        client.publish(topic, payload, 1).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


def test_2000_messages_arrive_once_and_in_order(broker):
    with Observer(broker) as observer, Publisher(broker, count=2000, close=True) as publisher:
        publisher.wait(lambda: publisher.all("end"))
        assert observer.wait(lambda: len(observer.numbers()) >= 2000)
        assert observer.numbers() == publisher.all("ack") == list(range(2000))
        assert publisher.all("up") == [1]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_acknowledged_has_arrived_although_the_broker_went_away(broker, end):
    with Observer(broker) as observer, Publisher(broker, count=2000, pause_ms=1, close=True) as publisher:
        for turn, enough in (1, 300), (2, 900):
            publisher.wait(lambda: len(publisher.all("ack")) > enough)  # noqa: B023
            getattr(broker, end)()
            publisher.wait(lambda: publisher.all("state")[-1] != "connected")
            publisher.sleep()  # so that the observer is there first
            assert observer.wait(lambda: set(publisher.all("ack")) <= set(observer.numbers()))
            broker.start()
            assert observer.wait(lambda: observer.subscribed > turn)  # noqa: B023
            publisher.wake()
        publisher.wait(lambda: publisher.all("end"))
        assert publisher.all("ack") == list(range(2000)) and publisher.all("up") == [1, 2, 3]
        assert observer.wait(lambda: set(observer.numbers()) == set(range(2000)))
        assert publisher.all("end")[0]["sent"] <= 2000 + 2 * 16, "only what was on the way is sent again"


def test_a_gateway_that_dies_leaves_its_last_will(broker):
    status = "status"
    with Publisher(broker, count=1, will=status, topic=status, retain=True) as publisher:
        publisher.wait(lambda: publisher.all("ack"))
        assert retained(broker, status) == [(b"0", True)]
        with Observer(broker) as observer:
            publisher.kill()
            assert observer.wait(lambda: (status, b"offline") in observer.messages)
        assert retained(broker, status) == [(b"offline", True)]


def test_a_gateway_that_takes_leave_has_no_last_will(broker):
    status = "status"
    with Observer(broker) as observer:
        with Publisher(broker, count=1, will=status, topic=status, retain=True, close=True) as publisher:
            publisher.wait(lambda: publisher.all("end"))
            assert publisher.all("up") == [1]
        send(broker, "after", b"")
        assert observer.wait(lambda: ("after", b"") in observer.messages)
        assert (status, b"offline") not in observer.messages
    assert retained(broker, status) == [(b"0", True)]


def test_a_session_that_is_taken_over_is_taken_back(broker):
    with Publisher(broker) as publisher:
        publisher.wait(lambda: publisher.all("up") == [1])
        other = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="gateway", reconnect_on_failure=False)
        other.connect("127.0.0.1", broker.port)
        other.loop_start()
        publisher.wait(lambda: publisher.all("up") == [1, 2])
        assert "lost" in publisher.all("state")
        other.disconnect()
        other.loop_stop()


def test_commands_for_an_absent_gateway_wait_for_it_and_a_long_one_blocks_nothing(broker):
    with Publisher(broker, subscribe="cmd/#", count=1) as publisher:
        publisher.wait(lambda: publisher.all("ack"))  # by then the subscription, which went first, is known too
    send(broker, "cmd/a", b"x" * 10, b"x" * 5000, b"x" * 1000, *[b"x"] * 30)
    with Publisher(broker, subscribe="cmd/#") as publisher:
        publisher.wait(lambda: len(publisher.all("got")) >= 32)
        assert publisher.all("got") == [["cmd/a", length] for length in (10, 1000, *[1] * 30)]


def test_a_refused_gateway_says_why(tmp_path):
    strict = Broker(tmp_path / "broker", "allow_anonymous false")
    with strict, Publisher(strict, user="gateway", password="wrong") as publisher:
        publisher.wait(lambda: "refused: not authorised" in publisher.all("state"))
        assert publisher.all("up") == []


def test_a_broker_that_is_not_there_is_waited_for(broker):
    broker.stop()
    with Publisher(broker, count=5) as publisher:
        publisher.wait(lambda: publisher.all("state").count("lost") >= 2)
        broker.start()
        publisher.wait(lambda: len(publisher.all("ack")) == 5)
        assert publisher.all("up") == [1]
