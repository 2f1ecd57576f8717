"""The keys of a site's mesh, made of one secret of 32 random bytes: HKDF with SHA-256 (RFC 5869).

A root has the secret. A pole is given its site's number, `net` and its own `node`, and nothing from which another's
could be made.
"""

import hashlib
import hmac


def derive(secret: bytes, info: bytes, size: int = 16, salt: bytes = b"") -> bytes:
    """Return `size` bytes, at most 8160, for the use that `info` names (RFC 5869, 2.2 and 2.3)."""
    key = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    block = made = b""
    while len(made) < size:
        block = hmac.digest(key, block + info + bytes((len(made) // 32 + 1,)), hashlib.sha256)
        made += block
    return made[:size]


def site(secret: bytes) -> int:
    """Return the number by which a site's frames are told from a neighbour's: 0 to 65535."""
    return int.from_bytes(derive(secret, b"site", 2), "big")


def net(secret: bytes, epoch: int = 0) -> bytes:
    """Return the 16 bytes that all members of the mesh share; `epoch` 0 to 3 is that of the key."""
    return derive(secret, b"net" + bytes((epoch,)))


def node(secret: bytes, ident: int) -> bytes:
    """Return the 16 bytes that the member `ident`, 0 to 65535, shares with the roots alone."""
    return derive(secret, b"node" + ident.to_bytes(2, "big"))
