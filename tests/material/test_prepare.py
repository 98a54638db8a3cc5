"""The stage as run/ uses it, and what a manifest is checked for without opening any material."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

from bulk_import.errors import MaterialError
from bulk_import.material.checks import manifest_checks
from bulk_import.material.secret import Secret
from bulk_import.model import Encoding, Expect, KeySpec, Lane, Target, WrappingAlgorithm, WrappingKeySpec
from bulk_import.settings import Settings
from tests.material.keys import ASYMMETRIC, assert_silent, key_of, pkcs8, rsa_key, spki
from tests.material.support import materials

LANE = Lane("aws", "111122223333", "eu-west-1")


def target(material: str = "file:k", **fields) -> Target:
    return Target(0, "payments", LANE, "alias/payments", material, **fields)


@pytest.mark.parametrize("spec", KeySpec)
async def test_good_material_comes_with_its_evidence(spec: KeySpec, material, tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(material(spec))
    async with materials(tmp_path) as opened, opened.hold(target(), spec) as held:
        assert held.evidence.key_spec is spec
        assert bool(held.evidence.mac) == spec.hmac
        assert bool(held.evidence.public_key) == spec.asymmetric
        assert unwrapped(await held.seal(spki(wrapping_key())), held.algorithm) == material(spec)


@pytest.mark.parametrize("spec", ASYMMETRIC)
async def test_pem_is_what_most_people_have(spec: KeySpec, tmp_path: Path) -> None:
    key = key_of(spec)
    body = base64.encodebytes(pkcs8(key))
    (tmp_path / "k").write_bytes(b"-----BEGIN PRIVATE KEY-----\n" + body + b"-----END PRIVATE KEY-----\n")
    wanted = Expect(spki_sha256=hashlib.sha256(spki(key)).hexdigest())
    async with materials(tmp_path) as opened, opened.hold(target(expect=wanted), spec) as held:
        assert held.evidence.public_key_matches(spki(key))
        assert unwrapped(await held.seal(spki(wrapping_key())), held.algorithm) == pkcs8(key)


@cache
def wrapping_key() -> rsa.RSAPrivateKey:
    return rsa_key(4096)


async def test_a_file_that_changes_before_it_is_sealed(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(CANARY)
    async with materials(tmp_path) as opened, opened.hold(target(), KeySpec.SYMMETRIC_DEFAULT) as held:
        (tmp_path / "k").write_bytes(CANARY[::-1])
        with pytest.raises(MaterialError) as caught:
            await held.seal(spki(wrapping_key()))
    assert caught.value.code == "MaterialChanged"


def unwrapped(sealed: bytes, algorithm: WrappingAlgorithm) -> bytes:
    """What KMS would find, by a separate implementation."""
    digest = hashes.SHA256() if algorithm.value.endswith("256") else hashes.SHA1()  # noqa: S303 - KMS has it
    oaep = padding.OAEP(padding.MGF1(digest), digest, None)
    if algorithm.value.startswith("RSAES"):
        return wrapping_key().decrypt(sealed, oaep)
    return aes_key_unwrap_with_padding(wrapping_key().decrypt(sealed[:512], oaep), sealed[512:])


CANARY = bytes(range(190, 222))
FAILURES = {
    "wrong length": (CANARY + b"\n", KeySpec.SYMMETRIC_DEFAULT, {}, "MaterialWrongLength"),
    "wrong spec": (CANARY, KeySpec.HMAC_512, {}, "MaterialWrongLength"),
    "no private key": (CANARY, KeySpec.RSA_2048, {}, "MaterialInvalid"),
    "not base64": (CANARY, KeySpec.HMAC_256, {"encoding": Encoding.BASE64}, "MaterialInvalid"),
    "not hex": (CANARY, KeySpec.HMAC_256, {"encoding": Encoding.HEX}, "MaterialInvalid"),
    "not PEM": (CANARY, KeySpec.ECC_NIST_P256, {"encoding": Encoding.PEM}, "MaterialInvalid"),
    "ambiguous": (CANARY.hex().encode(), KeySpec.HMAC_256, {}, "AmbiguousEncoding"),
    "other key": (CANARY, KeySpec.SYMMETRIC_DEFAULT, {"expect": Expect(kcv="000000")}, "CheckValueMismatch"),
    "check value of another kind": (CANARY, KeySpec.HMAC_256, {"expect": Expect(kcv="000000")}, "CheckValueMismatch"),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_a_failure_says_nothing_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    data, spec, fields, code = FAILURES[case]
    (tmp_path / "k").write_bytes(data)
    with pytest.raises(MaterialError) as caught:
        async with materials(tmp_path) as opened, opened.hold(target(**fields), spec):
            pass
    assert caught.value.code == code
    assert caught.value.advice
    assert_silent(caught.value, data)
    assert_silent(caught.value, CANARY)
    # The traceback still holds the frames: every copy in them must be wiped.
    for frame in _frames(caught.tb):
        for value in frame.f_locals.values():
            if isinstance(value, Secret):
                with pytest.raises(ValueError, match="wiped"):
                    value.view()
            if isinstance(value, bytearray):
                assert not any(value), frame.f_code.co_name


def _frames(traceback):
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


# --- manifest checks ------------------------------------------------------------------------------------------------


def found(wanted: Target) -> list[tuple[str, str, str]]:
    return [problem for check in manifest_checks(Settings()) for problem in check(wanted)]


def test_a_right_target_has_no_problem() -> None:
    assert found(target()) == []
    for spec in KeySpec:
        assert found(target("env:K", key_spec=spec)) == []


def test_every_mistake_is_told_with_its_field_and_advice() -> None:
    problems = found(
        target(
            "gopher:k",
            key_spec=KeySpec.RSA_2048,
            wrapping_algorithm=WrappingAlgorithm.RSAES_OAEP_SHA_256,
            expect=Expect(kcv="08d7b4"),
        )
    )
    assert [field for field, _, _ in problems] == ["material", "wrapping_algorithm", "expect"]
    assert all(message and advice for _, message, advice in problems)


def test_without_a_key_spec_only_the_source_is_checked() -> None:
    wrong = target(wrapping_algorithm=WrappingAlgorithm.RSAES_OAEP_SHA_1, expect=Expect(kcv="08d7b4"))
    assert found(wrong) == []


def test_p521_under_a_small_wrapping_key() -> None:
    fields = {"key_spec": KeySpec.ECC_NIST_P521, "wrapping_key_spec": WrappingKeySpec.RSA_2048}
    assert found(target(**fields)) == []  # the default algorithm fits
    oaep = found(target(wrapping_algorithm=WrappingAlgorithm.RSAES_OAEP_SHA_256, **fields))
    assert [field for field, _, _ in oaep] == ["wrapping_algorithm"]
