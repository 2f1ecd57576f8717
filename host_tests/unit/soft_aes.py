"""AES-128 in Python (FIPS 197), encryption only, where a build has no `cryptolib`: import this before lib/ccm.

The 32-bit wasm build is such a one. Slow, and no part of the firmware.
"""

import sys

_ECB, _CBC = 1, 2


def _double(byte):
    return byte << 1 ^ (0x11B if byte & 0x80 else 0)


def _tables():
    """Return the S-box (FIPS 197, 5.1.1), found by walking through the powers of 3 and of its inverse."""
    box = bytearray(256)
    p = q = 1
    while True:
        p = p ^ _double(p)
        for shift in (1, 2, 4):
            q ^= q << shift & 255
        q ^= 0x09 if q & 0x80 else 0
        turned = q
        for shift in (1, 2, 3, 4):
            turned ^= (q << shift | q >> (8 - shift)) & 255
        box[p] = turned ^ 0x63
        if p == 1:
            break
    box[0] = 0x63
    return box


_BOX = _tables()
_TWICE = bytes(_double(byte) for byte in range(256))
_SHIFTED = bytes((0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11))


def _round_keys(key):
    words = bytearray(key)
    rcon = 1
    while len(words) < 176:
        last = words[-4:]
        if len(words) % 16 == 0:
            last = bytes((_BOX[last[1]] ^ rcon, _BOX[last[2]], _BOX[last[3]], _BOX[last[0]]))
            rcon = _double(rcon)
        words += bytes(a ^ b for a, b in zip(last, words[-16:-12]))  # noqa: B905
    return words


class _Aes:
    """What `cryptolib.aes` is, as far as lib/ccm needs it."""

    def __init__(self, key, mode, iv=None):
        if len(key) != 16 or mode not in (_ECB, _CBC) or (mode == _CBC) != (iv is not None):
            raise ValueError("mode, key or IV")
        self._keys = _round_keys(key)
        self._last = bytearray(iv) if iv else None

    def encrypt(self, text):
        if len(text) % 16:
            raise ValueError("blksize % 16")
        out = bytearray()
        for at in range(0, len(text), 16):
            block = bytes(text[at : at + 16])
            if self._last is not None:
                block = bytes(a ^ b for a, b in zip(block, self._last))  # noqa: B905
            block = self._block(block)
            if self._last is not None:
                self._last = block
            out += block
        return bytes(out)

    def _block(self, state):
        keys, box, twice = self._keys, _BOX, _TWICE
        state = bytearray(state)
        for i in range(16):
            state[i] ^= keys[i]
        for at in range(16, 176, 16):
            moved = bytes([box[state[i]] for i in _SHIFTED])
            if at == 160:
                for i in range(16):
                    state[i] = moved[i] ^ keys[160 + i]
                break
            for i in range(0, 16, 4):
                a, b, c, d = moved[i], moved[i + 1], moved[i + 2], moved[i + 3]
                every = a ^ b ^ c ^ d
                state[i] = a ^ every ^ twice[a ^ b] & 255 ^ keys[at + i]
                state[i + 1] = b ^ every ^ twice[b ^ c] & 255 ^ keys[at + i + 1]
                state[i + 2] = c ^ every ^ twice[c ^ d] & 255 ^ keys[at + i + 2]
                state[i + 3] = d ^ every ^ twice[d ^ a] & 255 ^ keys[at + i + 3]
        return bytes(state)


class Module:
    """Stands for the module."""

    aes = _Aes


try:
    import cryptolib  # noqa: F401
except ImportError:
    sys.modules["cryptolib"] = Module
