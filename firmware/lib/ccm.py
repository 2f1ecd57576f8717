"""AES-CMAC (RFC 4493) and AES-CCM with a two-byte length (RFC 3610) from cryptolib's ECB and CBC.

    ccm.seal(key, nonce, b"text")           # ciphertext and tag
    ccm.open(key, nonce, sealed)            # the text, or None when it is not whole
    ccm.Cmac(key).tag(b"message")           # 16 bytes

The ports have no CTR mode compiled in. CBC of a whole message in one call is its MAC, ECB of all counter blocks in one
call is its key stream: the loop over the blocks runs in C.
"""

from cryptolib import aes
from micropython import const

_ECB = const(1)
_CBC = const(2)
_ZERO = b"\0" * 16


def _xor(a, b):
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


class Cmac:
    """The MAC under one key of 16 bytes."""

    def __init__(self, key):
        self._key = key
        last = aes(key, _ECB).encrypt(_ZERO)
        self._subkeys = []  # K1 for a message of whole blocks, K2 for any other (RFC 4493, 2.3)
        for _ in range(2):
            doubled = int.from_bytes(last, "big") << 1
            if last[0] & 0x80:
                doubled ^= 0x87
            last = (doubled & (1 << 128) - 1).to_bytes(16, "big")
            self._subkeys.append(last)

    def tag(self, message):
        """Return the 16 bytes of tag of a bytes-like message (RFC 4493, 2.4)."""
        n = len(message)
        padded = bytearray((n + 15) // 16 * 16 or 16)
        padded[:n] = message
        whole = n == len(padded)
        if not whole:
            padded[n] = 0x80
        padded[-16:] = _xor(padded[-16:], self._subkeys[not whole])
        return aes(self._key, _CBC, _ZERO).encrypt(padded)[-16:]


def _tag(key, nonce, text, aad, size):
    """Return the tag of RFC 3610, 2.2, not yet encrypted."""
    n = len(text)
    first = bytearray(((64 if aad else 0) | (size - 2) // 2 << 3 | 1,)) + nonce + bytes((n >> 8, n & 255))
    if aad:
        first += bytes((len(aad) >> 8, len(aad) & 255))
        first += aad
        first += bytes(-len(first) % 16)
    first += text
    first += bytes(-len(first) % 16)
    return aes(key, _CBC, _ZERO).encrypt(first)[-16:]


def _stream(key, nonce, n):
    """Return the key stream: 16 bytes for the tag, then at least `n` for the text (RFC 3610, 2.3)."""
    blocks = bytearray(n + 31 & ~15)
    head = bytes((1,)) + nonce
    for at in range(0, len(blocks), 16):
        blocks[at : at + 14] = head
        blocks[at + 15] = at >> 4
    return aes(key, _ECB).encrypt(blocks)


def seal(key, nonce, text, aad=b"", size=8):
    """Return the ciphertext of at most 4064 bytes followed by a tag of `size` bytes; the nonce has 13."""
    n = len(text)
    stream = _stream(key, nonce, n)
    return _xor(text, stream[16 : 16 + n]) + _xor(_tag(key, nonce, text, aad, size)[:size], stream[:size])


def open(key, nonce, sealed, aad=b"", size=8):
    """Return the text, or None when the tag does not fit: nothing of it may be used then."""
    n = len(sealed) - size
    if n < 0:
        return None
    stream = _stream(key, nonce, n)
    text = _xor(sealed[:n], stream[16 : 16 + n])
    # as integers, in one comparison: where two tags differ first is not to be seen in the time
    tag = _xor(_tag(key, nonce, text, aad, size)[:size], stream[:size])
    return text if int.from_bytes(_xor(tag, sealed[n:]), "big") == 0 else None
