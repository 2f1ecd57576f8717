"""Packets at the begin of a connection, needed once for each: CONNECT and SUBSCRIBE; and why there is none.

Numbers in brackets are sections of the OASIS standard of MQTT 3.1.1.
"""
from lib.mqtt.packet import new

_FAULTS = ("trusted CA", "authority"), ("expected CN", "name"), ("validity", "dates")
_REFUSED = "", "protocol version", "client id", "server unavailable", "user name or password", "not authorised"


def _text(text):
    text = bytes(memoryview(text))  # of a str its UTF-8
    return bytes((len(text) >> 8, len(text) & 255)) + text


def _packet(first, body):
    packet = new(first, len(body))
    packet[-len(body) :] = body
    return packet


def connect(client_id, user, password, keepalive, will):
    """Return a CONNECT (3.1) that keeps its session; `will` is None or (topic, msg, retain, qos), `keepalive` in s."""
    flags = 0
    texts = [client_id]
    if will:
        topic, msg, retain, qos = will
        flags = 4 | qos << 3 | bool(retain) << 5
        texts += topic, msg
    if user is not None:
        flags |= 128
        texts.append(user)
        if password is not None:  # never without a user name (MQTT-3.1.2-22)
            flags |= 64
            texts.append(password)
    body = b"\x00\x04MQTT\x04" + bytes((flags, keepalive >> 8, keepalive & 255))
    return _packet(0x10, body + b"".join([_text(text) for text in texts]))


def subscribe(pid, topics):
    """Return one SUBSCRIBE (3.8) for all of {topic: qos}."""
    body = bytes((pid >> 8, pid & 255))
    for topic, qos in topics.items():
        body += _text(topic) + bytes((qos,))
    return _packet(0x82, body)


def refusal(why, stats):
    """Return in words what the return code of a CONNACK says (3.2.2.3), or the ValueError of a TLS handshake.

    The latter is also counted in `stats`, by what is wrong with the certificate: authority, name, dates, other.
    """
    if not isinstance(why, ValueError):
        return "refused: " + (_REFUSED[why] if why < len(_REFUSED) else str(why))
    text = " ".join(str(why).split())  # mbedTLS has a line for each fault
    kinds = [kind for words, kind in _FAULTS if words in text] or ["other"]
    for kind in kinds:
        stats[kind] = stats.get(kind, 0) + 1
    return "refused: " + text
