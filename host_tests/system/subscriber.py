"""An independent MQTT client that keeps what it receives."""

import json
import time

import paho.mqtt.client as paho


class Subscriber:
    """Everything under `openami/#`, in a session that outlives the broker's restarts; `messages` is [(topic, body)]."""

    def __init__(self, port):
        self.messages = []
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="observer", clean_session=False, reconnect_on_failure=True
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("openami/#", 1)
        self._client.on_message = lambda _c, _u, message: self.messages.append((message.topic, message.payload))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.wait(self._client.is_connected, 5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.loop_stop()
        self._client.disconnect()

    def bodies(self, kind):
        """Return the parsed bodies of the topics that end in `kind`; "telemetry" is that of meters."""
        own = "/gateway/telemetry"
        return [
            json.loads(payload)
            for topic, payload in list(self.messages)
            if topic.endswith("/" + kind) and not topic.endswith(own)
        ]

    def seqs(self):
        """Return the `seq` of each record received, in the order of arrival."""
        bodies = [json.loads(payload) for topic, payload in list(self.messages) if not topic.endswith("/status")]
        return [body["seq"] for body in bodies if "seq" in body]

    def wait(self, condition, seconds):
        """Return whether `condition()` came true within `seconds`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if condition():
                return True
            time.sleep(0.05)
        return bool(condition())
