"""The peer of the benchmark: managed flooding with a hop limit, as Meshtastic's firmware does it.

Who hears a packet for the first time sends it again after a random delay, the shorter the weaker it was heard (who is
far away goes first), unless it hears another's copy before. Packets start with the largest hop limit there, 7. What
has to arrive is acknowledged by its receiver with a packet of its own, and sent again until it is; beyond the three
times that are usual there, since readings are to be kept until they have arrived. Nothing is sealed and no time is
carried: both would only cost it.

Meshtastic: "Mesh Broadcast Algorithm"; RadioInterface::getTxDelayMsecWeighted (contention windows 3 to 8 by SNR).

Packet, big endian: kind 1 · origin 2 · to 2 (FFFF any root) · id 4 · hops left 1 · payload
"""

import random

HOPS = 7
ROOTS = 0xFFFF
DATA, ACK, COMMAND, RESULT = 1, 2, 3, 4
SLOT_MS = 2  # the time of a packet on the air
WINDOW_MIN, WINDOW_MAX = 3, 8
WEAK, STRONG = -94, -60  # dBm of the smallest and the largest window
SEEN = 256
OUTSTANDING = 4
AGAIN_MS, AGAIN_LIMIT_MS = 4000, 120000
MERGE_MS = 300
QUEUE = 32
_WRAP = 1 << 30
ROOM = 200


def _late(now, then):
    """Return whether `then` is over, in ms that wrap."""
    return (now - then) & (_WRAP - 1) < _WRAP // 2


def look(frame):
    """Return what a frame is to the judge: is it a beacon, its origin, hops taken, its key, which repetition it is."""
    kind = frame[0]
    key = frame[1:3] + frame[10:14] if kind & 15 == DATA else None
    return False, frame[1] << 8 | frame[2], HOPS - frame[9], key, kind >> 4


def hops(node):
    """Return 0: nobody knows."""
    return 0


class Node:
    """One member of the mesh; the calls are those of lib/mesh."""

    room = ROOM
    parent = None

    def __init__(self, conf, keys, app, rand):
        self.id, self.root, self.app, self.rand = conf.id, conf.root, app, rand
        self._number = conf.epoch << 16
        self._queue = []  # [due, packet, key]
        self._seen, self._order = set(), []
        self._mine = {}  # number: [payload, due, wait, packet id]
        self._acks = {}  # origin: [due, numbers]
        self._commands = {}  # ident: [dst, payload, due, wait, left]
        self._results = {}
        self._known = set()  # (origin, number) that a root has taken

    # the radio

    def on_rx(self, frame, rssi, now, mac):
        """A packet was heard."""
        origin, to, key = frame[1] << 8 | frame[2], frame[3] << 8 | frame[4], bytes(frame[5:9])
        if origin == self.id:
            return
        if key in self._seen:
            self._queue = [one for one in self._queue if one[2] != key]
            return
        self._note(key)
        if to == self.id or (to == ROOTS and self.root):
            self._handle(frame[0] & 15, origin, frame[10:], now)
        elif frame[9]:
            packet = bytearray(frame)
            packet[9] -= 1
            share = max(0, min(STRONG - WEAK, rssi - WEAK))
            window = WINDOW_MIN + (WINDOW_MAX - WINDOW_MIN) * share // (STRONG - WEAK)
            delay = (2 * WINDOW_MAX + self.rand(1 << window)) * SLOT_MS
            if len(self._queue) < QUEUE:
                self._queue.append([(now + delay) & (_WRAP - 1), packet, key])

    def on_sent(self, ok, now):
        """A packet has gone."""

    def tick(self, now):
        """Do what is due; return the ms until the next is."""
        for number in self._mine:
            one = self._mine[number]
            if _late(now, one[1]):
                self._send(DATA | (16 if one[2] > AGAIN_MS else 0), ROOTS, number.to_bytes(4, "big") + one[0], now)
                one[1] = (now + one[2] + self.rand(one[2] // 2)) & (_WRAP - 1)
                one[2] = min(2 * one[2], AGAIN_LIMIT_MS)
        for origin in list(self._acks):
            due, numbers = self._acks[origin]
            if _late(now, due):
                del self._acks[origin]
                self._send(ACK, origin, b"".join(number.to_bytes(4, "big") for number in numbers[:40]), now)
        for ident in list(self._commands):
            one = self._commands[ident]
            if not one[4]:
                del self._commands[ident]
                self.app.unreached(one[0], ident)
            elif _late(now, one[2]):
                self._send(COMMAND, one[0], ident.to_bytes(4, "big") + one[1], now)
                one[2], one[3], one[4] = (now + one[3]) & (_WRAP - 1), 2 * one[3], one[4] - 1
        wait = 1000
        for due in [one[0] for one in self._queue] + [one[1] for one in self._mine.values()]:
            wait = 0 if _late(now, due) else min(wait, (due - now) & (_WRAP - 1))
        return wait

    def next(self, now):
        """Return (None, packet) that is due, or None."""
        for i, one in enumerate(self._queue):
            if _late(now, one[0]):
                del self._queue[i]
                return None, one[1]
        return None

    # the application

    def offer(self, number, payload, now):
        """Take a batch, unless four are on their way."""
        if len(self._mine) >= OUTSTANDING:
            return False
        self._mine[number] = [bytes(payload), now, AGAIN_MS]
        return True

    def confirm(self, origin, number, now):
        """The broker has it."""
        if origin in self._acks:
            self._acks[origin][1].append(number)
        else:
            self._acks[origin] = [(now + MERGE_MS) & (_WRAP - 1), [number]]

    def command(self, dst, ident, expiry_s, payload, now):
        """Send a command, four times at most."""
        self._commands[ident] = [dst, bytes(payload), now, 3000, 4]
        return True

    def set_time(self, ms, stratum, now):
        """No time is carried."""

    # inside

    def _note(self, key):
        self._seen.add(key)
        self._order.append(key)
        if len(self._order) > SEEN:
            self._seen.discard(self._order.pop(0))

    def _send(self, kind, to, payload, now):
        self._number += 1
        key = self.id.to_bytes(2, "big") + (self._number & 0xFFFF).to_bytes(2, "big")
        self._note(key)
        head = bytes((kind, self.id >> 8, self.id & 255, to >> 8, to & 255))
        self._queue.append([now, bytearray(head + key + bytes((HOPS,)) + payload), key])

    def _handle(self, kind, origin, body, now):
        number = int.from_bytes(body[:4], "big")
        if kind == DATA:
            if (origin, number) in self._known:
                self.confirm(origin, number, now)
            elif self.app.received(origin, number, 0, body[4:]):
                self._known.add((origin, number))
        elif kind == ACK:
            for at in range(0, len(body), 4):
                number = int.from_bytes(body[at : at + 4], "big")
                if self._mine.pop(number, None):
                    self.app.acked(number)
        elif kind == COMMAND:
            if number not in self._results:
                self._results[number] = self.app.command(number, body[4:])
            self._send(RESULT, ROOTS, body[:4] + self._results[number], now)
        elif kind == RESULT and self._commands.pop(number, None):
            self.app.result(origin, number, body[4:])


def make(conf, pole):
    """Return the node of a gateway."""
    return Node(conf, None, pole, random.randrange)
