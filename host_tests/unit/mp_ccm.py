"""lib/ccm against the vectors of RFC 4493 and RFC 3610."""

import sys

import soft_aes
from lib import ccm

WASM = True

# RFC 4493, section 4
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
CMACS = (
    (0, "bb1d6929e95937287fa37d129b756746"),
    (16, "070a16b46b4d4144f79bdd9dd04a287c"),
    (40, "dfa66747de9ae63030ca32611497c827"),
    (64, "51f0bebf7e3b9d92fc49741779363cfe"),
)

# RFC 3610, section 8: nonce, bytes of additional data, length of the packet, bytes of tag, packet out
CCM_KEY = bytes(range(0xC0, 0xD0))
CCMS = (
    ("00000003020100a0a1a2a3a4a5", 8, 31, 8,
     "0001020304050607588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0"),
    ("00000004030201a0a1a2a3a4a5", 8, 32, 8,
     "000102030405060772c91a36e135f8cf291ca894085c87e3cc15c439c9e43a3ba091d56e10400916"),
    ("00000005040302a0a1a2a3a4a5", 8, 33, 8,
     "000102030405060751b1e5f44a197d1da46b0f8e2d282ae871e838bb64da8596574adaa76fbd9fb0c5"),
    ("00000006050403a0a1a2a3a4a5", 12, 31, 8,
     "000102030405060708090a0ba28c6865939a9a79faaa5c4c2a9d4a91cdac8c96c861b9c9e61ef1"),
    ("00000009080706a0a1a2a3a4a5", 8, 31, 10,
     "00010203040506070135d1b2c95f41d5d1d4fec185d166b8094e999dfed96c048c56602c97acbb7490"),
)  # fmt: skip


def test_cmac_of_rfc_4493():
    cmac = ccm.Cmac(KEY)
    for n, tag in CMACS:
        assert cmac.tag(MESSAGE[:n]) == bytes.fromhex(tag), n
        assert cmac.tag(memoryview(MESSAGE)[:n]) == bytes.fromhex(tag), n


def test_ccm_of_rfc_3610():
    for nonce, aad, n, size, out in CCMS:
        packet, nonce, out = bytes(range(n)), bytes.fromhex(nonce), bytes.fromhex(out)
        assert out[:aad] + ccm.seal(CCM_KEY, nonce, packet[aad:], packet[:aad], size) == out
        assert ccm.open(CCM_KEY, nonce, out[aad:], packet[:aad], size) == packet[aad:]


def test_nothing_opens_that_was_changed_anywhere():
    nonce = bytes(range(13))
    sealed = ccm.seal(KEY, nonce, b"12 kWh")
    assert ccm.open(KEY, nonce, memoryview(sealed)) == b"12 kWh"
    for at in range(len(sealed)):
        for bit in (1, 0x80):
            wrong = bytearray(sealed)
            wrong[at] ^= bit
            assert ccm.open(KEY, nonce, wrong) is None
    for n in range(len(sealed)):
        assert ccm.open(KEY, nonce, sealed[:n]) is None
    assert ccm.open(KEY, bytes(13), sealed) is None
    assert ccm.open(CCM_KEY, nonce, sealed) is None
    assert ccm.open(KEY, nonce, sealed, b"more") is None


def test_every_length_comes_back():
    nonce = bytes(13)
    for n in (0, 1, 15, 16, 17, 31, 32, 33, 206, 216):
        sealed = ccm.seal(KEY, nonce, bytes(n))
        assert len(sealed) == n + 8 and ccm.open(KEY, nonce, sealed) == bytes(n)


def test_the_stand_in_of_this_test_is_aes():
    block = soft_aes.Module.aes(bytes(range(16)), 1).encrypt(bytes.fromhex("00112233445566778899aabbccddeeff"))
    assert block == bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a")  # FIPS 197, appendix C.1
    ours = soft_aes.Module.aes(KEY, 2, bytes(16))
    theirs = sys.modules.get("cryptolib", soft_aes.Module).aes(KEY, 2, bytes(16))
    for _ in range(2):
        assert ours.encrypt(MESSAGE) == theirs.encrypt(MESSAGE)
