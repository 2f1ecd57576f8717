"""Finds the Modbus meters of a line and the profiles that are theirs. For commissioning: no running gateway loads it.

    import asyncio
    from gateway import scan, trial
    asyncio.run(scan.scan(trial.line(1), ["9600N1"], range(1, 33), scan.profiles(), print))

Whoever answers at all, be it with an exception, is there; 300 ms without a byte say that nobody is. A meter that needs
longer is heard while the next address is asked, and both are asked again with more patience.
"""
import asyncio
import os
import sys

from micropython import const

from gateway import data, trial
from lib import proto
from lib.proto import modbus
from lib.proto.modbus import planner, rtu

_WAIT_MS = const(300)  # to the first byte of a unit of which nobody knows whether it is there
_PATIENT_MS = const(1000)  # and of one that may be: the slowest of the profiles needs 600
_REST_MS = const(100)  # between two reads of one unit; Eastron SDM72D restarts when it is asked faster
_LATE_MS = const(1500)  # a reply that missed its time may come until then
_TWIN_MS = const(250)  # after a reply: a second unit of that address may still speak
_TRIES = const(3)
_FRAME = const(5)  # bytes of the shortest
_DROPPED = const(2)  # of RS485.stats
_SERIAL = const("0.0.96.1.1")  # OBIS: the number of a device


def profiles(names=()):
    """Return [(rank, id, ports, probes), ...] of the profiles with probes, most specific first.

    `names` are ids; all that are there when empty. OSError when there is no such profile. A code or a text tells more
    than any range; then more probes tell more, then narrower ones.
    """
    found = []
    for name in names or _all():
        profile = data.load("profiles/%s.json" % name)
        probes = profile.get("probe")
        if probes:
            exact = [row for row in probes if isinstance(row[4], list) or "str" in row[4]]
            rank = -len(exact), -len(probes), sum([_width(row[4]) for row in probes])
            found.append((rank, name, profile["ser"], probes))
    return sorted(found)


def _all():
    names = set()
    for folder in sys.path:
        try:
            names.update([file[:-5] for file in os.listdir(folder + "/profiles") if file.endswith(".json")])
        except OSError:
            pass  # a folder without profiles
    try:
        with data.open_data(data.PACKED) as file:
            names.update([line[7 : line.find('"', 7)] for line in file])  # {"id":"...
    except OSError:
        pass  # each has a file of its own
    return names


def _width(accepted):
    """Return how many values pass; a text passes few the longer it is."""
    if isinstance(accepted, list):
        return len(accepted)
    return 20 // len(accepted["str"]) if "str" in accepted else accepted["max"] - accepted["min"] + 1


def _passes(accepted, value):
    if isinstance(accepted, list):
        return value in accepted
    if "str" in accepted:
        return isinstance(value, str) and value.startswith(accepted["str"])
    return isinstance(value, int) and accepted["min"] <= value <= accepted["max"]


async def scan(media, ports, addresses, known, say):
    """Ask each of `addresses` at each of `ports` ("9600N1"; [] for all of `known`, see `profiles`) who is there.

    `say` gets {"ports", "count"} first, and then a dict for each address asked: "port", "address" and in "kind"
    "silent", "same" (not asked: who was found with other stop bits hears these too), "again" (what came was odd: it is
    asked once more in the end), "garbled" (no valid reply in three tries), "two" (two replies to one request) or
    "there". The last two have in "fits" the ids of the profiles that are equally likely, first the one whose blocks the
    unit answers; in "reads" what was read to find them, [[function, address, count, type, kind of fault, value or the
    fault in words], ...]; and in "serial" what the meter says.
    """
    ports = ports or sorted({port for _, _, its, _ in known for port in its})
    say({"ports": ports, "count": len(addresses)})
    there = set()
    for port in ports:
        same = [address for mark, address in there if mark == port[:-1]]
        for address in same:
            say({"port": port, "address": address, "kind": "same"})
        found = await _scan(media, port, [address for address in addresses if address not in same], known, say)
        there.update([(port[:-1], address) for address in found])


async def _scan(media, port, addresses, known, say):
    """Return the addresses at which somebody is."""
    async with media.lock:
        await media.set(int(port[:-2]), "8" + port[-2:])
    here = [row for row in known if port in row[2]]
    groups = here, [row for row in known if port not in row[2]]
    first = _first(here or known)
    silent = []
    again = []
    found = []

    async def tell(address, reply, odd):
        told = await _told(media, port, address, groups, first, reply, odd)
        if "fits" in told:
            found.append(address)
        say(told)

    for address in addresses:
        dropped = media.stats[_DROPPED]
        reply = await _read(media, address, first, _WAIT_MS)
        if reply[0] == proto.FRAME or media.stats[_DROPPED] != dropped:
            again.extend([other for other in silent[-2:] if other not in again])  # one of them was late
        if reply[0] == proto.FRAME:
            again.append(address)
        elif reply[0] == proto.TIMEOUT:
            silent.append(address)
        await tell(address, reply, "again")
    if await media.read(media.buf, 1, _PATIENT_MS):
        again.extend([other for other in silent[-2:] if other not in again])
    for address in again:
        await tell(address, await _retry(media, address, first), "garbled")
    return found


def _first(known):
    """Return the probe that most of `known` share, of those the shortest: its reply is the most likely to be of use."""
    probes = [tuple(probe[:4]) for row in known for probe in row[3]]
    return max(probes, key=lambda probe: (probes.count(probe), -probe[2], probe))


async def _read(media, address, probe, wait_ms):
    """Return (proto.OK, value) of one read by the first columns of a probe, or (kind of the fault, its text)."""
    function, register, count, name = probe[:4]
    row = ["", 0, 0, name, 0 if name != "str" else count, "", 0]
    batch = planner.plan({"blk": [[function, register, count, 1]], "q": [row], "lim": [count, 1, 0, wait_ms]})[0]
    session = await modbus.session(media, {"address": address}, {})  # a new one: it knows of no quarantine
    value = (await session.read(batch))[0]
    if isinstance(value, proto.Fault):
        return value.kind, value.text
    return proto.OK, value


async def _retry(media, address, probe):
    """Return as `_read` the first reply in some tries that is one, else the last fault."""
    for tries in range(1, _TRIES + 1):
        await asyncio.sleep_ms(_REST_MS)
        kind, value = await _read(media, address, probe, _PATIENT_MS)
        if kind not in (proto.TIMEOUT, proto.FRAME):
            break
        await asyncio.sleep_ms(_LATE_MS)
        if kind == proto.TIMEOUT and tries > 1:  # some units are silent where others answer with an exception
            break
    return kind, value


async def _told(media, port, address, groups, first, reply, odd):
    """Return what `scan` says of a unit from whom `reply` came to the probe `first`; garbage is `odd`."""
    told = {"port": port, "address": address}
    if reply[0] in (proto.TIMEOUT, proto.FRAME):
        told["kind"] = odd if reply[0] == proto.FRAME else "silent"
        return told
    got = await media.read(media.buf, len(media.buf), _TWIN_MS)
    twin = got >= _FRAME and media.buf[0] == address and rtu.crc(media.buf, 0, got) == 0
    reads = {first: reply}
    fits = await _fits(media, address, groups[0], reads) or await _fits(media, address, groups[1], reads)
    told["kind"] = "two" if twin else "there"
    told["fits"] = fits
    told["reads"] = [list(probe) + list(reads[probe]) for probe in sorted(reads)]
    told["serial"] = await serial(media, address, fits[0]) if len(fits) == 1 else None
    return told


async def _fits(media, address, known, reads):
    """Return the ids of the most specific profiles whose probes all match; `reads` keeps what was read."""
    best, fits = None, []
    for rank, name, _, probes in known:
        if fits and rank != best:
            break
        for row in probes:
            probe = tuple(row[:4])
            if probe not in reads:
                reads[probe] = await _retry(media, address, probe)
            kind, value = reads[probe]
            if kind != proto.OK or not _passes(row[4], value):
                break
        else:
            best = rank
            fits.append(name)
    if len(fits) > 1:
        found = []
        for name in fits:
            blocks = await trial.read(media, address, data.load("profiles/%s.json" % name))
            sizes = [-1 if block["data"] is None else len(block["data"]) for block in blocks]
            found.append((-1 in sizes, sum(sizes), name))
        fits = [name for _, _, name in sorted(found)]
    return fits


async def serial(media, address, name):
    """Return the serial number that the meter says, None where its profile does not know where it stands."""
    profile = data.load("profiles/%s.json" % name)
    if "own" in profile:
        kind, value = await _retry(media, address, profile["own"])
        return str(value) if kind == proto.OK and len(str(value or "")) > 1 else None  # as gateway/checks takes it
    if not [row for row in profile["q"] if _SERIAL in row[0]]:
        return None
    for block in await trial.read(media, address, profile):
        for point, value in zip(block["points"].split("\n")[1:], block["values"]):
            obis, _, exponent = point.split(" ")
            if _SERIAL in obis and value and not isinstance(value, tuple):
                return value if isinstance(value, str) else str(value // 10 ** -int(exponent))
    return None
