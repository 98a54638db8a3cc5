"""Keys that the manifest creates: alias, key, material, and what happens when any of it fails."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace, quick
from tests.faults.forks import Forks, Kill
from tests.faults.support import events
from tests.life.shared import lose_the_race
from tests.sandbox_client import Sandbox

TAG = "bulk-import:alias"


def add(work: Workplace, name: str = "payments", spec: str = "SYMMETRIC_DEFAULT", **fields: Any) -> bytes:
    """A target whose key is created. Returns its material."""
    material = materials.make(spec)
    work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly
    work.key(f"alias/{name}", material, name=name, key_spec=spec, **{"create": {}, **fields})
    return material


def kms(sandbox: Sandbox) -> Any:
    return sandbox.client("kms", ACCOUNT, REGION)


def only_key(sandbox: Sandbox) -> dict[str, Any]:
    """KMS's own view of the one key that there is."""
    (key,) = kms(sandbox).list_keys()["Keys"]
    found: dict[str, Any] = kms(sandbox).describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    return found


def aliases(sandbox: Sandbox) -> dict[str, str]:
    return {entry["AliasName"]: entry["TargetKeyId"] for entry in kms(sandbox).list_aliases()["Aliases"]}


def tags(sandbox: Sandbox, key_id: str) -> dict[str, str]:
    return {tag["TagKey"]: tag["TagValue"] for tag in kms(sandbox).list_resource_tags(KeyId=key_id)["Tags"]}


def sent(sandbox: Sandbox) -> Counter[str]:
    return Counter(call["operation"] for call in sandbox.calls())


def test_a_first_run_creates_fills_and_proves_a_second_one_changes_nothing(sandbox: Sandbox, work: Workplace) -> None:
    create = {"description": "Payments, {region}", "tags": {"Team": "{id}-team"}}
    add(work, create=create)
    first = work.run()
    assert first.code == 0, first.stderr
    entry = first.entries["payments"]
    assert (entry["status"], entry["changed"]) == ("imported", True)
    assert entry["changes"] == ["created", "alias", "imported"]
    assert entry["verification"]["proof"] == "material_id"
    key = only_key(sandbox)
    assert (key["Arn"], key["KeyState"], key["Origin"]) == (entry["key_arn"], "Enabled", "EXTERNAL")
    assert (key["Description"], key["MultiRegion"]) == (f"Payments, {REGION}", False)
    assert aliases(sandbox) == {"alias/payments": key["KeyId"]}
    assert tags(sandbox, key["KeyId"]) == {"Team": "payments-team", TAG: "alias/payments"}
    sealed = kms(sandbox).encrypt(KeyId="alias/payments", Plaintext=b"hello")["CiphertextBlob"]
    assert kms(sandbox).decrypt(CiphertextBlob=sealed)["Plaintext"] == b"hello"

    second = work.run()
    assert second.code == 0, second.stderr
    assert second.entries["payments"]["status"] == "unchanged"
    assert second.entries["payments"]["changes"] == []
    assert sent(sandbox)["CreateKey"] == 1


@pytest.mark.parametrize(
    ("spec", "usage", "proof"),
    [
        ("HMAC_256", None, "hmac"), ("RSA_2048", "SIGN_VERIFY", "public_key"),
        ("ECC_NIST_P256", "KEY_AGREEMENT", "public_key"), ("ECC_SECG_P256K1", None, "public_key"),
    ],
)  # fmt: skip
def test_every_kind_of_key(sandbox: Sandbox, work: Workplace, spec: str, usage: str | None, proof: str) -> None:
    add(work, spec=spec, **({"key_usage": usage} if usage else {}), create={"multi_region": True})
    result = work.run()
    assert result.code == 0, result.stderr
    assert result.entries["payments"]["verification"]["proof"] == proof
    key = only_key(sandbox)
    assert (key["KeySpec"], key["MultiRegion"]) == (spec, True)
    assert usage in (None, key["KeyUsage"])


def test_a_plan_shows_what_would_be_created_and_creates_nothing(sandbox: Sandbox, work: Workplace) -> None:
    add(work)
    work.write()
    result = work.call("plan", "manifest.json", "--format", "json", "--detailed-exitcode", *quick(()))
    assert result.code == 10, result.stderr
    plan = json.loads(result.stdout)
    (target,) = plan["targets"]
    assert (target["action"], target["key_arn"], plan["summary"]["create"]) == ("create", None, 1)
    assert not kms(sandbox).list_keys()["Keys"]


def test_material_is_checked_before_a_key_is_created(sandbox: Sandbox, work: Workplace) -> None:
    add(work)
    (work.folder / "payments.key").write_bytes(b"too short")
    result = work.run()
    assert result.code == 5
    assert result.entries["payments"]["error"]["code"] == "MaterialWrongLength"
    assert not kms(sandbox).list_keys()["Keys"]


def test_without_the_search_nothing_is_created(sandbox: Sandbox, work: Workplace) -> None:
    add(work)
    sandbox.fault("error", operation="GetResources", code="AccessDeniedException", times=None)
    result = work.run()
    assert result.code == 5
    error = result.entries["payments"]["error"]
    assert (error["code"], error["operation"]) == ("AccessDeniedException", "GetResources")
    assert not kms(sandbox).list_keys()["Keys"]


@pytest.mark.parametrize("operation", ["CreateKey", "CreateAlias"])
def test_a_lost_response_is_looked_for_and_nothing_is_made_twice(
    sandbox: Sandbox, work: Workplace, operation: str
) -> None:
    add(work)
    sandbox.fault("act_then_drop", operation=operation)
    result = work.run()
    assert result.code == 0, result.stderr
    assert result.entries["payments"]["changes"] == ["created", "alias", "imported"]
    assert only_key(sandbox)["KeyState"] == "Enabled"
    assert sent(sandbox)["CreateKey"] == 1


@pytest.mark.parametrize("failing", [{"effect": "http500"}, {"effect": "deny"}], ids=["broken", "denied"])
def test_a_search_that_fails_is_no_proof_that_nothing_was_created(
    sandbox: Sandbox, work: Workplace, failing: dict[str, str]
) -> None:
    """CreateKey's response is lost, and the search for the key fails for longer than it is retried."""
    add(work)
    sandbox.fault("act_then_drop", operation="CreateKey")
    sandbox.fault(operation="GetResources", times=None, after=1, **failing)
    first = work.run("--retry-timeout", "1s")
    assert first.code == 5, first.stderr
    entry = first.entries["payments"]
    assert (entry["error"]["code"], entry["changed"]) == ("OutcomeUnknown", None)
    sandbox.post("faults/clear")
    second = work.run("--resume")
    assert second.code == 0, second.stderr
    assert sent(sandbox)["CreateKey"] == 1
    assert aliases(sandbox) == {"alias/payments": only_key(sandbox)["KeyId"]}


@pytest.mark.parametrize("operation", ["CreateKey", "CreateAlias"])
@pytest.mark.parametrize("code", ["ThrottlingException", "MalformedPolicyDocumentException"])
def test_a_refusal_that_passes_is_repeated(sandbox: Sandbox, work: Workplace, operation: str, code: str) -> None:
    if (operation, code) == ("CreateAlias", "MalformedPolicyDocumentException"):
        code = "NotFoundException"  # right after CreateKey
    add(work)
    sandbox.fault("error", operation=operation, code=code, times=2)
    result = work.run()
    assert result.code == 0, result.stderr
    assert only_key(sandbox)["KeyState"] == "Enabled"
    assert len(sandbox.calls(operation=operation)) == 3


@pytest.mark.parametrize("operation", ["DescribeKey", "GetParametersForImport", "ImportKeyMaterial"])
def test_a_denial_right_after_the_alias_was_created_passes(sandbox: Sandbox, work: Workplace, operation: str) -> None:
    """Permissions by alias take up to five minutes to act."""
    add(work)
    after = 4 if operation == "DescribeKey" else 0  # 3 reads that must not find the key, and the search's
    sandbox.fault("error", operation=operation, code="AccessDeniedException", times=2, after=after)
    result = work.run()
    assert result.code == 0, result.stderr
    assert result.entries["payments"]["status"] == "imported"


def test_two_runs_race_for_one_alias(sandbox: Sandbox, work: Workplace) -> None:
    """The alias decides; the other key is reported, with the call that deletes it."""
    add(work)
    result, winner = lose_the_race(sandbox, work)
    assert result.code == 5, result.stderr
    entry = result.entries["payments"]
    assert (entry["changed"], entry["changes"], entry["error"]["code"]) == (True, ["created"], "OrphanedKey")
    assert entry["key_arn"] != winner["Arn"]
    assert f"ScheduleKeyDeletion with KeyId {entry['key_arn']}, in {REGION}" in entry["error"]["advice"]
    again = work.run()
    assert again.code == 0, again.stderr
    assert again.entries["payments"]["key_arn"] == winner["Arn"]


def test_two_targets_with_one_alias(sandbox: Sandbox, work: Workplace) -> None:
    add(work)
    second = {"key_spec": "SYMMETRIC_DEFAULT", "create": {}}
    work.key("alias/payments", materials.make("SYMMETRIC_DEFAULT"), name="second", **second)
    result = work.run()
    assert result.code == 4, result.stderr
    assert result.entries["second"]["error"]["code"] == "DuplicateKey"
    assert len(kms(sandbox).list_keys()["Keys"]) == 1


DIFFERENT = {
    "another spec": ({"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, "KeySpecMismatch"),
    "another origin": ({"Origin": "AWS_KMS"}, "KeyContradiction"),
    "multi-Region": ({"MultiRegion": True}, "KeyContradiction"),
    "another description": ({"Description": "Somebody's"}, "Drift"),
    "without the tag": ({"Description": "Payments"}, "Drift"),
}


@pytest.mark.parametrize("how", DIFFERENT)
def test_an_alias_of_another_kind_of_key_is_refused_and_nothing_is_changed(
    sandbox: Sandbox, work: Workplace, how: str
) -> None:
    fields, code = DIFFERENT[how]
    key = kms(sandbox).create_key(**{"Origin": "EXTERNAL", **fields})["KeyMetadata"]
    kms(sandbox).create_alias(AliasName="alias/payments", TargetKeyId=key["KeyId"])
    add(work, create={"description": "Payments", "tags": {"Team": "payments"}, "multi_region": False})
    result = work.run()
    assert result.code == 5
    assert result.entries["payments"]["error"]["code"] == code, result.entries["payments"]["error"]
    assert aliases(sandbox) == {"alias/payments": key["KeyId"]}
    assert sent(sandbox)["ImportKeyMaterial"] == 0
    assert only_key(sandbox)["KeyId"] == key["KeyId"]


def test_another_usage_is_refused(sandbox: Sandbox, work: Workplace) -> None:
    key = kms(sandbox).create_key(Origin="EXTERNAL", KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    work.key(key["KeyId"], materials.make("RSA_2048"), name="signing", key_usage="ENCRYPT_DECRYPT")
    result = work.run()
    assert result.entries["signing"]["error"]["code"] == "KeyContradiction"


# --- killed anywhere

SHORT = ("--verify-timeout", "2s")  # also of the search for a key whose creation is unknown
EVENTS = 20  # more than such a run writes


def run(forks: Forks, work: Workplace, *options: str, kill: Kill | None = None) -> Result:
    work.write()
    return forks.run(work.folder, work.environment(), ["run", "manifest.json", *quick(options), *options], kill=kill)


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "run again"])
@pytest.mark.parametrize("seq", range(2, EVENTS))
def test_killed_anywhere_there_is_one_key_and_no_orphan(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int, how: str, *, resumed: bool
) -> None:
    add(work)
    killed = run(forks, work, *SHORT, kill=Kill(seq, how))
    if killed.code == 0:
        assert len(events(work)) < seq  # it wrote fewer events: there was nothing to kill
        return
    assert killed.code == -signal.SIGKILL
    result = run(forks, work, *SHORT, *(("--resume",) if resumed else ()))
    if resumed and result.code == 5:
        # The intent was all that was left: nobody knows whether the request was sent, and it is never repeated blindly.
        entry = result.entries["payments"]
        assert (entry["changed"], entry["error"]["code"]) == (None, "OutcomeUnknown")
        assert entry["error"]["operation"] == "CreateKey"
        assert not kms(sandbox).list_keys()["Keys"]
        result, resumed = run(forks, work, *SHORT), False
    assert result.code == 0, result.stderr
    key = only_key(sandbox)
    assert (key["KeyState"], aliases(sandbox)) == ("Enabled", {"alias/payments": key["KeyId"]})
    assert sent(sandbox)["CreateKey"] == 1
    entry = result.entries["payments"]
    assert entry["key_arn"] == key["Arn"]
    if resumed:
        assert entry["changes"] == ["created", "alias", "imported"]
    ciphertext = kms(sandbox).encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    assert kms(sandbox).decrypt(CiphertextBlob=ciphertext)["Plaintext"] == b"x"


def test_a_run_writes_fewer_events_than_are_tried(sandbox: Sandbox, work: Workplace) -> None:
    add(work)
    assert work.run().code == 0
    assert 12 < len(events(work)) < EVENTS
    assert Path(work.folder / "report.json").exists()
