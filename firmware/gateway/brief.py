"""What a member of the mesh tells of itself, in one frame each: needed when it is due.

A root makes messages of it (gateway/telling).

    report  = utc, bound, config, boot, cause, uptime s, source, 4 of the heap, 9 of the journal; count of meters, then
              of each: slot, polls, misses, bits of the kinds of answers, and how many of each             varints
    table   = flags u8, parent u16, root u16, hops u8, cost u16, channel u8; then of each neighbour: id u16, dBm i8,
              etx x 100 u16, cost to its root u16                                                          big endian

utc is in ms since 2024, 0 while it is not known; flags: 1 the clock is trusted, 2 the journal is in memory.
"""
import gc
import struct

import esp32
import machine

from gateway import clock
from lib import once, varint

_ROOM = 205  # of a frame


def table(node, trusted, volatile, channel):
    """Return the way that is used, and who is heard how well."""
    flags = (1 if trusted else 0) | (2 if volatile else 0)
    routes = node.routes
    head = struct.pack(">BHHBHB", flags, node.parent_id(), routes.root, routes.hops(), routes.cost(), channel)
    rows = [struct.pack(">HbHH", one[0], max(-128, one[1]), one[2], one[3]) for one in node.neighbours()]
    return head + b"".join(rows)


def report(gateway):
    """Return how the gateway is; meters that do not fit into the frame are left out."""
    now = gateway.clock.now()
    regions = esp32.idf_heap_info(esp32.HEAP_DATA)
    journal, stats = gateway.journal, gateway.journal.stats
    numbers = [
        now[0] - clock.EPOCH * 1000 if now else 0, now[1] if now else 0, once.call("gateway.parsed", "kept")[0],
        gateway.recorder.boot, machine.reset_cause(), clock.uptime_ms() // 1000, gateway.clock.source,
        gc.mem_alloc(), gc.mem_free(), sum([one[1] for one in regions]), max([one[2] for one in regions]),
        journal.next - journal.first, journal.next, max(0, journal.head + 1 - journal.tail), journal._ring,
        (journal.head + 1) // journal._ring, stats["erases"], stats["failed"], stats["lost"], gateway.recorder.dropped,
    ]  # fmt: skip
    buf = bytearray(_ROOM)
    at = 0
    for number in numbers:
        at = varint.put(buf, at, number)
    count = at
    at += 1
    for meter in [meter for bus in gateway.buses for meter in bus.meters]:
        counts = meter.session.counts if meter.session else ()
        kinds = [kind for kind in range(len(counts)) if counts[kind]]
        row = [meter.slot, meter.polls, meter.misses, sum([1 << kind for kind in kinds])]
        try:
            end = at
            for number in row + [counts[kind] for kind in kinds]:
                end = varint.put(buf, end, number)
        except IndexError:
            break
        at = end
        buf[count] += 1
    return bytes(memoryview(buf)[:at])
