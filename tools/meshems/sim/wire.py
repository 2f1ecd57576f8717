"""The half-duplex line itself, with no clock and no terminal: who sends when, and what the others make of it.

    wire = Wire(Settings(9600), {Settings(9600): units}, log.append, give)
    wire.step(at_us)                     # let the time come to `at_us`: `give(bytes)` gets what the gateway hears
    wire.write(frame, at_us)             # the gateway sends
    wire.due()                           # when `step` has something to do next, None while nothing is on its way

Both fronts use it: line.py on a terminal in real time, virtual.py on virtual time. All instants are us on the front's
clock. Each character takes its time; 3.5 quiet ones (1.75 ms above 19200 baud) end the gateway's frame, and then the
stations hear it, each as a UART set like its own does. Who sends while another does garbles both, at both ends. `log`
gets one dict for each request, reply, unasked speech and collision: docs/simulator.md.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshems.sim import uart
from meshems.sim.slave import Answer, Station
from meshems.sim.uart import Settings, Uart

ROUNDING_US = 0.01
Record = dict[str, Any]


@dataclass(eq=False)
class _Sending:
    """Characters on the line from `start_us` on; `heard` is what reaches the gateway, None before its first bit."""

    who: object  # None is the gateway
    start_us: float
    data: bytes
    settings: Uart
    record: Record | None = None  # what the log says once the last byte is there
    pause: tuple[int, float] | None = None  # after so many bytes, so many characters of silence
    heard: uart.Heard | None = None
    given: int = 0  # of `heard`
    first_us: float | None = None
    done: bool = False
    met: list["_Sending"] = field(default_factory=list)  # with whom it collided

    @property
    def char_us(self) -> float:
        return self.settings.char_s * 1e6

    @property
    def end_us(self) -> float:
        return self.start_us + (len(self.data) + (self.pause[1] if self.pause else 0)) * self.char_us

    def soon_us(self, slice_us: float) -> float:
        """Return when the next character is complete, or the last of those that are within a slice."""
        assert self.heard
        at = first = self.heard[self.given][0]
        for end, _, _ in self.heard[self.given :]:
            if end > first - self.char_us + slice_us:
                break
            at = end
        return at

    @property
    def intact(self) -> bool:
        """Return whether the gateway heard it as it was sent."""
        return not self.met and bytes(byte for _, byte, _ in self.heard or ()) == self.data

    def by(self, receiver: Uart) -> uart.Heard:
        """Return what `receiver` hears of it, its instants absolute."""
        at, chars = self.pause or (len(self.data), 0)
        second_us = self.start_us + (at + chars) * self.char_us
        parts = ((self.start_us, self.data[:at]), (second_us, self.data[at:]))
        return [
            (start + end, byte, good)
            for start, data in parts
            for end, byte, good in uart.heard(data, self.settings, receiver)
        ]


class Wire:
    """One line, the stations on it by their settings, and the gateway.

    `give(data)` hands bytes to the gateway and returns the instant at which it has them. `gateway()` returns how the
    gateway's UART is set. `utc_us(at_us)` returns the UTC of an instant, in us since 1970.
    """

    def __init__(
        self, settings: Settings, stations: Mapping[Settings, Station], log: Callable[[Record], None],
        give: Callable[[bytes], float], *, gateway: Callable[[], Uart] | None = None,
        start_us: float = 0.0, utc_us: Callable[[float], float] = lambda at_us: at_us,
    ):  # fmt: skip
        self.silent = False  # true: no unit answers any more
        self._stations = stations
        self._log = log
        self._give = give
        self._gateway = gateway or (lambda: settings)
        self._start_us = start_us
        self._utc_us = utc_us
        self._rng = random.Random(0)
        self._air: list[_Sending] = []  # in the order of their start
        self._frame: list[_Sending] = []  # what the gateway sent since it was quiet
        self._quiet_us = 0.0  # before that
        self._last_us = float("-inf")  # when the last character that anybody sent was complete
        self._count = 0
        self._unasked = [(station.unasked(0.0), settings, station) for settings, station in stations.items()]

    def write(self, data: bytes, at_us: float) -> None:
        """Take bytes that the gateway hands over at `at_us`; they are on the line one after the other.

        Call `step(at_us)` before.
        """
        start = max(at_us, self._frame[-1].end_us) if self._frame else at_us
        if not self._frame:
            speaking = any(one.who is not None and one.start_us < start < one.end_us for one in self._air)
            self._quiet_us = 0.0 if speaking else start - self._last_us
        sending = _Sending(None, start, bytes(data), self._gateway())
        echoes = any(station.echoes(self._s(at_us)) for station in self._stations.values())
        sending.heard = sending.by(sending.settings) if echoes else []
        self._frame.append(sending)
        self._queue(sending)

    def due(self, slice_us: float = 0.0) -> float | None:
        """Return when `step` has something to do; characters may wait up to `slice_us` for those that follow."""
        times = [self._frame_us()] if self._frame else []
        times += [self._start_us + said[0] * 1e6 for said, _, _ in self._unasked if said]
        for one in self._air:
            if one.heard is None:
                times.append(one.start_us)
            elif one.given < len(one.heard):
                times.append(one.soon_us(slice_us))
            elif not one.done and one.who is not None:
                times.append(one.end_us)
        return min(times, default=None)

    def step(self, now_us: float) -> None:
        """Let everything happen that is due by `now_us`, in its order."""
        out = bytearray()
        begun: list[_Sending] = []
        complete: list[_Sending] = []
        while (due := self.due()) is not None and due <= now_us:
            for one in [one for one in self._air if one.start_us <= due and not one.done]:
                if one.heard is None:
                    one.heard = one.by(self._gateway())
                before = one.given
                out += self._characters(one, due)
                if one.given and not before:
                    begun.append(one)
                if one.who is not None and one.given == len(one.heard) and one.end_us <= due + ROUNDING_US:
                    one.done = True
                    complete.append(one)
            if self._frame and self._frame_us() <= due:
                self._hear()
            self._speak_unasked(due)
        at_us = self._give(bytes(out)) if out else now_us
        for one in begun:
            one.first_us = at_us
        for one in complete:
            self._note(one, at_us)
        self._air = [one for one in self._air if not one.done or self._needed(one)]

    def _characters(self, one: _Sending, due_us: float) -> bytes:
        """Return the characters of `one` that the gateway has at `due_us` and had not before."""
        assert one.heard is not None
        out = bytearray()
        while one.given < len(one.heard) and one.heard[one.given][0] <= due_us:
            end, byte, _ = one.heard[one.given]
            out.append(self._on_air(one, end, byte))
            one.given += 1
        return bytes(out)

    def _note(self, one: _Sending, last_us: float) -> None:
        """Write a reply down, or what was said unasked."""
        if one.record is not None:
            if one.record.get("intact"):
                one.record["intact"] = one.intact
            first_us = one.start_us if one.first_us is None else one.first_us
            self._log({**one.record, **self._times(first_us, last_us)})

    def _s(self, at_us: float) -> float:
        return (at_us - self._start_us) / 1e6

    def _needed(self, one: _Sending) -> bool:
        """Return whether another that is still on its way may have met it."""
        return any(not other.done and other.start_us < one.end_us for other in self._air)

    def _queue(self, sending: _Sending) -> None:
        self._air.append(sending)
        self._air.sort(key=lambda one: one.start_us)

    def _on_air(self, one: _Sending, end_us: float, byte: int) -> int:
        """Return the character that is complete at `end_us` as the line carried it: garbled where others spoke."""
        self._last_us = max(self._last_us, end_us)
        for other in self._air:
            if other.who != one.who and other.start_us < end_us and end_us - one.char_us < other.end_us:
                if other not in one.met:
                    one.met.append(other)
                    other.met.append(one)
                    span = max(one.start_us, other.start_us), min(one.end_us, other.end_us)
                    self._log({"what": "collision", **self._times(*span)})
                byte ^= self._rng.randrange(1, 256)
        return byte

    def _frame_us(self) -> float:
        """Return when the gateway's frame has ended."""
        last = self._frame[-1]
        return last.end_us + last.settings.gap_s * 1e6

    def _hear(self) -> None:
        """The gateway has been quiet for 3.5 characters: what it sent is a frame."""
        pieces, self._frame = self._frame, []
        begin, end = pieces[0].start_us, pieces[-1].end_us
        answers = [self._heard_by(settings, station, pieces) for settings, station in self._stations.items()]
        self._last_us = max(self._last_us, end)
        for piece in pieces:
            piece.done = True
        if self.silent:
            return
        self._count += 1
        # One record a frame: that of the unit it was for, else of who understood it.
        requests = [answer.request for answer in answers] or [{"garbage": b"".join(one.data for one in pieces).hex()}]
        request = max(requests, key=lambda one: (bool(one.get("serial")), "garbage" not in one))
        self._log({"what": "request", "n": self._count, **self._times(begin, end), **request})
        for settings, answer in zip(self._stations, answers, strict=True):
            if answer.wire:
                record = {"what": "reply", "n": self._count, **(answer.reply or {})}
                self._answer(settings, answer, record, end + max(answer.delay_s, settings.gap_s) * 1e6)

    def _heard_by(self, settings: Settings, station: Station, pieces: list[_Sending]) -> Answer:
        """Let a station hear the frame; one that hears a broken character throws the frame away."""
        chars = [
            (self._on_air(piece, end, byte), good) for piece in pieces for end, byte, good in piece.by(settings)
        ]  # fmt: skip
        frame = bytes(byte for byte, _ in chars)
        if self.silent or not all(good for _, good in chars):
            return Answer({"garbage": frame.hex()})
        return station.hear(frame, self._s(pieces[-1].end_us), self._quiet_us / 1e6)

    def _answer(self, settings: Settings, answer: Answer, record: Record, start_us: float) -> None:
        """Queue what a unit says: after what it is saying already, but whatever others say."""
        who = (settings, answer.unit)
        start_us = max([start_us, *(one.end_us for one in self._air if one.who == who)])
        self._queue(_Sending(who, start_us, answer.wire, settings, record, answer.pause))

    def _speak_unasked(self, now_us: float) -> None:
        for i, (said, settings, station) in enumerate(self._unasked):
            if said and self._start_us + said[0] * 1e6 <= now_us:
                at_s, answer = said
                if not self.silent:
                    record = {"what": "unasked", **(answer.reply or {})}
                    self._answer(settings, answer, record, self._start_us + at_s * 1e6)
                self._unasked[i] = station.unasked(at_s), settings, station

    def _times(self, first_us: float, last_us: float) -> Record:
        """Return the instants of a frame's first and last byte, [first, last] in us: the front's clock and UTC."""
        instants = (first_us, last_us)
        return {
            "mono_us": [round(at) for at in instants],
            "utc_us": [round(self._utc_us(at)) for at in instants],
        }
