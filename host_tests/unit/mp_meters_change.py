"""What is stored stays its meter's: other meters with a backlog in flight, and flash that was replaced in part."""

import json
import os

from fake_pole import Pole

A, B, C, D = ("SN-A", "small"), ("SN-B", "large"), ("SN-C", "small"), ("SN-D", "large")
HEAP = {
    "test_other_meters_move_no_reading_to_another_serial": "8M",
    "test_a_replaced_flash_repeats_no_seq_and_moves_no_reading": "8M",
    "test_an_erased_nvs_moves_no_record_in_time": "8M",
}


class Consumer:
    """Drops by (gatewayId, seq) what it has, as the contract says, and holds what it gets against the meters."""

    def __init__(self):
        self.kept = {}  # seq: (topic, payload) without what differs at each sending
        self.polls = {}  # serial: energies, in order
        self.events = []
        self.wrong = []

    def take(self, topic, payload):
        if topic.endswith("/status"):
            return
        body = json.loads(payload)
        seq = body["seq"]
        body.pop("late", None)
        if seq in self.kept:
            if self.kept[seq] != body:
                self.wrong.append((seq, self.kept[seq], body))
            return
        self.kept[seq] = body
        if "event" in body:
            self.events.append(body)
            return
        serial = body["meterSerial"]
        found = {row["obis"]: row["value"] for row in body["registers"]}
        if "1.8.0" not in found:
            self.wrong.append(body)
            return
        self.polls.setdefault(serial, []).append(int(found["1.8.0"] * 1000 + 0.5))

    def check(self, pole):
        """Judge; return how many readings there are."""
        assert not self.wrong, self.wrong[0]
        for serial, energies in self.polls.items():
            base = pole.known[serial].base
            assert base <= min(energies) and max(energies) < base + 1000000, (serial, energies[:5], base)
            assert energies == sorted(set(energies)), serial
        return sum(len(energies) for energies in self.polls.values())


def made():
    consumer = Consumer()
    return Pole([A, B], consumer.take), consumer


def stored(pole, count, down=True):
    """Boot, store `count` records more, and lose the power."""
    pole.broker.down = down
    until = []

    def done():
        journal = pole.gateway.journal
        until.append(journal.next + count)
        return journal.next >= until[0]

    pole.run(done)


def drained(pole):
    """Boot and deliver all."""
    pole.broker.down = False
    pole.run(lambda: not pole.gateway.outlets[0].behind and pole.gateway.journal.next > pole.gateway.journal.first)


def test_other_meters_move_no_reading_to_another_serial():
    pole, consumer = made()
    stored(pole, 10)
    pole.broker.deaf = True
    stored(pole, 10, down=False)  # what is in flight is not acknowledged
    pole.broker.deaf = False
    for meters in ([B, A], [C, B, A], [A], [D, C], [("SN-A", "large"), D], [B, C, D, A]):
        pole.configure(meters)
        stored(pole, 10)
    pole.configure([D, C])
    drained(pole)
    assert sorted(consumer.polls) == ["SN-A", "SN-B", "SN-C", "SN-D"]
    total = consumer.check(pole)
    asked = sum(meter.asked for meter in pole.known.values())
    assert total > 70 and asked - total < 40, (asked, total)  # the probes of a session, and what no boot committed
    first, *_, last = sorted(consumer.kept)
    assert last - first + 1 == len(consumer.kept)  # no hole


WAYS = ("journal",), ("files",), ("nvs",), ("journal", "files"), ("journal", "nvs"), ("files", "nvs")
WAYS += (("journal", "files", "nvs"),)


def clean():
    """Forget the pole: the next one is another."""
    for name in os.listdir("profiles"):
        os.remove("profiles/" + name)
    os.rmdir("profiles")
    for name in os.listdir("flash"):
        os.remove("flash/" + name)
    for name in os.listdir():
        if name != "flash":
            os.remove(name)


def test_a_replaced_flash_repeats_no_seq_and_moves_no_reading():
    for parts in WAYS:
        for changed in (([A, B], [A, B]), ([B, A], [C, A])):
            pole, consumer = made()
            for meters in changed:
                stored(pole, 12)
                drained(pole)
                stored(pole, 12)  # a backlog
                epoch = pole.gateway.outlets[0].northbound.epoch
                pole.wipe(*parts)
                pole.configure(meters)
                drained(pole)
                consumer.check(pole)
                assert (pole.gateway.outlets[0].northbound.epoch == epoch) == (parts == ("nvs",)), parts
            gone = [one["event"]["detail"] for one in consumer.events if one["event"]["code"] == "buffer_overrun"]
            if "files" in parts and "journal" not in parts:  # the backlog's records are given up, and that is told
                assert len(gone) == 2 and min(one["last"] - one["first"] for one in gone) >= 11, gone
            else:
                assert not gone, (parts, gone)
            clean()


def test_an_erased_nvs_moves_no_record_in_time():
    pole, consumer = made()
    for _ in range(3):
        stored(pole, 5)
    boot = pole.gateway.recorder.boot
    pole.wipe("nvs")
    stored(pole, 5)
    assert pole.gateway.recorder.boot == boot + 1
