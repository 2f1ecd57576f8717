"""Makes this gateway a member of the mesh: needed at the start, and when a counter is used up."""
import os
from binascii import unhexlify

from gateway import log

_HOURS_S = 1735689600  # unix seconds of 2025: an epoch that was lost begins anew with the hours since then
_MOST = 0xFFFF
_MEMBERS = 256


def _kept(nvs, key):
    """Return the number under `key` in the NVS, 0 when there is none."""
    try:
        return nvs.get_i32(key)
    except OSError:
        return 0


def epoch(nvs, now):
    """Return the next epoch of the counters, 1 to 65535, which is on flash then; None when it cannot be.

    No number of a counter may come twice under one key. The installer's tool writes one when a board gets its keys.
    """
    utc = now.now()
    told = _kept(nvs, "mesh_epoch") + 1
    if told == 1 and utc:
        told = max(1, min((utc[0] // 1000 - _HOURS_S) // 3600, _MOST))
    if told > _MOST:
        log.error("mesh", "the counters are used up: new keys are needed")
        return None
    try:
        nvs.set_i32("mesh_epoch", told)
        nvs.commit()
    except OSError as error:
        log.error("mesh", "cannot keep the epoch: %r" % error)
        return None
    return told


def floor(nvs, ident):
    """Return whether a command's number is above all before it; it is on flash then."""
    if ident <= _kept(nvs, "mesh_floor") or ident > 0x7FFFFFFF:
        return False
    try:
        nvs.set_i32("mesh_floor", ident)
        nvs.commit()
    except OSError:
        return False
    return True


class _Conf:
    """What lib/mesh/node asks of a configuration."""

    id = site = channel = epoch = time = 0
    root = mac_ack = window32 = False


def _rand(n):
    return int.from_bytes(os.urandom(4), "big") % n


def _air(mesh, network):
    """Return what carries frames."""
    if mesh["transport"] == "udp":
        from lib.media import udp

        return udp.Air(mesh["host"], mesh["port"])
    from network import STA_IF, WLAN

    from lib.media import espnow

    return espnow.Air(WLAN(STA_IF), mesh["channel"], "wifi" not in network)


def made(conf, secrets, nvs, bridge):
    """Give `bridge` (a Pole or a Root) its node and its air; return whether that is possible."""
    from lib.mesh.node import Node

    mesh, secrets = conf["mesh"], secrets["mesh"]
    one = _Conf()
    one.epoch = epoch(nvs, bridge.clock)
    if not one.epoch:
        return False
    one.id, one.root = mesh["id"], mesh["root"]
    air = _air(mesh, conf["network"])
    one.mac_ack = air.acknowledged
    one.window32 = not air.acknowledged
    one.channel = 0 if mesh["transport"] == "udp" else mesh["channel"]
    one.time = _kept(nvs, "mesh_hour") * 3600000
    if one.root:
        from lib.mesh import keys

        secret = unhexlify(secrets["secret"])
        one.site = keys.site(secret)
        known = {}

        def key(ident):
            if ident not in known:
                if len(known) == _MEMBERS:
                    known.clear()  # frames can name ids that there are not
                known[ident] = keys.node(secret, ident)
            return known[ident]

        pair = keys.net(secret), key
    else:
        own = unhexlify(secrets["node"])
        one.site = secrets["site"]
        pair = unhexlify(secrets["net"]), lambda ident: own if ident == one.id else None
    bridge.joined(Node(one, pair, bridge, _rand), air)
    log.info("mesh", "member %d of site %d, epoch %d" % (one.id, one.site, one.epoch))
    return True


def _voice(identity, name, uplinks):
    """Return a Northbound for the poles' records, with the filter of the outlet `name`."""
    for uplink in uplinks:
        if uplink["name"] == name and "filter" in uplink:
            from gateway.filtered import Filtered

            return Filtered(identity, uplink["filter"])
    from gateway.northbound import Northbound

    return Northbound(*identity)


def member(conf, secrets, identity, shared):
    """Return the Pole or the Root of `conf`, None when it cannot be one.

    `identity` are the arguments of a Northbound; `shared` is (clock, recorder, NVS, journal, ids, dating, number of
    problems, outlets, archive or None).
    """
    now, recorder, nvs, journal, ids, dating, problems, outlets, archive = shared
    if conf["mesh"]["root"]:
        from gateway.root import Root

        voices = [_voice(identity, outlet.name, conf["uplinks"]) for outlet in outlets]
        bridge = Root(now, recorder, nvs, identity[:2], outlets, voices)
    else:
        from gateway.pole import Pole

        bridge = Pole(now, recorder, nvs, identity[:5], journal, ids.cursor("/mesh"), dating, problems, archive)
    return bridge if made(conf, secrets, nvs, bridge) else None
