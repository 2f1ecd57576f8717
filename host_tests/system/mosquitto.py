"""mosquitto on loopback: the tests' broker, that can be stopped, killed and started again on its port.

    with Broker(tmp_path) as broker:
        client.connect("127.0.0.1", broker.port)
        broker.kill(); broker.start()
"""

import os
import shutil
import socket
import subprocess
import time

HOST = "127.0.0.1"


class Broker:
    """One broker with its files in `folder`; messages and sessions outlive it, as on an operator's server."""

    def __init__(self, folder, *lines):
        self._program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not self._program:
            raise RuntimeError("install mosquitto: apt-get install mosquitto")
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        settings = [
            f"listener {self.port} {HOST}", "persistence true", f"persistence_location {folder}/",
            "autosave_interval 1", "autosave_on_changes true",
            "max_queued_messages 0", "max_inflight_messages 0", *lines,
        ]  # fmt: skip
        if not any(line.startswith("allow_anonymous") for line in lines):
            settings.append("allow_anonymous true")
        if os.geteuid() == 0:
            settings.append("user root")  # or it could not write into a folder of ours
        self._config.write_text("\n".join(settings) + "\n")
        self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        """Start it, and return when it takes connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(self._config)], stdout=log, stderr=log)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                socket.create_connection((HOST, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"mosquitto does not start: {self._log.read_text()}")

    def stop(self):
        """End it in good order."""
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self):
        """Pull its plug."""
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None
