"""The keys of a site, from its secret; a pole is given the first two and its own, and never the secret.

Runs in CPython too, for whoever provisions a board.
"""

from lib.hkdf import derive


def site(secret):
    """Return the number of the site, 0..65535: what its frames are told by."""
    return int.from_bytes(derive(secret, b"site", 2), "big")


def net(secret, epoch=0):
    """Return K_net, the 16 bytes with which all members sign each hop; a new key epoch (0..3) is a new key."""
    return derive(secret, b"net" + bytes((epoch,)))


def node(secret, ident):
    """Return K_node, the 16 bytes that one member shares with the roots."""
    return derive(secret, b"node" + bytes((ident >> 8, ident & 255)))
