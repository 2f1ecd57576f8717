"""Makes the meters of each bus from the configuration and the profiles: needed at start only."""
import gc

from micropython import const

from gateway import data, log
from gateway.metering import Meter
from lib import proto

_DAY = const(86400)
_USUAL = const("1.7.0 16.7.0 32.7.0 52.7.0 72.7.0 31.7.0 51.7.0 71.7.0")  # `intervals.points` when nothing is said

def made(conf, ids):
    """Return (number of the bus, its meters) for each bus. Profiles are parsed one at a time, and each once."""
    found = [(number, []) for number in range(len(conf["buses"]))]
    ports = [_ports(conf, number) for number in range(len(found))]
    names = []
    codes = set()
    for meter in conf["meters"]:
        if meter["profile"] not in names:
            names.append(meter["profile"])
    for name in names:
        gc.collect()
        profile = data.load("profiles/%s.json" % name)
        protocol = profile.get("proto", "modbus")
        ratio = profile.get("ratio", {})
        shared = None
        if "checks" in conf and "own" in profile:  # the meter's own number: at least once a day, as batches are shared
            longest = max([meter["every"] for meter in conf["meters"] if meter["profile"] == name])
            profile["own"].append(max(1, _DAY // longest))
        for meter in conf["meters"]:
            if meter["profile"] != name:
                continue
            own = [key for key in ratio if key in meter or ratio[key]]  # makes the batches this meter's alone
            if own or not shared:
                if ratio:
                    profile["ratio"] = {key: meter.get(key, ratio[key]) for key in ratio}
                batches = proto.load(protocol).plan(profile)
                if "views" in conf or "intervals" in conf:
                    points = "".join([batch.points for batch in batches])[1:].split("\n")
                    codes.update([point.split(" ")[0] for point in points])
                if "views" in conf:
                    from gateway import views

                    schema = views.cut(conf["views"], batches, ids)
                else:
                    schema = ids.schema("".join([batch.points for batch in batches]))
                for batch in batches:
                    batch.points = None  # it stands in the schema now
                if not own:
                    shared = batches
            else:
                batches = shared
            link = {"address": meter["address"]}
            slot = ids.slot(meter["serial"])
            kind = views.Viewed if "views" in conf else Meter
            made = kind(meter["serial"], meter["every"], slot, schema, batches, protocol, link)
            if len(ports[meter["bus"]]) > 1:
                made.port = _port(conf["buses"][meter["bus"]], meter)
            found[meter["bus"]][1].append(made)
        profile = None
    _unknown(conf, codes)
    for number, meters in found:
        if len(ports[number]) > 1:
            meters.sort(key=lambda meter: meter.port)
    return found


def _unknown(conf, codes):
    """Log what `views` and `intervals` ask for and none of `codes`, those of the profiles, is: it may be misspelt."""
    asked = [("views[%d]" % i, code) for i, view in enumerate(conf.get("views", ())) for code in view.get("points", ())]
    if "intervals" in conf:
        asked.extend([("intervals", code) for code in conf["intervals"]["points"] if code not in _USUAL.split(" ")])
    for key, code in asked:
        if code not in codes:
            log.warn("config", "%s.points: found %s, allowed a code of a meter's profile" % (key, code))


def _ports(conf, number):
    """Return the settings of a bus's meters, [(baud, format), ...]; where there is but one, the bus gets it."""
    bus = conf["buses"][number]
    ports = sorted({_port(bus, meter) for meter in conf["meters"] if meter["bus"] == number})
    if len(ports) == 1:
        bus["baud"], bus["format"] = ports[0]
    return ports


def _port(bus, meter):
    return meter.get("baud", bus["baud"]), meter.get("format", bus["format"])
