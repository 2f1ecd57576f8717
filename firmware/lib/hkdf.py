"""HKDF with SHA-256 (RFC 5869): keys from a secret. Runs in CPython too: the desk derives what the board does."""

import hashlib


def hmac(key, message):
    """Return the 32 bytes of HMAC-SHA256 (RFC 2104)."""
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    key = key + bytes(64 - len(key))
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
    inner.update(message)
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
    outer.update(inner.digest())
    return outer.digest()


def derive(secret, info, size=16, salt=b""):
    """Return `size` bytes (at most 8160) of key for the use that `info` names."""
    key = hmac(salt, secret)
    block = made = b""
    while len(made) < size:
        block = hmac(key, block + info + bytes((len(made) // 32 + 1,)))
        made += block
    return made[:size]
