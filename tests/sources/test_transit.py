"""`transit:` against a real OpenBao: the plaintext never comes here, and the server proves what KMS holds."""

from __future__ import annotations

import base64
import hashlib
import signal
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.e2e.ministack import Ministack
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.faults.support import fired, wait_until
from tests.sandbox_client import Sandbox
from tests.sources.bao import Bao
from tests.sources.support import add

ALLOW = ("--allow-source", "transit:")
KINDS = {
    "rsa-2048": "RSA_2048",
    "rsa-3072": "RSA_3072",
    "rsa-4096": "RSA_4096",
    "ecdsa-p256": "ECC_NIST_P256",
    "ecdsa-p384": "ECC_NIST_P384",
    "ecdsa-p521": "ECC_NIST_P521",
    "ed25519": "ECC_NIST_EDWARDS25519",
}
ALGORITHMS = ("RSA_AES_KEY_WRAP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1")


def public_key(bao: Bao, name: str, version: int = 1) -> bytes:
    """DER SubjectPublicKeyInfo, by the independent client."""
    found: Any = bao.client.read(f"transit/keys/{name}")
    text = found["data"]["keys"][str(version)]["public_key"]
    if found["data"]["type"] == "ed25519":
        key: Any = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(text))
    else:
        key = serialization.load_pem_public_key(text.encode())
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_is_sealed_there(sandbox: Sandbox, work: Workplace, bao: Bao, kind: str) -> None:
    bao.transit_key(f"e-{kind}", kind)
    wanted = public_key(bao, f"e-{kind}")
    keys = {}
    for algorithm in (*ALGORITHMS, None):
        name = str(algorithm)
        keys[name] = sandbox.key(key_spec=KINDS[kind], key_usage="SIGN_VERIFY")["key_id"]
        fields = {"wrapping_algorithm": algorithm} if algorithm else {}
        fields |= {"expect": {"spki_sha256": hashlib.sha256(wanted).hexdigest()}} if algorithm is None else {}
        add(work, f"transit:transit/e-{kind}?version=1", keys[name], name=name, **fields)
    result = work.run(*ALLOW, **bao.environment())
    assert result.code == 0, result.stderr
    for name, entry in result.entries.items():
        assert entry["verification"]["proof"] == "public_key"
        assert entry["wrapping_algorithm"] == (name if name != "None" else ALGORITHMS[0])
        assert sandbox.client().get_public_key(KeyId=keys[name])["PublicKey"] == wanted
    assert [name for name in bao.transit_keys() if name.startswith("kms-")] == []


def test_into_the_second_kms(ministack: Ministack, work: Workplace, bao: Bao) -> None:
    work.url = ministack.url
    bao.transit_key("second", "ecdsa-p256")
    kms: Any = ministack.client("kms", ACCOUNT, REGION)
    key = kms.create_key(Origin="EXTERNAL", KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    add(work, "transit:transit/second?version=1", key)
    result = work.run(*ALLOW, **bao.environment())
    assert result.code == 0, result.stderr
    assert kms.get_public_key(KeyId=key)["PublicKey"] == public_key(bao, "second")


def test_the_stated_version_goes(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    bao.transit_key("rotated", "ecdsa-p256")
    bao.client.write_data("transit/keys/rotated/rotate", data={})
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    add(work, "transit:transit/rotated?version=1", key)
    add(work, "transit:transit/rotated?version=7", sandbox.key(key_spec="ECC_NIST_P256")["key_id"], name="seven")
    result = work.run(*ALLOW, **bao.environment())
    assert result.code == 4
    assert sandbox.client().get_public_key(KeyId=key)["PublicKey"] == public_key(bao, "rotated", 1)
    error = result.entries["seven"]["error"]
    assert error["code"] == "MaterialNotFound"
    assert "it has 1, 2" in error["message"]


REFUSED = {
    "not exportable": ("ecdsa-p256", {"exportable": False}, "ECC_NIST_P256", "MaterialNotExportable"),
    "derived": ("ed25519", {"derived": True}, "ECC_NIST_EDWARDS25519", "MaterialNotExportable"),
    "another type": ("rsa-2048", {}, "ECC_NIST_P256", "MaterialInvalid"),
    "another size": ("rsa-2048", {}, "RSA_3072", "MaterialInvalid"),
    "an AES key": ("aes256-gcm96", {}, "SYMMETRIC_DEFAULT", "MaterialInvalid"),
    "no such key": (None, {}, "ECC_NIST_P256", "MaterialNotFound"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_keys_that_cannot_go(sandbox: Sandbox, work: Workplace, bao: Bao, case: str) -> None:
    kind, fields, spec, code = REFUSED[case]
    name = case.replace(" ", "-")
    if kind:
        bao.transit_key(name, kind, **fields)
    usage = {} if spec == "SYMMETRIC_DEFAULT" else {"key_usage": "SIGN_VERIFY"}
    add(work, f"transit:transit/{name}?version=1", sandbox.key(key_spec=spec, **usage)["key_id"])
    result = work.run(*ALLOW, **bao.environment())
    assert result.code == 5
    error = result.entries["one"]["error"]
    assert error["code"] == code, error
    assert error["advice"]
    assert sandbox.calls(operation="GetParametersForImport") == []


def test_another_key_than_expected(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    bao.transit_key("unexpected", "ecdsa-p256")
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    add(work, "transit:transit/unexpected?version=1", key, expect={"spki_sha256": "0" * 64})
    result = work.run(*ALLOW, **bao.environment())
    assert result.entries["one"]["error"]["code"] == "CheckValueMismatch"
    assert sandbox.calls(operation="GetParametersForImport") == []


@pytest.mark.parametrize(
    ("uri", "fields", "said"),
    [
        ("transit:transit/a", {}, "version"),
        ("transit:a?version=1", {}, "path"),
        ("transit:transit/a?version=1", {"key_spec": "HMAC_256"}, "HMAC_256"),
        ("transit:transit/a?version=1", {"wrapping_algorithm": "RSAES_OAEP_SHA_256"}, "RSAES_OAEP_SHA_256"),
        ("transit:transit/a?version=1", {"encoding": "pem"}, "encoding"),
        ("transit:transit/../sys/a?version=1", {}, "path"),
    ],
)
def test_what_a_manifest_may_not_ask(work: Workplace, uri: str, fields: dict[str, str], said: str) -> None:
    add(work, uri, **fields)
    work.write()
    result = work.call("validate", "manifest.json", *ALLOW)
    assert result.code == 3
    assert said in result.stderr


def test_one_seal_per_wrapping_key_and_no_other_call(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    """plan looks only; a run that finds the key as wanted compares only."""
    bao.transit_key("calm", "ecdsa-p256")
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    add(work, "transit:transit/calm?version=1", key)
    work.write()
    planned = work.call("plan", "manifest.json", *ALLOW, **bao.environment())
    assert planned.code == 0, planned.stderr
    assert sandbox.calls(operation="GetParametersForImport") == []
    assert work.run(*ALLOW, **bao.environment()).code == 0
    again = work.run(*ALLOW, "--require-proof", **bao.environment())
    assert again.code == 0, again.stderr
    assert again.entries["one"]["status"] == "unchanged"


def test_a_wrapping_key_that_a_killed_run_left_is_removed_by_the_next(
    sandbox: Sandbox, work: Workplace, bao: Bao
) -> None:
    bao.transit_key("killed", "ecdsa-p256")
    bystander = "kms-" + "0" * 24  # of somebody else: never searched for by its name
    other = public_key(bao, "killed")
    pem = serialization.load_der_public_key(other).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    bao.client.write_data(f"transit/keys/{bystander}/import", data={"public_key": pem.decode(), "type": "ecdsa-p256"})
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    add(work, "transit:transit/killed?version=1", key)
    bao.policy(
        "no-removal",
        'path "transit/*" { capabilities = ["create", "read", "update"] }\n'
        'path "transit/keys/+/config" { capabilities = ["deny"] }',
    )
    token = bao.client.auth.token.create(policies=["no-removal"])["auth"]["client_token"]
    # The run cannot remove its wrapping key: what a kill leaves looks the same to the next run.
    sandbox.fault("hang", operation="ImportKeyMaterial", seconds=30, times=1)
    process = work.start(*ALLOW, **bao.environment(VAULT_TOKEN=token))
    journal = work.folder / "report.journal.jsonl"
    wait_until(lambda: journal.exists() and b'"event":"intent"' in journal.read_bytes(), process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    left = [name for name in bao.transit_keys() if name.startswith("kms-")]
    assert len(left) == 2
    result = work.run(*ALLOW, **bao.environment())
    assert result.code == 0, result.stderr
    assert [name for name in bao.transit_keys() if name.startswith("kms-")] == [bystander]
    bao.client.write_data(f"transit/keys/{bystander}/config", data={"deletion_allowed": True})
    bao.client.delete(f"transit/keys/{bystander}")


def test_a_token_that_is_revoked_in_the_middle(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    bao.transit_key("middle", "ecdsa-p256")
    token = bao.client.auth.token.create(policies=["root"])["auth"]["client_token"]
    arns = [sandbox.key(key_spec="ECC_NIST_P256")["arn"] for _ in range(3)]
    for number, arn in enumerate(arns):
        add(work, "transit:transit/middle?version=1", arn, name=f"k{number}")
    sandbox.hold("GetParametersForImport", key=arns[-1])
    process = work.start(*ALLOW, "--read-timeout", "100s", **bao.environment(VAULT_TOKEN=token))
    wait_until(lambda: fired(sandbox) == 1 and bool(sandbox.calls(operation="ImportKeyMaterial", key=arns[0])), process)
    bao.client.auth.token.revoke(token)
    sandbox.release()
    result = work.finish(process)
    assert result.code == 4, result.stderr
    codes = [entry["error"] and entry["error"]["code"] for entry in result.entries.values()]
    assert codes[0] is None
    assert codes[-1] == "SourceDenied"


def test_the_printed_policy_is_enough_and_no_more(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    for name in ("policy", "other"):
        bao.transit_key(name, "ecdsa-p256")
    add(work, "transit:transit/policy?version=1", sandbox.key(key_spec="ECC_NIST_P256")["key_id"])
    work.write()
    printed = work.call("iam", "manifest.json", *ALLOW, "--format", "vault-policy").stdout.decode()
    bao.policy("printed", printed)
    token = bao.client.auth.token.create(policies=["printed"])["auth"]["client_token"]
    add(work, "transit:transit/other?version=1", sandbox.key(key_spec="ECC_NIST_P256")["key_id"], name="other")
    result = work.run(*ALLOW, **bao.environment(VAULT_TOKEN=token))
    assert result.entries["one"]["status"] == "imported", result.stderr
    assert result.entries["other"]["error"]["code"] == "SourceDenied"
    assert [name for name in bao.transit_keys() if name.startswith("kms-")] == []
