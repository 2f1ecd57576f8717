"""Checks that flag a reading and never alter it.

    stage = Checks(recorder, names, {"vMin": 184, "vMax": 264})      # stands before the recorder, one for each bus
    stage.add(meter, schemas, 90000, False, None)
    stage.reading(uptime_ms, slot, schema, values)      # goes on with a mark at each value that is not believed

counter_rollback    an energy register is smaller than it was
value_implausible   jump: it grew by more than the meter can carry; power: that is more than it can carry; voltage: out
                    of range, on a phase that has had one; frozen: the import register stands still under load
reverse_energy      a net power is negative, or export grows, on a meter that is not said to export
meter_replaced      the number that the meter gives as its own changed, or is not the configured one

What lasts is one event when it begins and one when it is over; nothing comes twice within a quarter of an hour.
"""
from micropython import const

from gateway import log
from gateway.counters import JUMP, ROLLBACK, Counter
from gateway.records import ALARM, CLEAR, ONCE, SET, WARN
from lib import fixed, once

_NUMBER = const("0.0.96.1.1.255")  # the meter's own
_DEVICE, _POWER, _VOLTS, _ENERGY = range(4)  # in the order in which they are judged
_REVERSE_W = const(20)  # a smaller negative power is noise
_CALM = const(3)  # good readings that end what lasts
_CALM_MS = const(900000)  # and how long it lasts at least
_NAME = const(32)  # characters of a meter's number
_DEAD = const(10)  # a tenth of the least voltage: nothing is connected there


class _Watch:
    """What is known of one meter: `counters` by OBIS, `alarms` {(code, OBIS, reason): [since, good readings]}."""

    def __init__(self, meter, watts, export, device):
        self.meter = meter
        self.watts = watts
        self.export = export
        self.device = device  # as configured, None for any
        self.wrong = False
        self.load = None  # W
        self.phases = 0  # bit n: Ln has had a voltage
        self.counters = {}
        self.alarms = {}
        kept = once.call("lib.twin", "load", "device%d" % meter.slot)
        self.known = kept and kept.decode()


def _plan(columns):
    """Return what to judge in a layout: [(role, column, OBIS, kind of quantity, exponent)]."""
    plan = []
    for i, row in enumerate(columns[1:].split("\n")):
        obis, unit, exponent = row.split(" ")
        kind, group = (obis.split(".") + [""])[:2]
        kind = int(kind) if kind.isdigit() else 0
        role = None
        if obis == _NUMBER:
            role = _DEVICE
        elif kind in (32, 52, 72) and group == "7":
            role = _VOLTS
        elif kind < 80:
            kind %= 20  # IEC 62056-61: of L1, L2, L3 it is the total's code + 20, 40, 60
            if group == "7" and unit == "W" and kind in (1, 2, 16):
                role = _POWER
            elif group == "8" and unit[:1] == "k" and (0 < kind <= 10 or kind == 15):  # 16 is net: it may fall
                role = _ENERGY
        if role is not None:
            plan.append((role, i, obis, kind, int(exponent)))
    plan.sort()
    return plan


class Checks:
    """A recorder before the recorder; `limits` has vMin and vMax in V."""

    def __init__(self, recorder, names, limits):
        self._recorder = recorder
        self._names = names
        self._limits = limits
        self.commit = recorder.commit
        self._plans = {}
        self.watches = {}

    def add(self, meter, schemas, watts, export, device):
        """Check the readings of `meter`; `watts` it can carry at most, `export` it may, `device` it calls itself."""
        watch = self.watches[meter.slot] = _Watch(meter, watts, export, device)
        kinds = []
        for schema in schemas:
            self._plans[schema] = _plan(self._names.columns(schema))
            for role, _, obis, kind, exponent in self._plans[schema]:
                if role == _VOLTS:
                    kinds.append(kind)
                if role == _ENERGY:
                    watch.counters[obis] = Counter(exponent, watts)
        if kinds and max(kinds) == 32:
            watch.phases = 2  # the only one is always used

    def lost(self, slot):
        """Hand on that a meter is silent."""
        self.watches[slot].load = None  # what it carries until it answers again is not known
        self._recorder.lost(slot)

    def event(self, slot, code, severity, state, detail, uptime_ms=None):
        """Hand on an event; a meter that was away is asked for its number."""
        if code == "comms_restored" and slot in self.watches:
            self.watches[slot].meter.polls = 0
        self._recorder.event(slot, code, severity, state, detail, uptime_ms)

    def reading(self, uptime_ms, slot, schema, values):
        """Judge a reading and hand it on, behind the events that it gives rise to."""
        watch = self.watches[slot]
        suspect = 0
        for role, i, obis, kind, exponent in self._plans[schema]:
            value = values[i]
            if value is None:
                continue
            if role == _DEVICE:
                self._device(watch, str(value)[:_NAME], uptime_ms)
                if isinstance(value, str):
                    if len(values) == 1:
                        return
                    values[i] = None  # a record holds numbers only
                continue
            unit = 10 ** max(0, -exponent)
            self._bad = False
            told = watch, uptime_ms, obis, value, exponent
            if role == _VOLTS:
                self._voltage(told, value, unit, 1 << kind // 20)
            elif role == _POWER:
                self._power(told, value, unit, kind)
            else:
                self._energy(told, value, kind)
            if self._bad:
                suspect |= 1 << i
        self._recorder.reading(uptime_ms, slot, schema, values, suspect)

    def _voltage(self, told, value, unit, phase):
        watch = told[0]
        low, high = self._limits["vMin"] * unit, self._limits["vMax"] * unit
        if value * _DEAD >= low:
            watch.phases |= phase
        if not watch.phases & phase:
            return  # a phase that is not used
        bad = not low <= value <= high
        if not bad and not low + low // 50 <= value <= high - high // 50:
            bad = None
        self._say(told, bad, "value_implausible", "voltage")

    def _power(self, told, value, unit, kind):
        watch = told[0]
        self._say(told, abs(value) > watch.watts * unit, "value_implausible", "power")
        if kind != 1 and not watch.export:
            back = value if kind == 2 else -value
            bad = back > _REVERSE_W * unit
            self._say(told, None if not bad and back > 0 else bad, "reverse_energy")
        if told[2] in ("16.7.0", "1.7.0"):
            watch.load = value // unit

    def _energy(self, told, value, kind):
        watch, uptime_ms, obis = told[:3]
        counter = watch.counters[obis]
        before = counter.value
        found = counter.take(value, uptime_ms)
        self._say(told, found == ROLLBACK, "counter_rollback", None, before)
        self._say(told, found == JUMP, "value_implausible", "jump", before)
        if found == ROLLBACK:
            watch.meter.polls = 0  # is it still the same meter?
        if kind == 2 and not watch.export:
            self._say(told, before is not None and value > before, "reverse_energy")
        if obis == "1.8.0":
            self._say(told, counter.frozen(value, uptime_ms, watch.load), "value_implausible", "frozen")

    def _say(self, told, bad, code, reason=None, before=None):
        """Note whether a check found the value `bad`, None when it is neither; what begins or is over is an event."""
        watch, uptime_ms, obis, value, exponent = told
        self._bad = self._bad or bool(bad)
        if not bad and not watch.alarms:
            return
        single = code == "counter_rollback" or reason == "jump"
        key = code, obis, reason
        state = watch.alarms.get(key)
        if bad and state is None:
            watch.alarms[key] = [uptime_ms, 0]
        elif state is None:
            return
        elif bad and single and uptime_ms - state[0] >= _CALM_MS:
            state[0] = uptime_ms
        else:
            state[1] = state[1] + 1 if bad is False else 0
            if state[1] < _CALM or uptime_ms - state[0] < _CALM_MS:
                return
            del watch.alarms[key]
            if single:
                return
        detail = {"obis": obis, "value": fixed.text(value, exponent)}
        if reason:
            detail["reason"] = reason
        if before is not None:
            detail["before"] = fixed.text(before, exponent)
        severity = WARN if reason != "frozen" and code != "counter_rollback" else ALARM
        state = ONCE if single else SET if bad else CLEAR
        self._recorder.event(watch.meter.slot, code, severity, state, detail, uptime_ms)

    def _device(self, watch, name, uptime_ms):
        """Take the number that the meter gives as its own."""
        if len(name) < 2 or name.strip("0") == "":  # some give the first character alone, before they are ready
            return
        slot = watch.meter.slot
        if watch.known is not None and name != watch.known:
            for counter in watch.counters.values():
                counter.forget()
        if watch.device is not None:
            wrong = name != watch.device
            if wrong != watch.wrong:
                watch.wrong = wrong
                detail = {"device": name, "before": watch.device}
                self._recorder.event(slot, "meter_replaced", ALARM, SET if wrong else CLEAR, detail, uptime_ms)
        elif watch.known is not None and name != watch.known:
            detail = {"device": name, "before": watch.known}
            self._recorder.event(slot, "meter_replaced", ALARM, ONCE, detail, uptime_ms)
        if name != watch.known:
            watch.known = name
            try:
                once.call("lib.twin", "save", "device%d" % slot, name.encode())
            except OSError as error:
                log.warn("checks", "cannot keep the number of a meter: %r" % error)
