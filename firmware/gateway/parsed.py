"""The configuration as it was judged last: while no file that it stands on has changed, nothing is judged again.

Judging takes a large part of a small board's heap, and the names of the modules that do it stay behind for good.
"""
import json
from binascii import crc32

from gateway import VERSION, data
from lib import twin


def _mark(conf):
    """Return the CRC32 of all that the verdict stands on: the firmware's version, both files, the profiles named."""
    names = ["gateway.json", "secrets.json"]  # of the current folder; profiles are found where the firmware's data are
    for meter in conf["meters"]:
        name = "profiles/%s.json" % meter["profile"]
        if name not in names:
            names.append(name)
    mark = crc32(VERSION.encode())
    for name in names:
        mark = crc32(b"\0", mark)
        try:
            with data.open_data(name) if "/" in name else open(name) as file:
                part = file.read(256)
                while part:
                    mark = crc32(part.encode(), mark)
                    part = file.read(256)
        except OSError:
            mark = crc32(b"\1", mark)
    return mark


def load():
    """Return (config, secrets) with their defaults, or None when they have to be judged anew."""
    text = twin.load("parsed")
    if text:
        mark, conf, secrets = json.loads(text)[:3]
        if mark == _mark(conf):
            return conf, secrets
    return None


def kept():
    """Return (mark, secrets) of the configuration in force; (0, None) when it could not be kept."""
    text = twin.load("parsed")
    if not text:
        return 0, None
    mark, _, secrets = json.loads(text)[:3]
    return mark, secrets


def save(conf, secrets):
    """Keep what was found good, and return what has changed with it: rows (code of the event, its detail).

    OSError when it cannot be written.
    """
    kept = json.loads(twin.load("parsed") or "null")
    mark = _mark(conf)
    twin.save("parsed", json.dumps([mark, conf, secrets, VERSION]).encode())
    changes = []
    if kept:
        before = kept[3] if len(kept) > 3 else ""  # 0.1.0 did not keep it
        if before != VERSION:
            changes.append(("firmware_changed", {"firmware": VERSION, "before": before}))
        if kept[1:3] != [conf, secrets] or before == VERSION:  # or a profile, or how the files are written
            changes.append(("config_changed", {"config": "%08x" % mark, "before": "%08x" % kept[0]}))
    return changes
