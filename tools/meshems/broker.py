"""The demo's MQTT broker: iotcore on the loopback interface, in a process of its own.

with Broker() as broker:
    ...     # listens on 127.0.0.1, broker.port
"""

import contextlib
import importlib.util
import socket
import subprocess
import sys
import time

from meshems.run import die_with_parent

HOST = "127.0.0.1"
READY_S = 10.0


class BrokerMissing(Exception):
    """There is no broker to start; the text says what to do."""


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Broker:
    """A running broker; ends with this process, however that ends."""

    def __init__(self) -> None:
        if importlib.util.find_spec("iotcore") is None:
            raise BrokerMissing("the demo's broker is not installed: pip install iotcore")
        self.port = free_port()
        # Without --listen it would offer itself to the whole network. Not iotcore's own wrapper: its process stays in
        # our session, where a Ctrl-C would end it before the gateways have sent what they stored.
        command = [
            sys.executable,
            "-m",
            "iotcore",
            "--listen",
            HOST,
            "--port",
            str(self.port),
            "--log-level",
            "CRITICAL",
        ]
        self._process = subprocess.Popen(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip

    def __enter__(self) -> "Broker":
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 0.2):
                return self
            time.sleep(0.02)
        said = self._end().strip().split("\n")[-1]
        raise BrokerMissing(f"the demo's broker does not start on port {self.port}: {said}")

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> str:
        """End it; return what it complained of."""
        self._process.terminate()
        try:
            return self._process.communicate(timeout=5)[1]
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.communicate()[1]
