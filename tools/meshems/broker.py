"""The demo's MQTT broker: iotcore on the loopback interface, in a process of its own."""

import socket

HOST = "127.0.0.1"


class BrokerMissing(Exception):
    """There is no broker to start; the text says what to do."""


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Broker:
    """A running broker on 127.0.0.1; `port` is where. Ends with this process, however that ends."""

    def __init__(self) -> None:
        try:
            from iotcore import Broker as Embedded
        except ImportError as error:
            raise BrokerMissing(f"the demo's broker cannot be loaded ({error}): pip install iotcore") from None
        self.port = free_port()
        # Without `listen` it would offer itself to the whole network.
        self._broker = Embedded(port=self.port, listen=HOST, max_inflight_count=1000)

    def __enter__(self) -> "Broker":
        try:
            self._broker.start()
        except (OSError, RuntimeError) as error:
            raise BrokerMissing(f"the demo's broker does not start on port {self.port}: {error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.stop()
