from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from bulk_import.errors import MaterialError
from bulk_import.material import expect
from bulk_import.material.secret import Secret
from bulk_import.model import Expect, KeySpec
from tests.material.keys import ASYMMETRIC, BYTES, assert_silent

# NIST AESAVS, ECBVarKey256, count 0: AES-ECB of a zero block under a key whose first bit alone is set.
AES_KEY = b"\x80" + bytes(31)
AES_BLOCK = "e35a6dcb19b201a01ebcfa8aa22b5759"
ANY_HASH = "ab" * 32


def mismatch(data: bytes, spec: KeySpec, wanted: Expect) -> MaterialError:
    with pytest.raises(MaterialError) as caught:
        expect.check(Secret(data), spec, wanted)
    assert caught.value.code == "CheckValueMismatch"
    assert_silent(caught.value, data)
    return caught.value


def test_the_kcv_of_a_published_vector() -> None:
    expect.check(Secret(AES_KEY), KeySpec.SYMMETRIC_DEFAULT, Expect(kcv=AES_BLOCK[:6]))
    for wrong in ("e35a6e", "000000", "E35A6D", AES_BLOCK[:4]):
        error = mismatch(AES_KEY, KeySpec.SYMMETRIC_DEFAULT, Expect(kcv=wrong))
        assert AES_BLOCK[:6] not in error.message


def test_the_kcv_that_openssl_computes() -> None:
    key = os.urandom(32)
    command = ["openssl", "enc", "-aes-256-ecb", "-nopad", "-K", key.hex()]
    block = subprocess.run(command, input=bytes(16), capture_output=True, check=True).stdout
    expect.check(Secret(key), KeySpec.SYMMETRIC_DEFAULT, Expect(kcv=block[:3].hex()))


@pytest.mark.parametrize("spec", ASYMMETRIC)
def test_the_hash_of_the_public_key_that_openssl_derives(spec: KeySpec, material) -> None:
    command = ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"]
    public = subprocess.run(command, input=material(spec), capture_output=True, check=True).stdout
    found = hashlib.sha256(public).hexdigest()
    expect.check(Secret(material(spec)), spec, Expect(spki_sha256=found))
    assert found in mismatch(material(spec), spec, Expect(spki_sha256=ANY_HASH)).message


@pytest.mark.parametrize("spec", KeySpec)
def test_a_check_value_that_says_nothing_of_the_spec_is_refused(spec: KeySpec, material) -> None:
    for wanted, fits in (
        (Expect(kcv="08d7b4"), spec is KeySpec.SYMMETRIC_DEFAULT),
        (Expect(spki_sha256=ANY_HASH), spec not in BYTES),
    ):
        reason = expect.applies(wanted, spec)
        assert (reason is None) == fits
        if reason is not None:
            assert spec in reason
            assert mismatch(material(spec), spec, wanted).message == reason
