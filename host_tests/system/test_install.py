"""docs/install.md, word for word, with the desktop board in the place of the chip: readings reach the broker."""

import csv

import pytest

from install_page import follow
from mosquitto import Broker
from subscriber import Subscriber


@pytest.mark.timeout(180)
def test_the_page_followed_word_for_word_ends_with_readings_at_the_broker(tmp_path):
    folder = tmp_path / "desk"
    folder.mkdir()
    with Broker(tmp_path / "broker") as broker, Subscriber(broker.port) as operator:
        commands, status, said = follow(folder, f"127.0.0.1:{broker.port}")
        assert status == 0, said
        assert commands == [
            "site new", "site keys", "sim-meters", "run", "scan", "site check", "provision", "monitor", "logs",
        ]  # fmt: skip
        bodies = operator.bodies("telemetry")
    assert "FAIL" not in said and "pole-01 runs" in said and "meters of pole-01" in said
    meters = {body["meterSerial"] for body in bodies}
    assert len(meters) == 2 and {body["gatewayId"] for body in bodies} == {"pole-01"}, said
    assert all(body["feederId"] == "feeder-01" and body["tsSrc"] != "none" for body in bodies)
    assert (folder / "pole-01.pdf").exists() and (folder / "pole-01-label.svg").exists()
    records = list(csv.DictReader((folder / "records.csv").open()))
    assert {row["meter"] for row in records if row["kind"] == "reading"} == meters
