"""Numbers that never come twice, whatever part of the flash was lost: the boot's and the journal's epoch.

And how boots end: boot.py counts the short ones, so that a boot loop is known as one.

Needed at start only. What is kept where, and what is done when it is gone: docs/records.md.
"""
import os

from micropython import const

from gateway import log
from gateway.records import RECORDS
from lib import once, varint

_LOOP = const(3)  # boots in a row of less than SHORT_MS, before this one
SHORT_MS = 60000


def _kept(nvs, key):
    """Return the number under `key` in the NVS, None when there is none."""
    try:
        return nvs.get_i32(key)
    except OSError:
        return None


def boot(nvs, journal):
    """Return the number of this boot, committed before it is used, and the uptime in ms before which it stores nothing.

    The number is above all that the journal holds: by it a frame without a time finds the boot that dates it, so after
    the NVS was erased none comes twice. In a boot loop the first append waits, so that the loop wears out no flash.
    """
    number = _kept(nvs, "boot")
    if number is None:
        number = 0
        reader = journal.reader(max(journal.first, journal.next - 1))  # the newest block
        frame = reader.read()
        while frame:
            if frame[0] == RECORDS:
                number = max(number, varint.get(frame[3], 0)[0])
            frame = reader.read()
    nvs.set_i32("boot", number + 1)
    nvs.commit()
    if (_kept(nvs, "short") or 0) <= _LOOP:
        return number + 1, 0
    log.warn("app", "boot loop: nothing is stored in the first %d s" % (SHORT_MS // 1000))
    return number + 1, SHORT_MS


def lasted(nvs):
    """Keep that this boot is none of a boot loop and no crash: it lasted, or somebody wants it to end."""
    try:
        nvs.set_i32("short", 0)
        nvs.commit()
    except OSError as error:
        log.error("app", "NVS: %r" % error)


def epoch(nvs, ids, journal, recorder, uplinks):
    """Return the journal's epoch, 16 random bits kept beside the ids and in the NVS: no `seq` comes twice.

    A journal that is empty gets a new one. So does one whose records were not numbered by these ids (docs/records.md):
    they are given up, since nobody can tell whose they are, and an event for each outlet says so.
    """
    from gateway.ids import UNTOLD  # loaded at the start; `lasted` is called later

    known = _kept(nvs, "epoch")
    told = known if ids.epoch == UNTOLD else ids.epoch
    foreign = ids.epoch is None or known not in (None, told)
    if journal.empty or foreign or told is None:
        before = known, told
        while told in before:
            told = int.from_bytes(os.urandom(2), "big")
        if foreign and not journal.empty:
            gone = once.call("lib.journal.mount", "give_up", journal)
            log.error("journal", "whose records %d to %d are is not known: they are given up" % gone)
            base = (told if known is None else known) << 32
            for uplink in uplinks:
                once.call("gateway.events", "overrun", recorder, uplink["name"], base, gone[0], gone[1] + 1, False)
    ids.keep(told)
    if told != known:
        nvs.set_i32("epoch", told)
        nvs.commit()
    return told
