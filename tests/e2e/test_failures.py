"""What goes wrong for some keys, and leaves the others well."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.network import Passing, Served
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, Workplace
from tests.sandbox.helpers import import_material, public_key
from tests.sandbox_client import Sandbox

DENIED = "222233334444"


def test_each_failure_stays_with_its_target(sandbox: Sandbox, work: Workplace) -> None:
    """A denied role, a missing key, another origin, another state, a wrong length, other material: and one well."""
    sandbox.seed({"accounts": {DENIED: {"roles": [{"name": "Importer", "deny": True}]}}})
    held = materials.make("HMAC_256")
    aes = materials.make("SYMMETRIC_DEFAULT")
    work.key("alias/any", aes, name="denied-1", account=DENIED)
    work.key("alias/other", aes, name="denied-2", account=DENIED, region="eu-west-1")
    work.key("alias/nobody", aes, name="missing")
    work.key(sandbox.key(origin="AWS_KMS")["key_id"], aes, name="aws-kms")
    work.key(sandbox.key(state="PendingDeletion")["key_id"], aes, name="dying")
    work.key(sandbox.key()["key_id"], b"\x01" * 15 + b"\x02" * 16, name="short")
    work.key(
        sandbox.key(key_spec="HMAC_256", material={"hex": held.hex()})["key_id"],
        materials.make("HMAC_256"),
        name="other",
    )
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], held, name="good")

    result = work.run()

    assert result.code == 4
    entries = result.entries
    found = {
        name: (
            entry["status"],
            entry["changed"],
            entry["error"] and (entry["error"]["code"], entry["error"]["operation"]),
        )
        for name, entry in entries.items()
    }
    assert found == {
        "denied-1": ("failed", False, ("AccessDenied", "AssumeRole")),
        "denied-2": ("failed", False, ("AccessDenied", "AssumeRole")),
        "missing": ("failed", False, ("NotFoundException", "DescribeKey")),
        "aws-kms": ("failed", False, ("NotImportableOrigin", None)),
        "dying": ("failed", False, ("KeyStateNotImportable", None)),
        "short": ("failed", False, ("MaterialWrongLength", None)),
        "other": ("failed", False, ("MaterialMismatch", "GenerateMac")),
        "good": ("imported", True, None),
    }
    assert all(entry["error"]["advice"] for entry in entries.values() if entry["error"])
    # A role that is denied is asked for once, however many targets and Regions the account has.
    assert len([call for call in sandbox.calls(operation="AssumeRole") if DENIED in str(call)]) <= 1
    # None of the failures spent a scarce permit.
    assert len(sandbox.calls(operation="GetParametersForImport")) == 1
    counts = {name: count for name, count in result.report["summary"].items() if count}
    assert counts == {"total": 8, "imported": 1, "failed": 7}


def test_two_targets_on_one_key(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256", aliases=["alias/one", "alias/two"])
    material = materials.make("HMAC_256")
    work.key("alias/one", material, name="first")
    work.key("alias/two", material, name="second")
    work.key(key["key_id"], material, name="third")

    result = work.run()

    assert {name: entry["error"] and entry["error"]["code"] for name, entry in result.entries.items()} == {
        "first": None, "second": "DuplicateKey", "third": "DuplicateKey",
    }  # fmt: skip
    assert len(sandbox.calls(operation="ImportKeyMaterial")) == 1
    assert result.entries["second"]["key_arn"] == key["arn"]


def test_a_rotated_key_is_refused_before_a_permit_is_spent(sandbox: Sandbox, work: Workplace) -> None:
    first = materials.make("SYMMETRIC_DEFAULT")
    key = sandbox.key(material={"hex": first.hex()})
    kms = sandbox.client()
    new = {"ImportType": "NEW_KEY_MATERIAL", "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
    import_material(kms, key["key_id"], materials.make("SYMMETRIC_DEFAULT"), **new)
    kms.rotate_key_on_demand(KeyId=key["key_id"])
    before = len(sandbox.calls(operation="GetParametersForImport"))
    work.key(key["key_id"], first, name="rotated")

    result = work.run()

    assert result.entries["rotated"]["error"]["code"] == "RotatedKey"
    assert len(sandbox.calls(operation="GetParametersForImport")) == before


def test_an_expiry_that_is_too_close(sandbox: Sandbox, work: Workplace) -> None:
    """valid_to passed the manifest's check, and is less than an hour ahead."""
    soon = (datetime.now(UTC) + timedelta(minutes=50)).strftime("%Y-%m-%dT%H:%M:%SZ")
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="soon", valid_to=soon)
    result = work.run()
    assert (result.code, result.entries["soon"]["error"]["code"]) == (5, "ExpiryTooClose")
    assert not sandbox.calls(operation="GetParametersForImport")


def test_check_values_stop_the_wrong_file(sandbox: Sandbox, work: Workplace) -> None:
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes", expect={"kcv": "000000"})
    private = materials.make("ECC_NIST_P256")
    work.key(sandbox.key(key_spec="ECC_NIST_P256")["key_id"], private, name="ecc", expect={"spki_sha256": "00" * 32})
    result = work.run()
    assert {entry["error"]["code"] for entry in result.entries.values()} == {"CheckValueMismatch"}
    assert not sandbox.calls(operation="GetParametersForImport")


@pytest.mark.parametrize("operation", ["GenerateMac", "GetPublicKey"])
def test_a_proof_that_the_policy_denies(sandbox: Sandbox, work: Workplace, operation: str) -> None:
    spec = "HMAC_384" if operation == "GenerateMac" else "ECC_SECG_P256K1"
    work.key(sandbox.key(key_spec=spec)["key_id"], materials.make(spec), name="key")
    sandbox.fault("deny", operation=operation, times=None)

    result = work.run()
    entry = result.entries["key"]
    assert (result.code, entry["status"]) == (0, "imported")
    assert entry["verification"]["proof"] == "none"
    assert entry["verification"]["detail"] == f"denied_by_policy ({operation})"
    assert result.report["summary"]["unproved"] == 1

    again = work.run("--require-proof")
    assert (again.code, again.entries["key"]["error"]["code"]) == (5, "ProofMissing")


LIES = {
    "HMAC_512": ("GenerateMac", {"Mac": base64.b64encode(b"x" * 64).decode()}),
    "ECC_NIST_P256": (
        "GetPublicKey",
        {"PublicKey": base64.b64encode(public_key(materials.make("ECC_NIST_P256"))).decode()},
    ),
    "SYMMETRIC_DEFAULT": ("ImportKeyMaterial", {"KeyMaterialId": "cd" * 32}),
}


@pytest.mark.parametrize("spec", LIES)
def test_a_kms_that_holds_other_material_than_was_sent(sandbox: Sandbox, work: Workplace, spec: str) -> None:
    """A contradiction fails loudly, although KMS is Enabled and every read is good."""
    liar, lie = LIES[spec]
    work.key(sandbox.key(key_spec=spec)["key_id"], materials.make(spec), name="swapped")
    with Rewriter(sandbox.url, lambda operation, answer: answer | (lie if operation == liar else {})) as proxy:
        work.url = proxy.url
        result = work.run()

    entry = result.entries["swapped"]
    assert (result.code, entry["status"], entry["changed"]) == (5, "failed", True)
    assert entry["error"]["code"] == "MaterialMismatch"
    assert "MATERIAL MISMATCH" in result.stderr


def test_symmetric_material_is_compared_where_its_id_is_stated(sandbox: Sandbox, work: Workplace) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    key = sandbox.key(material={"hex": material.hex()})
    stated = sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["CurrentKeyMaterialId"]
    work.key(key["key_id"], material, name="aes", key_material_id=stated)
    assert work.run().entries["aes"]["verification"]["proof"] == "material_id"

    work.keys[0]["key_material_id"] = "ab" * 32
    result = work.run()
    assert (result.code, result.entries["aes"]["error"]["code"]) == (5, "MaterialMismatch")


def test_a_material_id_for_a_key_that_has_none(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="mac", key_material_id="ab" * 32)
    result = work.run()
    assert (result.code, result.entries["mac"]["error"]["code"]) == (5, "KeySpecMismatch")
    assert not sandbox.calls(operation="GetParametersForImport")


def test_a_key_that_takes_no_import_is_read_once(sandbox: Sandbox, work: Workplace) -> None:
    work.key(sandbox.key(origin="AWS_KMS")["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aws")
    work.key(sandbox.key(state="PendingDeletion")["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="dying")
    work.run()
    assert {call["operation"] for call in sandbox.calls(service="kms")} == {"DescribeKey"}


def test_a_quiet_run_still_says_that_it_does_not_talk_to_aws(sandbox: Sandbox, work: Workplace) -> None:
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes")
    result = work.run("--quiet")
    lines = result.stderr.strip().splitlines()
    assert "ot AWS" in lines[0] or "ot to AWS" in lines[0]
    assert "ot AWS" in lines[-1] or "ot to AWS" in lines[-1]


def test_a_password_in_an_endpoint_is_not_written_down(sandbox: Sandbox, work: Workplace) -> None:
    work.key("alias/any", materials.make("SYMMETRIC_DEFAULT"), name="aes")
    work.url = sandbox.url.replace("http://", "http://user:s3cretPW@")
    result = work.run()
    assert (result.code, "s3cretPW" in result.stderr) == (3, False)


def test_prove_all_imports_unchanged_symmetric_material_again(sandbox: Sandbox, work: Workplace) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    key = sandbox.key(material={"hex": material.hex()})
    work.key(key["key_id"], material, name="aes")
    good = work.run("--prove", "all")
    assert (good.code, good.entries["aes"]["status"]) == (0, "reimported")
    assert good.entries["aes"]["verification"]["proof"] == "material_id"

    (work.folder / "aes.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    bad = work.run("--prove", "all")
    assert (bad.code, bad.entries["aes"]["error"]["code"]) == (5, "IncorrectKeyMaterialException")
    assert bad.entries["aes"]["changed"] is False


def test_prove_use_makes_a_round_trip(sandbox: Sandbox, work: Workplace) -> None:
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes")
    result = work.run("--prove-use")
    assert result.entries["aes"]["verification"]["round_trip"] is True
    used = [call["operation"] for call in sandbox.calls() if call["operation"] in ("Encrypt", "Decrypt")]
    assert used == ["Encrypt", "Decrypt"]


def test_an_expired_material_comes_back(sandbox: Sandbox, work: Workplace) -> None:
    """Expiry puts the key into PendingImport; the same manifest brings it back."""
    material = materials.make("SYMMETRIC_DEFAULT")
    key = sandbox.key()
    work.key(key["key_id"], material, name="aes", valid_for="2h")
    assert work.run().code == 0
    sandbox.advance(3 * 3600)
    assert sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"] == "PendingImport"
    work.keys[0]["valid_for"] = None
    result = work.run()
    assert (result.code, result.entries["aes"]["status"]) == (0, "imported")


def test_a_nearly_expired_key_is_renewed_and_a_fresh_one_is_not(sandbox: Sandbox, work: Workplace) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for name, days in (("fresh", 80), ("old", 20)):
        material = materials.make("SYMMETRIC_DEFAULT")
        key = sandbox.key(material={"hex": material.hex()}, valid_to=(now + timedelta(days=days)).isoformat())
        work.key(key["key_id"], material, name=name, valid_for="90d")
    result = work.run()
    assert {name: entry["status"] for name, entry in result.entries.items()} == {
        "fresh": "unchanged",
        "old": "reimported",
    }


def test_an_answer_from_another_account_ends_the_lane(sandbox: Sandbox, work: Workplace) -> None:
    for name in ("one", "two"):
        work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name=name)

    def elsewhere(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        return json.loads(json.dumps(answer).replace(f":{ACCOUNT}:", ":999988887777:"))

    with Rewriter(sandbox.url, elsewhere) as proxy:
        work.url = proxy.url
        result = work.run()

    assert (result.code, {entry["error"]["code"] for entry in result.entries.values()}) == (5, {"WrongAccount"})
    assert not sandbox.calls(operation="GetParametersForImport")


def test_the_callers_own_credentials_serve_the_callers_account_only(sandbox: Sandbox, work: Workplace) -> None:
    work.key("alias/any", materials.make("SYMMETRIC_DEFAULT"), name="foreign")
    work.defaults = {"role": None}
    result = work.run()
    assert (result.code, result.entries["foreign"]["error"]["code"]) == (5, "WrongAccount")
    assert not sandbox.calls(operation="DescribeKey")


def test_the_external_id_opens_the_role(sandbox: Sandbox, work: Workplace) -> None:
    role = {"name": "byok/Importer", "external_id": "org-7f3a"}
    sandbox.seed({"accounts": {ACCOUNT: {"roles": [role]}}})
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes")
    work.accounts[ACCOUNT] = {"role": "byok/Importer", "external_id": "wrong"}
    refused = work.run()
    assert (refused.code, refused.entries["aes"]["error"]["code"]) == (5, "AccessDenied")
    work.accounts[ACCOUNT]["external_id"] = "org-7f3a"
    assert work.run().code == 0


def test_a_skewed_clock_is_one_fatal_error(sandbox: Sandbox, work: Workplace) -> None:
    for name in ("one", "two"):
        work.key("alias/any", materials.make("SYMMETRIC_DEFAULT"), name=name)
    sandbox.post("clock", skew=3600)
    result = work.run()
    assert result.code == 5
    assert result.stderr.count("ClockSkew") == 1
    assert {entry["status"] for entry in result.entries.values()} == {"not_attempted"}
    assert result.report["run"]["error"]["code"] == "ClockSkew"


@pytest.mark.parametrize(("expiration", "good"), [("2020-01-01T00:00:00Z", 0), ("1969-07-20T20:17:40+02:00", 1)])
def test_a_session_that_ended_before_it_began(sandbox: Sandbox, work: Workplace, expiration: str, good: int) -> None:
    """`good`: sessions that STS gives before; the next is wanted in the middle of the run."""
    sessions: list[str] = []

    class Sts(Passing):
        behind = sandbox.url.removeprefix("http://")

        def altered(self, _status: int, data: bytes) -> bytes:
            text = data.decode()
            if "<AssumeRoleResult>" not in text:
                return data
            sessions.append(text)
            return re.sub("(?<=<Expiration>).*?(?=<)", expiration, text).encode() if len(sessions) > good else data

    for name in ("one", "two"):
        work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name=name)
    sandbox.fault("revoke", operation="GetParametersForImport")
    with Served(Sts) as sts:
        work.url = f"http://127.0.0.1:{sts.port}"
        result = work.run()
    assert (result.code, len(sessions)) == (5, good + 1)
    assert result.stderr.count("ClockSkew: ") == 1
    error = result.report["run"]["error"]
    assert (error["code"], "(NTP)" in error["advice"]) == ("ClockSkew", True)
    assert re.search("ended at (2020-01-01T00:00:00|1969-07-20T18:17:40)Z, and it is 2", error["message"])
    assert {entry["changed"] for entry in result.entries.values()} == {False}


def test_no_credentials_are_one_fatal_error(sandbox: Sandbox, work: Workplace) -> None:
    work.key("alias/any", materials.make("SYMMETRIC_DEFAULT"), name="one")
    result = work.run(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert (result.code, result.report["run"]["error"]["code"]) == (5, "CallerCredentialsMissing")
    assert not sandbox.calls()
