"""What members of the mesh have told of themselves, as messages of a root: docs/northbound/mesh.md."""
import struct

from micropython import const

from gateway import clock
from lib import civil, proto, varint

_TABLE = const(9)
_ROW = const(7)


def status(member, root):
    """Return the retained status of a member."""
    if member.online < 0:
        return '{"state":"offline"}'
    if not member.online or not member.firmware:
        return None
    return '{"state":"online","firmware":"%s","clock":"%s","configProblems":%d%s,"network":"mesh"}' % (
        member.firmware, "ok" if member.flags & 1 else "lost", member.problems,
        ',"journal":"memory"' if member.flags & 2 else "",
    )  # fmt: skip


def _head(member, utc):
    """Return the members with which a message about a gateway begins."""
    ts = '"ts":"%s","tsUncMs":%d,' % (civil.iso(utc[0], utc[1] < 1000), utc[1]) if utc else ""
    names = ts, member.feeder, member.gateway, member.gateway
    return '{"schemaVersion":"0.1",%s"feederId":"%s","gatewayId":"%s","meterSerial":"%s"' % names


def shown(member, root):
    """Return the retained table of a member's neighbours, None before there is one; `root` is the id of this root."""
    if not member.table[0]:
        return None
    data, utc = member.table
    _, parent, leads, hops, cost, channel = struct.unpack_from(">BHHBHB", data, 0)
    rows = []
    for at in range(_TABLE, len(data) - _ROW + 1, _ROW):
        ident, dbm, etx, way = struct.unpack_from(">HbHH", data, at)
        rows.append('{"id":%d,"rssi":%d,"etx":%d.%02d,"cost":%d}' % (ident, dbm, etx // 100, etx % 100, way))
    return '%s,"id":%d,"isRoot":%s,"root":%d,"parent":%d,"hops":%d,"cost":%d,"channel":%d,"neighbours":[%s]}' % (
        _head(member, utc), member.id, "true" if member.id == root else "false", leads, parent, hops, cost, channel,
        ",".join(rows),
    )  # fmt: skip


def report(member, root):
    """Return how a member is, as gateway/report has it: tasks and outlets are left empty."""
    data = member.report[0]
    at = 0
    numbers = []
    for _ in range(21):
        number, at = varint.get(data, at)
        numbers.append(number)
    utc = (numbers[0] + clock.EPOCH * 1000, numbers[1]) if numbers[0] else None
    meters = []
    for _ in range(numbers[20]):
        row = []
        for _ in range(4):
            number, at = varint.get(data, at)
            row.append(number)
        answers = []
        for kind in range(len(proto.NAMES)):
            if row[3] >> kind & 1:
                number, at = varint.get(data, at)
                answers.append('"%s":%d' % (proto.NAMES[kind], number))
        serial = member.names.serial(row[0])
        if serial:
            meters.append(
                '{"serial":"%s","polls":%d,"misses":%d,"answers":{%s}}' % (serial, row[1], row[2], ",".join(answers))
            )
    text = (
        ',"firmware":"%s","config":"%08x","boot":%d,"resetCause":%d,"uptimeS":%d,"clock":"%s",'
        '"heap":{"used":%d,"free":%d,"systemFree":%d,"systemLargest":%d},"journal":{"records":%d,"next":%d,"blocks":%d,'
        '"ring":%d,"laps":%d,"erases":%d,"failed":%d,"lost":%d,"dropped":%d},"tasks":[],"meters":[%s],"outlets":[]}'
    )
    source = [clock.SOURCES[min(numbers[6], len(clock.SOURCES) - 1)]]
    return _head(member, utc) + text % tuple(
        [member.firmware] + numbers[2:6] + source + numbers[7:20] + [",".join(meters)]
    )
