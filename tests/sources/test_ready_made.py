"""`encrypted_key_material` and `import_token`: material that somebody sealed before, imported as it is."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.sandbox_client import Sandbox

OAEP, HYBRID = "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_256"
PARAMETERS = "GetParametersForImport"


def algorithm_of(spec: str) -> str:
    return HYBRID if spec.startswith("RSA") else OAEP


def sealed_for(sandbox: Sandbox, key_id: str, material: bytes, algorithm: str) -> tuple[bytes, bytes]:
    """What the AWS CLI and openssl make of it: (EncryptedKeyMaterial, ImportToken)."""
    found: Any = sandbox.client().get_parameters_for_import(
        KeyId=key_id, WrappingAlgorithm=algorithm, WrappingKeySpec="RSA_2048"
    )
    key: Any = serialization.load_der_public_key(found["PublicKey"])
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    if algorithm == OAEP:
        return key.encrypt(material, oaep), found["ImportToken"]
    aes = os.urandom(32)
    return key.encrypt(aes, oaep) + aes_key_wrap_with_padding(aes, material), found["ImportToken"]


def add(
    sandbox: Sandbox, work: Workplace, spec: str, name: str = "one", *, material: bytes = b"", **fields: Any
) -> tuple[dict[str, str], bytes]:
    """A key in the manifest with both files. Returns the key and its material."""
    material = material or materials.make(spec)
    key = sandbox.key(key_spec=spec, key_usage=materials.usage(spec))
    sealed, token = sealed_for(sandbox, key["key_id"], material, algorithm_of(spec))
    (work.folder / f"{name}.sealed").write_bytes(sealed)
    (work.folder / f"{name}.token").write_bytes(token)
    entry = {
        "id": name, "account": ACCOUNT, "region": REGION, "key_id": key["key_id"], "wrapping_algorithm":
        algorithm_of(spec), "encrypted_key_material": f"file:{name}.sealed", "import_token": f"file:{name}.token",
    }  # fmt: skip
    work.keys.append(entry | fields)
    return key, material


def own_calls(sandbox: Sandbox, operation: str) -> int:
    """Of the program; the test's own client made some, too."""
    return sum("bulk-import/" in call["user_agent"] for call in sandbox.calls(operation=operation))


def spki(material: bytes) -> str:
    key = serialization.load_der_private_key(material, None).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def test_what_was_sealed_is_imported_without_new_parameters(sandbox: Sandbox, work: Workplace) -> None:
    """Every kind of key, each with the proof that can be had."""
    kinds = {"aes": "SYMMETRIC_DEFAULT", "mac": "HMAC_256", "ecc": "ECC_NIST_P256", "rsa": "RSA_2048"}
    made = {name: add(sandbox, work, spec, name) for name, spec in kinds.items()}
    rsa = materials.make("RSA_2048")
    made["known"] = add(sandbox, work, "RSA_2048", "known", material=rsa, expect={"spki_sha256": spki(rsa)})
    result = work.run()
    assert result.code == 0, result.stderr
    assert own_calls(sandbox, PARAMETERS) == 0
    assert {name: entry["verification"]["proof"] for name, entry in result.entries.items()} == {
        "aes": "material_id", "mac": "none", "ecc": "none", "rsa": "none", "known": "public_key",
    }  # fmt: skip
    for name, (key, material) in made.items():
        assert materials.held_by(sandbox.client(), key["key_id"], kinds.get(name, "RSA_2048"), material)
        entry = result.entries[name]
        assert "KMS holds what was sealed" in entry["verification"]["detail"]
        assert (entry["wrapping_key_spec"], entry["attempts"]) == (None, 1)
    assert "other users of this machine" not in result.stderr  # nothing of it is secret
    again = work.run()
    assert again.code == 0, again.stderr
    assert {entry["status"] for entry in again.entries.values()} == {"unchanged"}
    assert again.entries["known"]["verification"]["proof"] == "public_key"
    assert own_calls(sandbox, "ImportKeyMaterial") == len(made)


def test_another_public_key_than_expected_is_a_contradiction(sandbox: Sandbox, work: Workplace) -> None:
    add(sandbox, work, "ECC_NIST_P256", expect={"spki_sha256": "0" * 64})
    result = work.run()
    assert result.code == 5
    assert result.entries["one"]["error"]["code"] == "MaterialMismatch"


def test_a_lost_response_sends_the_same_set_again(sandbox: Sandbox, work: Workplace) -> None:
    key, material = add(sandbox, work, "HMAC_256")
    sandbox.fault("drop", operation="ImportKeyMaterial")
    result = work.run()
    assert result.code == 0, result.stderr
    assert result.entries["one"]["attempts"] == 2
    assert own_calls(sandbox, PARAMETERS) == 0
    assert materials.held_by(sandbox.client(), key["key_id"], "HMAC_256", material)


def test_a_token_that_is_too_old_fails_with_advice(sandbox: Sandbox, work: Workplace) -> None:
    add(sandbox, work, "HMAC_256")
    sandbox.advance(25 * 3600)
    result = work.run()
    assert result.code == 5
    error = result.entries["one"]["error"]
    assert error["code"] == "ExpiredImportTokenException"
    assert "seal the material" in error["advice"]
    assert own_calls(sandbox, PARAMETERS) == 0
    assert own_calls(sandbox, "ImportKeyMaterial") == 1


BAD = {
    "base64": (base64.b64encode, "MaterialInvalid"),
    "cut": (lambda data: data[:-1], "MaterialWrongLength"),
    "too long": (lambda data: data + b"\xff" * 7000, "MaterialWrongLength"),
    "empty": (lambda _: b"", "MaterialWrongLength"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_cannot_be_right(sandbox: Sandbox, work: Workplace, case: str) -> None:
    change, code = BAD[case]
    add(sandbox, work, "HMAC_256")
    file = work.folder / "one.sealed"
    file.write_bytes(change(file.read_bytes()))
    work.write()
    planned = json.loads(work.call("plan", "manifest.json", "--format", "json").stdout)
    assert planned["targets"][0]["error"]["code"] == code
    assert own_calls(sandbox, "ImportKeyMaterial") == 0


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no token": ({"import_token": None}, "import_token"),
    "no algorithm": ({"wrapping_algorithm": None}, "wrapping_algorithm"),
    "material too": ({"material": "file:one.key"}, "cannot be combined"),
    "two Regions": ({"region": None, "regions": ["us-east-1", "eu-west-1"]}, "makes 2 targets"),
    "two accounts": ({"account": None, "accounts": [ACCOUNT, "444455556666"]}, "makes 2 targets"),
    "replicas": ({"replicas": ["eu-west-1"]}, "a token is for one key"),
    "several materials": ({"materials": [{"name": "a", "material": "file:a.key"}]}, "cannot be combined"),
    "create": ({"create": {}, "key_id": "alias/x", "key_spec": "HMAC_256"}, "create"),
    "encoding": ({"encoding": "raw"}, "encoding"),
    "kcv": ({"expect": {"kcv": "08d7b4"}}, "kcv"),
    "a server": ({"import_token": "vault:secret/x?field=y"}, "unknown source"),
    "outside": ({"import_token": "file:../one.token"}, "import_token"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_manifest_may_not_ask(work: Workplace, case: str) -> None:
    fields, said = WRONG[case]
    entry = {
        "id": "one", "account": ACCOUNT, "region": REGION, "key_id": "alias/one", "wrapping_algorithm": OAEP,
        "encrypted_key_material": "file:one.sealed", "import_token": "file:one.token",
    }  # fmt: skip
    work.keys.append({name: value for name, value in (entry | fields).items() if value is not None})
    work.write()
    result = work.call("validate", "manifest.json")
    assert result.code == 3
    assert said in result.stderr


def test_it_obeys_allow_source_and_stands_in_csv_and_defaults(sandbox: Sandbox, work: Workplace) -> None:
    key, material = add(sandbox, work, "HMAC_256")
    work.write()
    refused = work.call("validate", "manifest.json", "--allow-source", "env:")
    assert refused.code == 3
    assert "encrypted_key_material" in refused.stderr
    header = "id,account,region,key_id,wrapping_algorithm,encrypted_key_material,import_token,role"
    row = f"one,{ACCOUNT},{REGION},{key['key_id']},{OAEP},file:{{id}}.sealed,file:{{id}}.token,Importer"
    (work.folder / "keys.csv").write_text(f"{header}\n{row}\n")
    done = work.call("run", "keys.csv", "--read-interval", "20ms")
    assert done.code == 0, done.stderr
    assert materials.held_by(sandbox.client(), key["key_id"], "HMAC_256", material)
    # A key's own way replaces that of `defaults`.
    work.defaults["material"] = "file:{id}.key"
    work.write()
    assert work.call("validate", "manifest.json", "--material").code == 0


def test_prepare_leaves_it_to_run_and_iam_grants_no_parameters(sandbox: Sandbox, work: Workplace) -> None:
    add(sandbox, work, "HMAC_256", key_spec="HMAC_256")
    work.write()
    prepared = work.call("prepare", "manifest.json", "bundle.jsonl")
    assert prepared.code == 5
    assert "sealed before" in prepared.stderr
    assert own_calls(sandbox, PARAMETERS) == 0
    printed = work.call("iam", "manifest.json")
    assert printed.code == 0, printed.stderr
    assert b"kms:ImportKeyMaterial" in printed.stdout
    assert b"kms:GetParametersForImport" not in printed.stdout


def test_status_and_delete_take_it_and_a_new_pair_fills_the_key_again(sandbox: Sandbox, work: Workplace) -> None:
    """All three take such a target as any other; after `delete`, only a new pair of files fills the key again."""
    key, material = add(sandbox, work, "SYMMETRIC_DEFAULT", key_spec="SYMMETRIC_DEFAULT")
    assert work.run().code == 0
    work.write()
    status = work.call("status", "manifest.json", "--format", "json", "--read-interval", "20ms")
    assert status.code == 0, status.stderr
    assert [target["state"] for target in json.loads(status.stdout)["targets"]] == ["as_wanted"]
    deleted = work.call("delete", "manifest.json", "--all", "--yes", "--read-interval", "20ms")
    assert deleted.code == 0, deleted.stderr
    assert sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"] == "PendingImport"
    sealed, token = sealed_for(sandbox, key["key_id"], material, OAEP)
    (work.folder / "one.sealed").write_bytes(sealed)
    (work.folder / "one.token").write_bytes(token)
    assert work.run().entries["one"]["status"] == "imported"
    assert own_calls(sandbox, PARAMETERS) == 0


def test_materials_of_a_key_replace_the_ready_made_pair_of_defaults(work: Workplace) -> None:
    pair = {"encrypted_key_material": "file:{id}.sealed", "import_token": "file:{id}.token"}
    work.defaults.update(pair, wrapping_algorithm=OAEP)
    entry = {"account": ACCOUNT, "region": REGION, "key_spec": "SYMMETRIC_DEFAULT"}
    work.keys.append(entry | {"id": "a", "key_id": "alias/a", "materials": [{"name": "1", "material": "file:a.key"}]})
    work.keys.append(entry | {"id": "b", "key_id": "alias/b", "material": "file:b.key"})
    work.write()
    assert work.call("validate", "manifest.json").code == 0
    work.keys[0] |= {"import_token": "file:a.token"}
    work.write()
    both = work.call("validate", "manifest.json")
    assert both.code == 3
    assert "import_token: cannot be combined with materials" in both.stderr
    work.keys[0] |= {"import_token": None}
    work.write()
    assert work.call("validate", "manifest.json").code == 0


TWICE: dict[str, tuple[dict[str, str], list[str]]] = {
    "the same token": (
        {"import_token": "file:one.token"}, ["5: import_token: this file is also the import_token of one in line 4"],
    ),
    "both files, by another path": (
        {"encrypted_key_material": "file:./one.sealed", "import_token": "file:x/../one.token"},
        ["encrypted_key_material of one in line 4", "import_token of one in line 4"],
    ),
    "the files exchanged": ({"encrypted_key_material": "file:one.token"}, ["also the import_token of one in line 4"]),
    "one file for both": ({"import_token": "file:two.sealed"}, ["also the encrypted_key_material of two in line 5"]),
    "files of their own": ({}, []),
}  # fmt: skip


@pytest.mark.parametrize("case", TWICE)
def test_a_sealed_file_is_for_one_key(work: Workplace, case: str) -> None:
    """A sealed file under another key's token can never be right: both lines are named before anything is sent."""
    fields, said = TWICE[case]
    rows = [
        {"id": name, "key_id": f"alias/{name}", "encrypted_key_material": f"file:{name}.sealed",
         "import_token": f"file:{name}.token"} for name in ("one", "two")
    ]  # fmt: skip
    rows[1] |= fields
    lines = [json.dumps({"account": ACCOUNT, "region": REGION, "role": "Importer", "wrapping_algorithm": OAEP} | row)
             for row in rows]  # fmt: skip
    (work.folder / "keys.jsonl").write_text("\n\n\n" + "\n".join(lines) + "\n")
    result = work.call("validate", "keys.jsonl")
    assert result.code == (3 if said else 0), result.stderr
    assert [text for text in said if text not in result.stderr] == [], result.stderr
    assert result.stderr.count("this file is also") == len(said)


def test_an_approved_plan_is_bound_to_what_was_sealed(sandbox: Sandbox, work: Workplace) -> None:
    made = {name: add(sandbox, work, "HMAC_256", name) for name in ("good", "replaced")}
    work.write()
    assert work.call("plan", "manifest.json", "--out", "plan.json").code == 0
    key, _ = made["replaced"]
    sealed, token = sealed_for(sandbox, key["key_id"], materials.make("HMAC_256"), OAEP)
    (work.folder / "replaced.sealed").write_bytes(sealed)
    (work.folder / "replaced.token").write_bytes(token)
    result = work.run("--plan", "plan.json")
    assert (result.code, result.entries["good"]["status"]) == (4, "imported"), result.stderr
    assert result.entries["replaced"]["error"]["code"] == "PlanStale"
    assert sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"] == "PendingImport"
