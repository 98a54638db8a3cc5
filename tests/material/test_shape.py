"""What is material of a key spec, and what is refused before a permit is spent on it."""

from __future__ import annotations

import os
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_import.errors import MaterialError
from bulk_import.material import shape
from bulk_import.material.secret import Secret
from bulk_import.model import KeySpec
from tests.material.keys import ASYMMETRIC, BYTES, CURVES, RSA_BITS, assert_silent, pkcs8, spki


def refused(data: bytes, spec: KeySpec) -> MaterialError:
    with pytest.raises(MaterialError) as caught:
        shape.check(Secret(data), spec)
    assert_silent(caught.value, data)
    return caught.value


@pytest.mark.parametrize("spec", KeySpec)
def test_good_material_passes_for_its_own_spec_and_no_other(spec: KeySpec, material) -> None:
    shape.check(Secret(material(spec)), spec)
    for other in KeySpec:
        if BYTES.get(other, other) != BYTES.get(spec, spec):
            assert refused(material(spec), other).code in ("MaterialInvalid", "MaterialWrongLength")


# --- AES and HMAC ---------------------------------------------------------------------------------------------------


@given(st.sampled_from(list(BYTES)), st.binary(max_size=140))
def test_the_length_is_exact(spec: KeySpec, data: bytes) -> None:
    if len(data) == BYTES[spec]:
        return
    error = refused(data, spec)
    assert error.code == "MaterialWrongLength"
    assert f"takes {BYTES[spec]} bytes" in error.message
    assert f"this has {len(data)}" in error.message


@pytest.mark.parametrize(
    ("length", "guess"), [(64, "hex"), (65, "hex"), (44, "base64"), (45, "base64"), (33, "newline"), (34, "newline")]
)
def test_a_wrong_length_says_what_it_looks_like(length: int, guess: str) -> None:
    assert guess in refused(os.urandom(length), KeySpec.SYMMETRIC_DEFAULT).message


@pytest.mark.parametrize("byte", [0x00, 0x41, 0xFF])
@pytest.mark.parametrize("spec", BYTES)
def test_one_byte_repeated_is_no_key(byte: int, spec: KeySpec) -> None:
    length = BYTES[spec]
    with pytest.raises(MaterialError) as caught:
        shape.check(Secret(bytes([byte]) * length), spec)
    assert caught.value.code == "MaterialInvalid"
    shape.check(Secret(bytes([byte]) * (length - 1) + bytes([byte ^ 1])), spec)


# --- RSA and ECC ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ASYMMETRIC)
def test_bytes_around_or_missing_are_refused(spec: KeySpec, material) -> None:
    data = material(spec)
    for damaged in (data + b"\0", data + b"\n", data + data, data[:-1], data[1:], b"\0" + data, b"", b"\x30", data[:2]):
        assert refused(damaged, spec).code == "MaterialInvalid"


@pytest.mark.parametrize("spec", ASYMMETRIC)
def test_lengths_that_are_ber_but_not_der_are_refused(spec: KeySpec, material) -> None:
    data = material(spec)
    header = 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
    content = data[header:]
    for length in (b"\x84" + len(content).to_bytes(4, "big"), b"\x83" + len(content).to_bytes(3, "big")):
        assert refused(b"\x30" + length + content, spec).code == "MaterialInvalid"
    assert refused(b"\x30\x80" + content + b"\0\0", spec).code == "MaterialInvalid"


@pytest.mark.parametrize("spec", [*CURVES, *RSA_BITS])
def test_the_traditional_form_is_refused(spec: KeySpec, material) -> None:
    der = subprocess.run(
        ["openssl", "pkey", "-inform", "DER", "-outform", "DER", "-traditional"],
        input=material(spec),
        capture_output=True,
        check=True,
    ).stdout
    assert "traditional" in refused(der, spec).message


def test_what_is_no_plain_private_key_is_named() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encrypted = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))
    assert "encrypted" in refused(encrypted, KeySpec.ECC_NIST_P256).message
    assert "a public key" in refused(spki(key), KeySpec.ECC_NIST_P256).message
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert refused(pem, KeySpec.ECC_NIST_P256).code == "MaterialInvalid"
    assert refused(os.urandom(138), KeySpec.ECC_NIST_P256).code == "MaterialInvalid"


def test_a_public_key_or_attributes_beside_the_private_key_are_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    der, public = pkcs8(key), key.public_key().public_bytes_raw()
    version_2 = b"\x30\x51\x02\x01\x01" + der[5:] + b"\x81\x21\x00" + public  # RFC 8410, 10.3
    assert "more than the private key" in refused(version_2, KeySpec.ECC_NIST_EDWARDS25519).message
    attributes = b"\x30\x30" + der[2:] + b"\xa0\x00"
    assert "more than the private key" in refused(attributes, KeySpec.ECC_NIST_EDWARDS25519).message


def test_explicit_curve_parameters_are_refused_even_of_a_named_curve() -> None:
    explicit = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-param_enc", "explicit"]
    key = subprocess.run(explicit, capture_output=True, check=True).stdout
    to_der = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER"]
    der = subprocess.run(to_der, input=key, capture_output=True, check=True).stdout
    assert "named" in refused(der, KeySpec.ECC_NIST_P256).message


@pytest.mark.parametrize("spec", CURVES)
def test_a_key_without_its_public_point_is_a_private_key_too(spec: KeySpec) -> None:
    key = ec.generate_private_key(CURVES[spec])
    der = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER"],
        input=subprocess.run(
            ["openssl", "ec", "-inform", "DER", "-no_public"], input=pkcs8(key), capture_output=True, check=True
        ).stdout,
        capture_output=True,
        check=True,
    ).stdout
    assert len(der) < len(pkcs8(key))
    shape.check(Secret(der), spec)


@pytest.mark.parametrize("spec", CURVES)
def test_another_keys_public_point_inside_is_refused(spec: KeySpec) -> None:
    one, other = (pkcs8(ec.generate_private_key(CURVES[spec])) for _ in "ab")
    half = (CURVES[spec].key_size + 7) // 8 * 2
    assert refused(one[:-half] + other[-half:], spec).code == "MaterialInvalid"


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (ed448.Ed448PrivateKey.generate, "Ed448"),
        (x25519.X25519PrivateKey.generate, "X25519"),
        (lambda: ec.generate_private_key(ec.BrainpoolP256R1()), "brainpoolP256r1"),
        (lambda: ec.generate_private_key(ec.SECP224R1()), "secp224r1"),
        (lambda: ec.generate_private_key(ec.BrainpoolP384R1()), "brainpoolP384r1"),
        (lambda: dsa.generate_private_key(2048), "DSA"),
    ],
)
def test_algorithms_that_kms_does_not_import(make, name: str) -> None:
    data = pkcs8(make())
    for spec in ASYMMETRIC:
        assert name in refused(data, spec).message


def test_the_message_names_what_the_key_is(material) -> None:
    assert "ECC_NIST_P384" in refused(material(KeySpec.ECC_NIST_P384), KeySpec.ECC_NIST_P256).message
    assert "2048 bits" in refused(material(KeySpec.RSA_2048), KeySpec.RSA_4096).message


def test_an_rsa_key_a_little_shorter_is_no_rsa_2048() -> None:
    key = rsa.generate_private_key(65537, 2040)  # noqa: S505 - the point of the test
    assert "2040 bits" in refused(pkcs8(key), KeySpec.RSA_2048).message


def _numbers(p: int, q: int, e: int, d: int, **changed: int) -> rsa.RSAPrivateKey:
    parts = {"p": p, "q": q, "d": d, "dmp1": d % (p - 1), "dmq1": d % (q - 1), "iqmp": pow(q, -1, p), **changed}
    public = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(**parts, public_numbers=public).private_key(unsafe_skip_rsa_key_validation=True)


def test_a_composite_prime_is_found(rsa_of) -> None:
    numbers = rsa_of(2048).private_numbers()
    composite = numbers.p
    while True:
        composite -= 2  # the key is consistent in every equation, and still no key
        try:
            d = pow(65537, -1, (composite - 1) * (numbers.q - 1))
            damaged = _numbers(composite, numbers.q, 65537, d)
        except ValueError:
            continue
        if damaged.key_size == 2048:
            break
    assert "do not belong together" in refused(pkcs8(damaged), KeySpec.RSA_2048).message


@given(st.data())
@settings(
    max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_any_damaged_byte_of_an_rsa_key_is_found(material, data: st.DataObject) -> None:
    key = bytearray(material(KeySpec.RSA_2048))
    key[data.draw(st.integers(0, len(key) - 1))] ^= data.draw(st.integers(1, 255))
    assert refused(bytes(key), KeySpec.RSA_2048).code == "MaterialInvalid"


@given(st.data())
@settings(
    max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_any_damaged_byte_of_an_ec_key_is_found(material, data: st.DataObject) -> None:
    good = material(KeySpec.ECC_NIST_P256)
    key = bytearray(good)
    key[data.draw(st.integers(0, len(key) - 1))] ^= data.draw(st.integers(1, 255))
    if key[73] in (6, 7) and good[:73] + good[74:] == key[:73] + key[74:]:
        return  # the point's hybrid form (SEC 1, 2.3.3): one flip away, and the same key still
    assert refused(bytes(key), KeySpec.ECC_NIST_P256).code == "MaterialInvalid"


@given(st.binary(max_size=300), st.sampled_from(ASYMMETRIC))
def test_whatever_comes_is_refused_in_silence(data: bytes, spec: KeySpec) -> None:
    assert refused(b"\x30" + data, spec).code == "MaterialInvalid"
