"""What the gateway says of itself, as a message: needed only when it is due.

    topic, payload = report.message(outlet)

It is not stored and has no `seq`: the next one says more. Its schema is docs/northbound/gateway.schema.json.
"""
import gc
import json
import sys

import esp32
import machine

from gateway import VERSION, clock, log
from gateway.uplink import FIRST_REPORT_MS
from lib import civil, once, proto

_REFUSALS = ("authority", "name", "dates", "other")  # of lib/mqtt/hello
_SHORTEST = 4  # characters of a secret that is looked for; shorter ones would hide words


def message(outlet):
    """Return (topic, payload) for `outlet`; the first has the log that the last reset left, secrets taken out.

    The payload is written into the northbound's buffer piece by piece: there is no room for it twice.
    """
    northbound, gateway = outlet.northbound, outlet.gateway
    kept = outlet.report_at == FIRST_REPORT_MS
    outlet.report_at = clock.uptime_ms() + gateway.report_ms
    northbound._at = 0
    put = northbound._put
    loaded = [name for name in ("gateway.data", "lib.twin") if name not in sys.modules]  # with the next one
    mark, secrets = once.call("gateway.parsed", "kept")
    for name in loaded:
        once.forget(name)
    now = gateway.clock.now()
    put('{"schemaVersion":"0.1",')
    if now:
        put('"ts":"%s","tsUncMs":%d,' % (civil.iso(now[0], now[1] < 1000), now[1]))
    put('"feederId":"%s",' % northbound._feeder)
    put('"gatewayId":"%s","meterSerial":"%s",' % (northbound._gateway, northbound._gateway))
    put('"firmware":"%s","config":"%08x","boot":%d,' % (VERSION, mark, gateway.recorder.boot))
    put('"resetCause":%d,"uptimeS":%d,' % (machine.reset_cause(), clock.uptime_ms() // 1000))
    put('"clock":"%s",' % clock.SOURCES[gateway.clock.source])
    if outlet.network:
        put('"network":{"via":"%s"%s},' % (outlet.network.via, _signal(outlet.network.via)))
    put('"heap":{"used":%d,"free":%d,' % (gc.mem_alloc(), gc.mem_free()))
    regions = esp32.idf_heap_info(esp32.HEAP_DATA)
    put('"systemFree":%d,"systemLargest":%d},' % (sum([one[1] for one in regions]), max([one[2] for one in regions])))
    journal = gateway.journal
    put('"journal":{"records":%d,"next":%d,' % (journal.next - journal.first, journal.next))
    blocks = max(0, journal.head + 1 - journal.tail)
    put('"blocks":%d,"ring":%d,"laps":%d,' % (blocks, journal._ring, (journal.head + 1) // journal._ring))
    stats = journal.stats
    put('"erases":%d,"failed":%d,"lost":%d,' % (stats["erases"], stats["failed"], stats["lost"]))
    put('"dropped":%d},"tasks":[' % gateway.recorder.dropped)
    _list(put, gateway.health.lives, lambda life: '{"name":"%s","deaths":%d}' % (life.name, life.deaths))
    put('],"meters":[')
    _list(put, [meter for bus in gateway.buses for meter in bus.meters], _meter)
    put('],"outlets":[')
    _list(put, gateway.outlets, lambda one: _outlet(one, one is outlet))
    put("]")
    if kept and secrets is not None:
        put(',"log":%s' % json.dumps(scrubbed(log.memory(), secrets)))
    put("}")
    return northbound.root + "/gateway/telemetry", memoryview(northbound._buf)[: northbound._at]


def _list(put, rows, text):
    between = ""
    for row in rows:
        put(between + text(row))
        between = ","


def _signal(via):
    """Return the member with the strength of the access point's signal in dBm, "" where there is none."""
    if via == "wifi":
        import network

        try:
            return ',"rssi":%d' % network.WLAN(network.STA_IF).status("rssi")
        except OSError:  # it was lost this second
            pass
    return ""


def _meter(meter):
    counts = meter.session.counts if meter.session else ()
    kinds = ['"%s":%d' % (proto.NAMES[i], counts[i]) for i in range(len(counts)) if counts[i]]
    return '{"serial":"%s","polls":%d,"misses":%d,"answers":{%s}}' % (
        meter.serial, meter.polls, meter.misses, ",".join(kinds),
    )  # fmt: skip


def _outlet(outlet, ours):
    client, stats = outlet.client, outlet.client.stats
    kinds = ['"%s":%d' % (kind, stats[kind]) for kind in _REFUSALS if kind in stats]
    return '{"name":"%s","state":%s,"connects":%d,"acked":%d,"refused":{%s}}' % (
        outlet.name, json.dumps("connected" if ours else client.state), stats["connects"], outlet.acked,
        ",".join(kinds),
    )  # fmt: skip


def scrubbed(lines, secrets):
    """Return the whole lines of the bytes `lines` as texts, without any text that stands in `secrets`."""
    found = []
    todo = [secrets]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            todo.extend(one.values())
        elif isinstance(one, str) and len(one) >= _SHORTEST:  # a site's number is none
            found.append(one.encode())
    for secret in sorted(found, key=len, reverse=True):
        lines = lines.replace(secret, b"***")
    texts = []
    for line in lines.split(b"\n")[:-1]:
        try:
            texts.append(line.decode())
        except UnicodeError:
            pass
    return texts
