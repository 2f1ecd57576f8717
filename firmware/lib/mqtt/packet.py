"""MQTT 3.1.1 packets without any I/O: each function returns one packet to send, a Decoder takes apart what came in.

    decoder = Decoder(1024)
    decoder.filled(sock.readinto(decoder.room()))
    kind = decoder.next()           # PUBLISH: see decoder.topic, .msg, .pid; 0: more bytes are needed

Numbers in brackets are sections of the OASIS standard of 29 October 2014. QoS 2 is not spoken. What only the begin of
a connection needs stands in hello.py.
"""

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13  # types of packets from the broker (2.2.1)
OVERSIZE = 15  # what the decoder calls a PUBLISH that is longer than its limit; reserved on the wire
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


class Malformed(Exception):
    """The broker sent what MQTT 3.1.1 does not allow, or what was never asked for; the text says what."""


def new(first, length, more=0):
    """Return a packet with its fixed header filled in and `length` bytes to follow, and `more` behind it (2.2)."""
    n, rest = 1, length + more
    while rest > 127:
        n += 1
        rest >>= 7
    packet = bytearray(1 + n + length)
    length += more
    packet[0] = first
    for i in range(1, n):
        packet[i] = length & 127 | 128
        length >>= 7
    packet[n] = length
    return packet


def puback(pid):
    """Return a PUBACK (3.4)."""
    return bytes((0x40, 2, pid >> 8, pid & 255))


def publish(topic, msg, retain, qos, pid, more=0):
    """Return a PUBLISH (3.3) of two memoryviews, made in one piece; `pid` is used with QoS 1 only.

    `more` bytes of the message are not in `msg` and follow the packet.
    """
    n = len(topic)
    length = 2 + n + 2 * qos + len(msg)
    packet = new(0x30 | qos << 1 | bool(retain), length, more)
    at = len(packet) - length
    packet[at] = n >> 8
    packet[at + 1] = n & 255
    at += 2 + n
    packet[at - n : at] = topic
    if qos:
        packet[at] = pid >> 8
        packet[at + 1] = pid & 255
        at += 2
    packet[at:] = msg
    return packet


class Decoder:
    """Cuts the broker's bytes into packets; needs no memory beyond `limit` bytes, the longest packet that it takes.

    After `next()`: topic, msg (bytes) and pid (0 with QoS 0) of a PUBLISH, pid of an OVERSIZE, PUBACK or SUBACK, code
    of a CONNACK, or the highest of a SUBACK (128: refused), session (of a CONNACK: 1 when the broker had kept it).
    """

    def __init__(self, limit):
        self._buf = memoryview(bytearray(limit))
        self.reset()

    def reset(self):
        """Forget everything: a new connection begins."""
        self._at = self._end = 0  # the bytes not yet taken
        self._skip = 0  # bytes to be thrown away first
        self._after = -1  # then comes the packet id of a PUBLISH, then so many bytes to be thrown away; -1 = no id

    def room(self):
        """Return the memoryview for the next bytes, never empty after `next()` returned 0; then call `filled`."""
        n = self._end - self._at
        self._buf[:n] = self._buf[self._at : self._end]
        self._at, self._end = 0, n
        return self._buf[n:]

    def filled(self, n):
        """Say that `n` bytes were put at the start of `room()`."""
        self._end += n

    def _pair(self, at):
        return self._buf[at] << 8 | self._buf[at + 1]

    def _id(self, at):
        self.pid = self._pair(at)
        if not self.pid:
            raise Malformed("packet id 0")

    def next(self):
        """Take one packet and return its type, 0 when it is not complete; Malformed ends the connection."""
        buf, end = self._buf, self._end
        n = min(self._skip, end - self._at)
        self._skip -= n
        self._at += n
        at = self._at + 1
        if self._after >= 0:
            if at >= end:
                return 0
            self._at += 2
            self._skip, self._after = self._after, -1
            self._id(at - 1)
            return OVERSIZE
        length = shift = 0
        while True:  # the remaining length (2.2.3)
            if at >= end:
                return 0
            byte = buf[at]
            at += 1
            length |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 21:
                raise Malformed("length")
        first = buf[self._at]
        kind = first >> 4
        stop = at + length
        topic = 0
        if kind == PUBLISH:
            if end - at < 2:
                return 0
            topic = self._pair(at)
            at += 2 + topic
            good = topic and at + (first & 2) <= stop and not first & 4  # the QoS bit counts 2, as long as the id
        elif kind == SUBACK:
            good = 2 < length < len(buf) - 3
        else:
            good = length == (0 if kind == PINGRESP else 2) and kind in (CONNACK, PUBACK, PINGRESP)
        if not good or kind != PUBLISH and first & 15:
            raise Malformed("packet %02x of %d bytes" % (first, length))
        if stop - self._at > len(buf):  # only its id is picked out: not acknowledged, it would come again and again
            self._at = at - topic
            self._skip = topic
            self.pid = 0
            if first & 2:
                self._after = stop - at - 2
                return self.next()
            self._skip = stop - self._at
            return OVERSIZE
        if stop > end:
            return 0
        self._at = stop
        if kind == PUBLISH:
            self.topic = bytes(buf[at - topic : at])
            self.pid = 0
            if first & 2:
                self._id(at)
                at += 2
            self.msg = bytes(buf[at:stop])
        elif kind == CONNACK:
            self.session, self.code = buf[at], buf[at + 1]
        elif length:
            self._id(at)
            self.code = max(buf[at + 2 : stop]) if length > 2 else 0
        return kind
