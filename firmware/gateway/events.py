"""Events as they are stored and as they are sent: needed only when something happens, or happened."""
import json

from gateway.records import ONCE, WARN

SEVERITIES = ("info", "warn", "alarm")
STATES = ("set", "clear", "once")
CODES = (  # an event is stored as its place among these words: append only
    "comms_lost comms_restored power_fail power_restore relay_changed relay_failed limit_exceeded credit_low"
    " credit_zero token_accepted token_rejected tamper_door tamper_cover reverse_energy counter_rollback"
    " value_implausible clock_set clock_lost buffer_near_full buffer_overrun meter_found meter_replaced"
    " config_changed firmware_changed command_result uplink_refused uplink_restored network_up network_down"
    " restarted mesh_trouble"
)


def stored(code, severity, state, detail):
    """Return what gateway/records stores of an event: (place in CODES, severity, state, detail as bytes)."""
    return CODES.split().index(code), severity, state, json.dumps(detail).encode()


def _word(place):
    """Return the word at this place in CODES, ValueError behind the last; a list of all would take 2 kB."""
    at = 0
    while place:
        at = CODES.index(" ", at) + 1
        place -= 1
    return CODES[at:].split(" ", 1)[0]


def sent(code, severity, state, detail):
    """Return the members of an event message, from `registers` on, of what was stored."""
    return '"registers":[],"event":{"code":"%s","severity":"%s","state":"%s","detail":%s}}' % (
        _word(code), SEVERITIES[severity], STATES[state], detail.decode(),
    )  # fmt: skip


def row(code, severity, state, detail):
    """Return the fields of an event in CSV, from its kind on, with the line's end; of what was stored."""
    text = detail.decode().replace('"', '""')
    quote = '"' if '"' in text or "," in text else ""
    return "%s,,,,,%s,%s,%s%s%s\r\n" % (
        _word(code), SEVERITIES[severity], STATES[state], quote, text, quote,
    )  # fmt: skip


def overrun(recorder, outlet, base, first, after, thinned):
    """Record that `outlet` does not get the ordinals `first` to `after` - 1, or of `thinned` ones what the archive has.

    `base` is what an ordinal's `seq` is above it.
    """
    detail = {"outlet": outlet, "first": base + first, "last": base + after - 1, "thinned": thinned}
    recorder.event(0, "buffer_overrun", WARN, ONCE, detail)
