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
        mark, conf, secrets = json.loads(text)
        if mark == _mark(conf):
            return conf, secrets
    return None


def kept():
    """Return (mark, secrets) of the configuration in force; (0, None) when it could not be kept."""
    text = twin.load("parsed")
    if not text:
        return 0, None
    mark, _, secrets = json.loads(text)
    return mark, secrets


def save(conf, secrets):
    """Keep what was found good; OSError when it cannot be written."""
    twin.save("parsed", json.dumps([_mark(conf), conf, secrets]).encode())
