"""lib/hkdf and the keys of a site: RFC 5869, and what a pole is given."""

from lib import hkdf
from lib.mesh import keys

WASM = True


def test_vectors_of_rfc_5869():
    """Appendix A, those with SHA-256."""
    assert hkdf.derive(
        b"\x0b" * 22, bytes(range(0xF0, 0xFA)), 42, bytes(range(13))
    ) == bytes.fromhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    assert hkdf.derive(
        bytes(range(0x50)), bytes(range(0xB0, 0x100)), 82, bytes(range(0x60, 0xB0))
    ) == bytes.fromhex(
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
    )
    assert hkdf.derive(b"\x0b" * 22, b"", 42) == bytes.fromhex(
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_each_use_and_each_node_has_its_own_key():
    secret = bytes(32)
    made = [keys.net(secret, epoch) for epoch in range(4)] + [keys.node(secret, ident) for ident in range(1, 300)]
    assert len(set(made)) == len(made) and all(len(key) == 16 for key in made)
    assert keys.node(secret, 7) != keys.node(secret + b"\1", 7)
    assert 0 <= keys.site(secret) <= 0xFFFF and keys.site(secret) != keys.site(b"\1" + secret[1:])
