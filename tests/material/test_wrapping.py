"""Every seal is opened by something that is not the product: openssl, and RFC 5649 written out in keys.py."""

from __future__ import annotations

import os
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_import.errors import TargetError
from bulk_import.material.secret import Secret
from bulk_import.material.wrapping import default_algorithm, refusal, seal
from bulk_import.model import KeySpec, WrappingAlgorithm, WrappingKeySpec
from tests.material.keys import BYTES, RSA_BITS, assert_silent, open_kwp, open_oaep, spki

WA, WK = WrappingAlgorithm, WrappingKeySpec
BITS = {WK.RSA_2048: 2048, WK.RSA_3072: 3072, WK.RSA_4096: 4096}
DIGEST = {
    WA.RSAES_OAEP_SHA_1: "sha1",
    WA.RSAES_OAEP_SHA_256: "sha256",
    WA.RSA_AES_KEY_WRAP_SHA_1: "sha1",
    WA.RSA_AES_KEY_WRAP_SHA_256: "sha256",
}
OAEP = {WA.RSAES_OAEP_SHA_1, WA.RSAES_OAEP_SHA_256}
# What AWS allows, written out here a second time:
# https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-get-public-key-and-token.html
ALLOWED = {
    (spec, algorithm, wrapping)
    for spec in KeySpec
    for algorithm in WA
    for wrapping in WK
    if (spec in BYTES and algorithm in OAEP)
    or (spec in RSA_BITS and algorithm not in OAEP)
    or (
        spec.value.startswith("ECC_")
        and not (spec is KeySpec.ECC_NIST_P521 and wrapping is WK.RSA_2048 and algorithm in OAEP)
    )
}


def opened(key: rsa.RSAPrivateKey, sealed: bytes, algorithm: WA) -> bytes:
    if algorithm in OAEP:
        return open_oaep(key, sealed, DIGEST[algorithm])
    size = key.key_size // 8
    kek = open_oaep(key, sealed[:size], DIGEST[algorithm])
    assert len(kek) == 32
    return open_kwp(kek, sealed[size:])


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapping", WK)
@pytest.mark.parametrize("algorithm", WA)
@pytest.mark.parametrize("spec", KeySpec)
def test_the_table_is_aws(spec: KeySpec, algorithm: WA, wrapping: WK) -> None:
    reason = refusal(spec, algorithm, wrapping)
    assert (reason is None) == ((spec, algorithm, wrapping) in ALLOWED)
    assert reason is None or algorithm in reason


@pytest.mark.parametrize("wrapping", WK)
@pytest.mark.parametrize("spec", KeySpec)
def test_the_default_is_the_strongest_and_always_allowed(spec: KeySpec, wrapping: WK) -> None:
    wanted = WA.RSAES_OAEP_SHA_256 if spec in BYTES else WA.RSA_AES_KEY_WRAP_SHA_256
    assert default_algorithm(spec) is wanted
    assert refusal(spec, None, wrapping) is None


def test_the_reason_says_what_to_take() -> None:
    assert "RSA_AES_KEY_WRAP_SHA_256" in str(refusal(KeySpec.RSA_2048, WA.RSAES_OAEP_SHA_256, WK.RSA_4096))
    reason = str(refusal(KeySpec.ECC_NIST_P521, WA.RSAES_OAEP_SHA_256, WK.RSA_2048))
    assert "190 bytes" in reason
    assert "241" in reason


# --- seal and open --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "algorithm", "wrapping"), sorted(ALLOWED))
def test_what_is_sealed_is_opened_independently(spec: KeySpec, algorithm: WA, wrapping: WK, rsa_of, material) -> None:
    key = rsa_of(BITS[wrapping])
    data = material(spec)
    sealed = seal(Secret(data), public_key=spki(key), algorithm=algorithm, wrapping_key_spec=wrapping)
    assert opened(key, sealed, algorithm) == data
    assert len(sealed) <= 6144  # ImportKeyMaterial takes no more


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=3000), st.sampled_from([WA.RSA_AES_KEY_WRAP_SHA_1, WA.RSA_AES_KEY_WRAP_SHA_256]))
def test_the_hybrid_holds_any_length(data: bytes, algorithm: WA) -> None:
    sealed = seal(Secret(data), public_key=spki(HYBRID_KEY), algorithm=algorithm, wrapping_key_spec=WK.RSA_2048)
    assert opened(HYBRID_KEY, sealed, algorithm) == data


HYBRID_KEY = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("algorithm", sorted(WA))
def test_no_seal_equals_another(algorithm: WA) -> None:
    secret = Secret(os.urandom(32))
    seals = {
        seal(secret, public_key=spki(HYBRID_KEY), algorithm=algorithm, wrapping_key_spec=WK.RSA_2048) for _ in "abc"
    }
    assert len(seals) == 3
    if algorithm not in OAEP:  # the AES key is fresh each time, not only its padding
        assert len({one[256:] for one in seals}) == 3


@pytest.mark.parametrize(
    ("algorithm", "wrapping", "limit"),
    [
        (WA.RSAES_OAEP_SHA_1, WK.RSA_2048, 214),
        (WA.RSAES_OAEP_SHA_256, WK.RSA_2048, 190),
        (WA.RSAES_OAEP_SHA_1, WK.RSA_3072, 342),
        (WA.RSAES_OAEP_SHA_256, WK.RSA_3072, 318),
        (WA.RSAES_OAEP_SHA_1, WK.RSA_4096, 470),
        (WA.RSAES_OAEP_SHA_256, WK.RSA_4096, 446),
    ],
)
def test_the_limit_of_oaep_to_the_byte(algorithm: WA, wrapping: WK, limit: int, rsa_of) -> None:
    key = rsa_of(BITS[wrapping])
    data = os.urandom(limit)
    sealed = seal(Secret(data), public_key=spki(key), algorithm=algorithm, wrapping_key_spec=wrapping)
    assert opened(key, sealed, algorithm) == data
    with pytest.raises(TargetError) as caught:
        seal(Secret(data + b"x"), public_key=spki(key), algorithm=algorithm, wrapping_key_spec=wrapping)
    assert caught.value.code == "WrappingNotAllowed"
    assert_silent(caught.value, data)


# --- the wrapping key -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", WK)
@pytest.mark.parametrize("given_bits", [2048, 3072, 4096])
def test_only_the_size_asked_for_is_sealed_to(asked: WK, given_bits: int, rsa_of) -> None:
    public = spki(rsa_of(given_bits))
    secret = Secret(os.urandom(32))
    if BITS[asked] == given_bits:
        assert seal(secret, public_key=public, algorithm=WA.RSAES_OAEP_SHA_256, wrapping_key_spec=asked)
        return
    with pytest.raises(TargetError) as caught:
        seal(secret, public_key=public, algorithm=WA.RSAES_OAEP_SHA_256, wrapping_key_spec=asked)
    assert caught.value.code == "InvalidWrappingKey"
    assert f"has {given_bits} bits" in caught.value.message


@pytest.mark.parametrize(
    "public",
    [b"", b"garbage", spki(ec.generate_private_key(ec.SECP256R1())), spki(HYBRID_KEY)[:-1], spki(HYBRID_KEY) + b"\0"],
    ids=["empty", "garbage", "an EC key", "cut off", "too long"],
)
def test_what_is_no_rsa_key_is_refused(public: bytes) -> None:
    with pytest.raises(TargetError) as caught:
        seal(Secret(os.urandom(32)), public_key=public, algorithm=WA.RSAES_OAEP_SHA_256, wrapping_key_spec=WK.RSA_2048)
    assert (caught.value.code, caught.value.operation) == ("InvalidWrappingKey", "GetParametersForImport")


def test_a_wiped_secret_is_never_sealed() -> None:
    secret = Secret(os.urandom(32))
    secret.wipe()
    for algorithm in WA:
        with pytest.raises(ValueError, match="wiped"):
            seal(secret, public_key=spki(HYBRID_KEY), algorithm=algorithm, wrapping_key_spec=WK.RSA_2048)


# --- RFC 5649 -------------------------------------------------------------------------------------------------------

KEK = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
VECTORS = [  # RFC 5649, 6
    ("c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"),
    ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
]


@pytest.mark.parametrize(("plain", "wrapped"), VECTORS)
def test_the_vectors_of_rfc_5649(plain: str, wrapped: str) -> None:
    assert open_kwp(KEK, bytes.fromhex(wrapped)).hex() == plain  # the test's own path
    assert aes_key_wrap_with_padding(KEK, memoryview(bytes.fromhex(plain))).hex() == wrapped  # the product's


@given(st.binary(min_size=1, max_size=100), st.integers(0, 1000), st.integers(1, 255))
def test_the_tests_own_unwrapping_is_no_rubber_stamp(plain: bytes, at: int, flip: int) -> None:
    kek = bytes(range(32))
    wrapped = bytearray(aes_key_wrap_with_padding(kek, plain))
    assert open_kwp(kek, bytes(wrapped)) == aes_key_unwrap_with_padding(kek, bytes(wrapped)) == plain
    wrapped[at % len(wrapped)] ^= flip
    with pytest.raises(ValueError, match="not a key wrapped"):
        open_kwp(kek, bytes(wrapped))


def test_openssl_opens_the_whole_hybrid(material) -> None:
    data = material(KeySpec.RSA_2048)
    sealed = seal(
        Secret(data), public_key=spki(HYBRID_KEY), algorithm=WA.RSA_AES_KEY_WRAP_SHA_256, wrapping_key_spec=WK.RSA_2048
    )
    kek = open_oaep(HYBRID_KEY, sealed[:256], "sha256")
    command = ["openssl", "enc", "-d", "-id-aes256-wrap-pad", "-K", kek.hex(), "-iv", "A65959A6"]
    assert subprocess.run(command, input=sealed[256:], capture_output=True, check=True).stdout == data
