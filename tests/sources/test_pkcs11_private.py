"""`pkcs11:`: RSA and ECC private keys, sealed in a token that wraps as RFC 5649 says, refused by one that does not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.e2e.ministack import Ministack
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.sandbox_client import Sandbox
from tests.sources.support import add
from tests.sources.test_pkcs11 import ALLOW
from tests.sources.tokens import Nss, SoftHsm, compiled

CURVES = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
    "ECC_NIST_P521": ec.SECP521R1(),
    "ECC_SECG_P256K1": ec.SECP256K1(),
}
SPECS = ("ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "RSA_2048", "RSA_3072", "RSA_4096")
ALGORITHMS = ("RSA_AES_KEY_WRAP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1")


def spki(spec: str, shown: bytes) -> bytes:
    """DER SubjectPublicKeyInfo of what the token shows: a modulus, or a point in an OCTET STRING."""
    if spec.startswith("RSA_"):
        key = rsa.RSAPublicNumbers(65537, int.from_bytes(shown, "big")).public_key()
    else:
        start = 2 if shown[1] < 0x80 else 3
        key = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[spec], shown[start:])
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_every_kind_of_key_is_sealed_in_the_token(sandbox: Sandbox, work: Workplace, nss: Nss) -> None:
    wanted = {spec: spki(spec, nss.pair(f"pair {spec}", spec)) for spec in SPECS}
    keys = {}
    for spec, public in wanted.items():
        for algorithm in ALGORITHMS:
            name = f"{spec}.{algorithm}"
            keys[name] = (spec, sandbox.key(key_spec=spec, key_usage="SIGN_VERIFY")["key_id"])
            fields = {"wrapping_algorithm": algorithm} if algorithm != ALGORITHMS[0] else {}
            fields |= {"expect": {"spki_sha256": hashlib.sha256(public).hexdigest()}}
            add(work, f"pkcs11:token=byok;object=pair%20{spec};type=private", keys[name][1], name=name, **fields)
    result = work.run(*ALLOW, "--require-proof", **nss.environment())
    assert result.code == 0, result.stderr
    for name, (spec, key) in keys.items():
        entry = result.entries[name]
        assert entry["verification"]["proof"] == "public_key"
        assert entry["verification"]["detail"] == ""
        assert entry["wrapping_algorithm"] == name.partition(".")[2]
        assert sandbox.client().get_public_key(KeyId=key)["PublicKey"] == wanted[spec]


def test_into_the_second_kms(ministack: Ministack, work: Workplace, nss: Nss) -> None:
    work.url = ministack.url
    kms = ministack.client("kms", ACCOUNT, REGION)
    keys = {}
    for spec in ("ECC_NIST_P384", "RSA_2048"):
        made = kms.create_key(Origin="EXTERNAL", KeySpec=spec, KeyUsage="SIGN_VERIFY")  # type: ignore[attr-defined]
        keys[spec] = made["KeyMetadata"]["KeyId"]
        public = spki(spec, nss.pair(f"second {spec}", spec))
        add(work, f"pkcs11:token=byok;object=second%20{spec}", keys[spec], name=spec)
        keys[spec] = (keys[spec], public)
    result = work.run(*ALLOW, "--require-proof", **nss.environment())
    assert result.code == 0, result.stderr
    for key, public in keys.values():
        assert kms.get_public_key(KeyId=key)["PublicKey"] == public  # type: ignore[attr-defined]


def test_a_token_that_wraps_private_keys_in_one_step(sandbox: Sandbox, work: Workplace, nss: Nss) -> None:
    """A module around NSS that has CKM_RSA_AES_KEY_WRAP, and no AES-KWP."""
    source = Path(__file__).with_name("rsa_aes.c")
    module = compiled(source, work.folder / "rsa_aes.so", f'-DINNER="{nss.module}"', "-w")
    keys = {}
    for number, spec in enumerate(("RSA_2048", "ECC_NIST_P384", "HMAC_256")):
        keys[spec] = sandbox.key(key_spec=spec)["key_id"]
        fields = {"wrapping_algorithm": ALGORITHMS[1]} if number == 1 else {}
        add(work, f"pkcs11:token=byok;object=one%20{spec}", keys[spec], name=spec, key_spec=spec, **fields)
    nss.mac("one HMAC_256")
    wanted = {spec: spki(spec, nss.pair(f"one {spec}", spec)) for spec in ("RSA_2048", "ECC_NIST_P384")}
    environment = nss.environment(BULK_IMPORT_PKCS11_MODULE=str(module))
    work.write()
    validated = work.call("validate", "manifest.json", "--material", *ALLOW, **environment)
    assert "RSA_AES_KEY_WRAP_SHA_256 (CKM_RSA_AES_KEY_WRAP)" in validated.stderr
    assert "CKM_AES_KEY_WRAP" not in validated.stderr
    result = work.run(*ALLOW, "--require-proof", **environment)
    assert result.code == 0, result.stderr
    used = {name: entry["wrapping_algorithm"] for name, entry in result.entries.items()}
    assert used == dict(zip(keys, (*ALGORITHMS, "RSAES_OAEP_SHA_256"), strict=True))
    for spec, public in wanted.items():
        assert sandbox.client().get_public_key(KeyId=keys[spec])["PublicKey"] == public


def test_a_curve_whose_keys_need_no_padding(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    """SoftHSM writes a secp256k1 key in 64 bytes: there its own way of padding makes no difference."""
    public = spki("ECC_SECG_P256K1", softhsm.pair("bitcoin", "ECC_SECG_P256K1"))
    key = sandbox.key(key_spec="ECC_SECG_P256K1")["key_id"]
    add(work, "pkcs11:token=byok;object=bitcoin", key)
    result = work.run(*ALLOW, "--require-proof", **softhsm.environment())
    assert result.code == 0, result.stderr
    assert result.entries["one"]["wrapping_algorithm"] == ALGORITHMS[1]
    assert sandbox.client().get_public_key(KeyId=key)["PublicKey"] == public


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "RSA_2048"])
def test_a_token_that_pads_before_it_wraps_is_refused(
    sandbox: Sandbox, work: Workplace, softhsm: SoftHsm, spec: str
) -> None:
    """SoftHSM 2.6: 0x210A is RFC 5649, but of the key with zeros behind it."""
    softhsm.pair(f"padded {spec}", spec)
    add(work, f"pkcs11:token=byok;object=padded%20{spec}", sandbox.key(key_spec=spec)["key_id"])
    result = work.run(*ALLOW, **softhsm.environment())
    assert result.code == 5
    error = result.entries["one"]["error"]
    assert error["code"] == "WrappingNotAllowed"
    assert "CKM_RSA_AES_KEY_WRAP: not in the token" in error["message"]
    assert "CKM_AES_KEY_WRAP_PAD (SHA_1): it pads the key to a multiple of 8 bytes" in error["message"]
    assert "administrator must enable CKM_RSA_AES_KEY_WRAP" in error["advice"]
    assert sandbox.calls(operation="GetParametersForImport") == []


def test_private_keys_that_cannot_go(sandbox: Sandbox, work: Workplace, nss: Nss) -> None:
    nss.pair("curve", "ECC_NIST_P256")
    nss.pair("orphan", "ECC_NIST_P256")
    nss.ask("remove", "orphan", kind="CKO_PUBLIC_KEY")
    nss.pair("kept", "RSA_2048", CKA_EXTRACTABLE=False)
    nss.aes("no pair")
    cases = {
        "curve": ("ECC_NIST_P384", "MaterialInvalid", "ECC_NIST_P256, not ECC_NIST_P384"),
        "orphan": ("ECC_NIST_P256", "MaterialNotFound", "no public key"),
        "kept": ("RSA_2048", "MaterialNotExportable", "CKA_EXTRACTABLE=false"),
        "no pair": ("RSA_2048", "MaterialNotFound", "it has a secret key of this name"),
    }
    for name, (spec, _, _) in cases.items():
        key = sandbox.key(key_spec=spec, key_usage="SIGN_VERIFY")["key_id"]
        add(work, f"pkcs11:token=byok;object={name.replace(' ', '%20')}", key, name=name.replace(" ", "-"))
    result = work.run(*ALLOW, **nss.environment())
    assert result.code == 5
    for name, (_, code, said) in cases.items():
        error = result.entries[name.replace(" ", "-")]["error"]
        assert (error["code"], said in error["message"]) == (code, True), error
    assert sandbox.calls(operation="GetParametersForImport") == []


def test_a_public_key_of_another_pair_is_found_out(sandbox: Sandbox, work: Workplace, nss: Nss) -> None:
    """The public key object that has the private key's ID may be another key's: a signature shows it."""
    nss.pair("mixed", "ECC_NIST_P256")
    nss.pair("other", "ECC_NIST_P256")
    nss.ask("remove", "mixed", kind="CKO_PUBLIC_KEY")
    nss.ask("rename", "other", to="mixed")
    add(work, "pkcs11:token=byok;object=mixed", sandbox.key(key_spec="ECC_NIST_P256")["key_id"])
    result = work.run(*ALLOW, **nss.environment())
    error = result.entries["one"]["error"]
    assert (error["code"], "belongs to another key" in error["message"]) == ("MaterialInvalid", True), error
    assert sandbox.calls(operation="ImportKeyMaterial") == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"key_spec": "ECC_NIST_P256", "wrapping_algorithm": "RSAES_OAEP_SHA_256"}, "RSAES_OAEP_SHA_256"),
        ({"key_spec": "HMAC_256", "material": "pkcs11:token=byok;object=a;type=private"}, "type=private"),
        ({"key_spec": "RSA_2048", "material": "pkcs11:token=byok;object=a;type=secret-key"}, "type=secret-key"),
        ({"encoding": "pem"}, "encoding"),
    ],
)
def test_what_a_manifest_may_not_ask(work: Workplace, fields: dict[str, str], said: str) -> None:
    add(work, "pkcs11:token=byok;object=a", **fields)
    work.write()
    result = work.call("validate", "manifest.json", *ALLOW)
    assert (result.code, said in result.stderr) == (3, True), result.stderr
