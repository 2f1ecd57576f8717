"""Judges a run: what the meters answered, what the gateways stored, what a subscriber received.

    verdict = judge(meters, log, messages, stores, decode, Promise(seconds=60, every=5))
    print(verdict.line())       # stored N, acknowledged N, lost L, duplicates D, wrong W, uncommitted U

Pure: data in, verdict out. `log` is what the simulated lines wrote, `messages` what an independent client received,
`stores` what is in the gateways' flash. `decode(profile, {(fc, address): words})` is not the firmware's: it returns
{obis: (Decimal, unit) or None}.

* lost: stored and never received, by `seq`.
* duplicates: received again under the same (gatewayId, seq).
* wrong: a register that is not what the registers on the wire say; an instant that is not that of a reply, or a reading
  without one; one `seq` with two contents; a message that was never stored.
* uncommitted: polls that a meter answered in full, of which nothing was stored.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

SLACK_US = 50_000  # beyond the gateway's own bound: the way from the wire to its loop
POLL_GAP_US = 2_000_000  # a longer pause between two replies of a meter begins another poll
STATUS = "96.5.0"  # the gateway's word on the meter, not the meter's
NET = "16.7.0"
TOTAL_SHARE, SERIAL_SHARE = Decimal("0.9"), Decimal("0.8")  # of the readings that the cadence promises
NAMED = 5  # problems that are told one by one

Words = Mapping[tuple[int, int], Sequence[int]]
Decode = Callable[[dict[str, Any], Words], Mapping[str, "tuple[Decimal, str] | None"]]


@dataclass(frozen=True)
class Meter:
    """A meter, the profile it is read with and the gateway that reads it."""

    serial: str
    profile: dict[str, Any]
    gateway: str


@dataclass(frozen=True)
class Message:
    """What the subscriber received."""

    topic: str
    payload: bytes


@dataclass(frozen=True)
class Store:
    """What a gateway's flash holds: the records `first` to `next` - 1; the broker acknowledged those before `acked`."""

    gateway: str
    epoch: int
    first: int
    next: int
    acked: int


@dataclass(frozen=True)
class Promise:
    """The cadence that was promised. `excused` are spans (serial, seconds) in which a meter owes nothing."""

    seconds: float
    every: int
    excused: Sequence[tuple[str, float]] = ()


@dataclass
class Poll:
    """The good replies of a meter to one round of questions, by block: (function, address)."""

    serial: str
    words: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    ends_us: dict[tuple[int, int], int] = field(default_factory=dict)  # UTC of the reply's last byte
    clean: set[tuple[int, int]] = field(default_factory=set)  # answered without any fault
    told: bool = False  # a message speaks of it

    def complete(self, profile: dict[str, Any]) -> bool:
        """Return whether each block that is due in every round was answered, without any fault."""
        return all((b[0], b[1]) in self.clean for b in profile["blk"] if (b[3] if len(b) > 3 else 1) == 1)


@dataclass
class Verdict:
    """The figures of a run. `problems` say what is wrong, in sentences; `readings` counts those received, by serial."""

    stored: int = 0
    acknowledged: int = 0
    lost: int = 0
    duplicates: int = 0
    wrong: int = 0
    uncommitted: int = 0
    problems: list[str] = field(default_factory=list)
    readings: dict[str, int] = field(default_factory=dict)
    kept_cadence: bool = True

    @property
    def ok(self) -> bool:
        """Return whether nothing was lost, nothing was wrong, and as much arrived as was promised."""
        return not self.lost and not self.wrong and self.kept_cadence

    def line(self) -> str:
        """Return the figures as the one line that others read."""
        return (
            f"stored {self.stored}, acknowledged {self.acknowledged}, lost {self.lost}, "
            f"duplicates {self.duplicates}, wrong {self.wrong}, uncommitted {self.uncommitted}"
        )

    def why(self) -> str:
        """Return why it is not ok: one line."""
        rest = len(self.problems) - NAMED
        return "; ".join(self.problems[:NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def polls(log: Iterable[Mapping[str, Any]]) -> dict[str, list[Poll]]:
    """Return the polls of each serial, in order, from the lines' records of intact replies."""
    found: dict[str, list[Poll]] = {}
    for record in sorted((r for r in log if r["what"] == "reply" and r.get("intact")), key=lambda r: r["utc_us"][1]):
        rounds = found.setdefault(record["serial"], [])
        block = (record["fc"], record["address"])
        end = record["utc_us"][1]
        if not rounds or block in rounds[-1].words or end - max(rounds[-1].ends_us.values()) > POLL_GAP_US:
            rounds.append(Poll(record["serial"]))
        poll = rounds[-1]
        poll.words[block] = record["words"]
        poll.ends_us[block] = end
        if record["fault"] is None:
            poll.clean.add(block)
    return found


def instant_us(ts: str) -> tuple[int, int]:
    """Return (us since 1970, how much its text may have cut off) of "2026-06-22T14:30:00.120Z"; ValueError."""
    fraction = "." in ts
    at = datetime.strptime(ts, "%Y-%m-%dT%H:%M:%S.%fZ" if fraction else "%Y-%m-%dT%H:%M:%SZ")
    since = at.replace(tzinfo=timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return since // timedelta(microseconds=1), 1000 if fraction else 1_000_000


Registers = Mapping[str, tuple[Any, str]]  # a message's, OBIS: (value, unit)


def expected(meter: Meter, words: Words, decode: Decode) -> dict[str, tuple[Decimal, str]]:
    """Return the registers that a message about these replies carries, the derived ones too."""
    values = {obis: value for obis, value in decode(meter.profile, words).items() if value is not None}
    given = {row[0] for row in meter.profile["q"]}
    if NET in values:
        power, unit = values[NET]
        for obis, part in (("1.7.0", max(power, Decimal(0))), ("2.7.0", max(-power, Decimal(0)))):
            if obis not in given:
                values[obis] = (part, unit)
    return values


class Truth:
    """What a message about a poll has to say."""

    def __init__(self, meter: Meter, poll: Poll, decode: Decode):
        self.poll = poll
        self.first_us = min(poll.ends_us.values())
        self._blocks = {block: expected(meter, {block: words}, decode) for block, words in poll.words.items()}

    def difference(self, registers: Registers) -> str:
        """Return how a message's registers differ from what the wire said, "" when they do not.

        A block that the gateway did not hear may be absent, but only as a whole.
        """
        truth = {obis: value for block in self._blocks.values() for obis, value in block.items()}
        for obis, (value, unit) in registers.items():
            if obis == STATUS:
                continue
            if obis not in truth:
                return f"{obis} is {value}, and the meter did not say so"
            if unit == "text" and str(value).isdigit():  # a number that stands for itself, as a meter's own
                value = Decimal(value)
            if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or (value, unit) != truth[obis]:
                return f"{obis} is {value} {unit}, not {truth[obis][0]} {truth[obis][1]}"
        for block in self._blocks.values():
            missing = [obis for obis in block if obis not in registers]
            if missing and len(missing) < len(block):
                return f"{missing[0]} is missing"
        return ""

    def away_us(self, at_us: int, registers: Registers) -> int:
        """Return how far `at_us` is from the reading's instant: the first reply of which the message tells."""
        told = [end for block, end in self.poll.ends_us.items() if self._blocks[block].keys() & registers.keys()]
        return abs(min(told or self.poll.ends_us.values()) - at_us)


class _Judge:
    def __init__(self, meters: Iterable[Meter], log: Iterable[Mapping[str, Any]], decode: Decode):
        self.meters = {meter.serial: meter for meter in meters}
        self.polls = polls(record for record in log if self._tells(record))
        self.truths = {
            serial: [Truth(self.meters[serial], poll, decode) for poll in rounds]
            for serial, rounds in self.polls.items()
            if serial in self.meters
        }
        self.verdict = Verdict()

    def _tells(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record is of a block of the profile: a probe, which is shorter, is no reading."""
        meter = self.meters.get(record.get("serial", ""))
        if meter is None or not record.get("words"):
            return True
        read = record["fc"], record["address"], len(record["words"])
        return read in [tuple(block[:3]) for block in meter.profile["blk"]]

    def fault(self, text: str) -> None:
        self.verdict.wrong += 1
        self.verdict.problems.append("wrong: " + text)

    def message(self, topic: str, body: dict[str, Any]) -> None:
        """Judge a message that came for the first time."""
        serial, gateway = body["meterSerial"], body["gatewayId"]
        name = f"{serial} seq {body['seq'] & 0xFFFFFFFF}"
        scope = "gateway" if serial == gateway else f"meter/{serial}"
        root = f"openami/v1/{body['feederId']}/{gateway}/{scope}/"
        if topic not in (root + "telemetry", root + "event"):
            return self.fault(f"{name} came as {topic}")
        registers = {row["obis"]: (row["value"], row["unit"]) for row in body["registers"]}
        if len(registers) != len(body["registers"]):
            return self.fault(f"{name} has a register twice")
        if not set(registers) - {STATUS}:
            return None  # an event, or the word that a meter is silent
        meter = self.meters.get(serial)
        if meter is None or meter.gateway != gateway:
            return self.fault(f"{name} comes from {gateway}, which has no such meter")
        if any(row["quality"] == "comms_lost" for row in body["registers"]):
            return self.fault(f"{name} has values of a lost meter")
        at, cut = instant_us(body["ts"])
        problem = self._reading(meter, at, body["tsUncMs"] * 1000 + SLACK_US + cut, registers)
        self.verdict.readings[serial] = self.verdict.readings.get(serial, 0) + 1
        return self.fault(f"{name}: {problem}") if problem else None

    def _reading(self, meter: Meter, at: int, bound: int, registers: Registers) -> str:
        """Find the poll that a reading speaks of; return what is wrong with it, "" when nothing is."""
        rounds = self.truths.get(meter.serial, [])
        begin = bisect_left(rounds, at - bound - POLL_GAP_US, key=lambda truth: truth.first_us)
        end = bisect_right(rounds, at + bound, key=lambda truth: truth.first_us)
        nearest = None
        for some in (rounds[begin:end], rounds):  # all of them only when none is near: to say by how much it is off
            fresh = [truth for truth in some if not truth.poll.told]
            fresh.sort(key=lambda truth: truth.away_us(at, registers))
            nearest = nearest or next(iter(fresh), None)
            for truth in fresh:
                if not truth.difference(registers):
                    truth.poll.told = True
                    away = truth.away_us(at, registers)
                    return "" if away <= bound else f"its time is {away // 1000} ms from the reply's"
        if nearest and nearest.away_us(at, registers) <= bound:
            nearest.poll.told = True
            return nearest.difference(registers)
        return "the meter gave no such reply"


def _parse(message: Message) -> dict[str, Any] | None:
    """Return the body of a record's message; None for what is no record. ValueError when it is broken."""
    if message.topic.endswith(("/status", "/gateway/telemetry", "/gateway/mesh")):
        return None
    body = json.loads(message.payload, parse_float=Decimal)
    for key in ("ts", "feederId", "gatewayId", "meterSerial", "seq", "registers"):
        if key not in body:
            raise ValueError(f"no {key}")
    return dict(body)


def judge(
    meters: Sequence[Meter],
    log: Iterable[Mapping[str, Any]],
    messages: Iterable[Message],
    stores: Sequence[Store],
    decode: Decode,
    promise: Promise,
) -> Verdict:
    """Return the verdict on a run."""
    court = _Judge(meters, log, decode)
    verdict = court.verdict
    seen: dict[tuple[str, int], dict[str, Any]] = {}
    for message in messages:
        try:
            body = _parse(message)
            if body is None:
                continue
            key = (body["gatewayId"], body["seq"])
            # These tell of the sending, not of the record.
            content = {name: body[name] for name in body if name not in ("late", "tsUncMs", "tsSrc")}
            if key not in seen:
                seen[key] = content
                court.message(message.topic, body)
                continue
            verdict.duplicates += 1
            if seen[key] != content:
                court.fault(f"seq {key[1] & 0xFFFFFFFF} of {key[0]} came with two contents")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            court.fault(f"{message.topic}: broken message: {error}")
    for store in stores:
        _stored(court, store, {seq for gateway, seq in seen if gateway == store.gateway})
    unknown = {gateway for gateway, _ in seen} - {store.gateway for store in stores}
    for gateway in sorted(unknown):
        court.fault(f"messages of an unknown gateway {gateway}")
    untold = sum(
        not poll.told and poll.complete(court.meters[serial].profile)
        for serial, rounds in court.polls.items()
        if serial in court.meters
        for poll in rounds
    )
    verdict.uncommitted = max(0, untold - verdict.lost)
    _cadence(court, promise)
    return verdict


def _stored(court: _Judge, store: Store, received: set[int]) -> None:
    """Compare what a gateway stored with what was received of it."""
    verdict = court.verdict
    verdict.stored += store.next - store.first
    verdict.acknowledged += max(0, min(store.acked, store.next) - store.first)
    ordinals = {seq & 0xFFFFFFFF for seq in received if seq >> 32 == store.epoch}
    missing = sorted(set(range(store.first, store.next)) - ordinals)
    if missing:
        verdict.lost += len(missing)
        verdict.problems.append(f"lost: {len(missing)} records of {store.gateway}, the first {missing[0]}")
    invented = [seq for seq in sorted(received) if seq >> 32 != store.epoch or seq & 0xFFFFFFFF >= store.next]
    for seq in invented:
        court.fault(f"seq {seq} of {store.gateway} was never stored")


def _cadence(court: _Judge, promise: Promise) -> None:
    """Compare how many readings arrived with what the cadence promises."""
    verdict = court.verdict
    total = Decimal(0)
    for serial in court.meters:
        excused = sum(seconds for name, seconds in promise.excused if name == serial)
        share = Decimal(max(0.0, promise.seconds - excused)) / promise.every
        total += share
        count = verdict.readings.get(serial, 0)
        if count < SERIAL_SHARE * share:
            verdict.kept_cadence = False
            verdict.problems.append(f"cadence: {count} readings of {serial}, {share:.0f} promised")
    count = sum(verdict.readings.values())
    if count < TOTAL_SHARE * total:
        verdict.kept_cadence = False
        verdict.problems.append(f"cadence: {count} readings in all, {total:.0f} promised")
