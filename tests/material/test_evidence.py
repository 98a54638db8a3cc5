from __future__ import annotations

import dataclasses
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from bulk_import.material.evidence import Evidence
from bulk_import.material.secret import Secret
from bulk_import.model import KeySpec
from tests.material.keys import ASYMMETRIC, BYTES, CURVES, key_of, pkcs8, spki

HASHES = {"HMAC_SHA_224": "sha224", "HMAC_SHA_256": "sha256", "HMAC_SHA_384": "sha384", "HMAC_SHA_512": "sha512"}
# RFC 4231, 4.3: key "Jefe", "what do ya want for nothing?"
RFC_4231 = {
    "sha224": "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44",
    "sha256": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    "sha384": "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
    "sha512": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd"
    "caeab1a34d4a6b4b636e070a38bce737",
}


def rfc_2104(key: bytes, message: bytes, digest: str) -> bytes:
    """HMAC written out, as a path of its own."""
    block = hashlib.new(digest).block_size
    padded = (hashlib.new(digest, key).digest() if len(key) > block else key).ljust(block, b"\0")
    inner = hashlib.new(digest, bytes(byte ^ 0x36 for byte in padded) + message).digest()
    return hashlib.new(digest, bytes(byte ^ 0x5C for byte in padded) + inner).digest()


@pytest.mark.parametrize("digest", RFC_4231)
def test_the_tests_own_hmac_keeps_to_rfc_4231(digest: str) -> None:
    assert rfc_2104(b"Jefe", b"what do ya want for nothing?", digest).hex() == RFC_4231[digest]


@pytest.mark.parametrize("spec", [spec for spec in BYTES if spec.hmac])
def test_the_mac_of_hmac_keys(spec: KeySpec, material) -> None:
    evidence = Evidence.prepare(Secret(material(spec)), spec)
    assert evidence.mac_algorithm == spec.value.replace("HMAC_", "HMAC_SHA_")
    mac = rfc_2104(material(spec), evidence.message, HASHES[evidence.mac_algorithm])
    assert evidence.mac_matches(mac)
    assert not evidence.mac_matches(mac[:-1])
    assert not evidence.mac_matches(mac + b"\0")
    assert not evidence.mac_matches(b"")
    assert not evidence.mac_matches(
        rfc_2104(bytes(len(material(spec))), evidence.message, HASHES[evidence.mac_algorithm])
    )
    assert not evidence.public_key_matches(spki(key_of(KeySpec.ECC_NIST_P256)))
    assert 1 <= len(evidence.message) <= 4096  # GenerateMac's limits


def test_every_message_is_new(material) -> None:
    secret = Secret(material(KeySpec.HMAC_256))
    assert len({Evidence.prepare(secret, KeySpec.HMAC_256).message for _ in range(50)}) == 50


@pytest.mark.parametrize("spec", ASYMMETRIC)
def test_the_public_key_of_asymmetric_keys(spec: KeySpec) -> None:
    key, other = key_of(spec), key_of(spec)
    evidence = Evidence.prepare(Secret(pkcs8(key)), spec)
    assert evidence.public_key == spki(key)
    assert evidence.public_key_matches(spki(key))
    for wrong in (spki(other), b"", b"\0", spki(key)[:-1], spki(key) + b"\0", pkcs8(key)):
        assert not evidence.public_key_matches(wrong)
    assert not evidence.mac_matches(b"")
    assert not evidence.mac_matches(hmac.digest(pkcs8(key), b"", "sha256"))


@pytest.mark.parametrize("spec", CURVES)
def test_another_encoding_of_the_same_key_matches(spec: KeySpec) -> None:
    key = ec.generate_private_key(CURVES[spec])
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    uncompressed = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    whole = spki(key)
    algorithm = whole[whole.index(b"\x30", 1) : whole.index(b"\x03", len(whole) - len(uncompressed) - 5)]
    compressed = algorithm + b"\x03" + bytes([len(point) + 1, 0]) + point
    der = b"\x30" + bytes([len(compressed)]) + compressed
    assert der != whole
    assert Evidence.prepare(Secret(pkcs8(key)), spec).public_key_matches(der)


def test_the_vector_of_rfc_8032() -> None:
    seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"  # 7.1, test 1
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    key = bytes.fromhex("302e020100300506032b657004220420" + seed)
    evidence = Evidence.prepare(Secret(key), KeySpec.ECC_NIST_EDWARDS25519)
    assert evidence.public_key.hex() == "302a300506032b6570032100" + public


def test_symmetric_keys_leave_nothing_to_match(material) -> None:
    evidence = Evidence.prepare(Secret(material(KeySpec.SYMMETRIC_DEFAULT)), KeySpec.SYMMETRIC_DEFAULT)
    assert not evidence.mac_matches(b"")
    assert not evidence.public_key_matches(b"")


@pytest.mark.parametrize("spec", KeySpec)
def test_evidence_outlives_the_material_and_holds_none_of_it(spec: KeySpec, material) -> None:
    with Secret(material(spec)) as secret:
        evidence = Evidence.prepare(secret, spec)
    held = b"".join(
        value if isinstance(value, bytes) else str(value).encode() for value in dataclasses.astuple(evidence)
    )
    for part in _private_parts(material(spec), spec):
        assert not any(part[at : at + 12] in held for at in range(len(part) - 11))


def _private_parts(data: bytes, spec: KeySpec) -> list[bytes]:
    """What must not be revealed of the material; PKCS#8 holds the public key too."""
    if spec in BYTES:
        return [data]
    key = load_der_private_key(data, None)
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        values = (numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp)
        return [value.to_bytes((value.bit_length() + 7) // 8, "big") for value in values]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return [key.private_numbers().private_value.to_bytes(66, "big").lstrip(b"\0")]
    return [data[-32:]]
