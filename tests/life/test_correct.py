"""A key that differs from `create`: what is corrected, what is refused, and what happens when a correction fails."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from bulk_import.drift import same_policy
from bulk_import.text import harmless
from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.faults.forks import Forks, Kill
from tests.faults.support import events
from tests.life.test_create import kms, only_key, run, sent, tags
from tests.life.test_policy import ROOT, policy_of
from tests.sandbox_client import Sandbox

STATED = {
    "description": "Payments",
    "tags": {"Team": "payments", "Stage": "prod"},
    "policy": {
        "Version": "2012-10-17",
        "Statement": [ROOT, {**ROOT, "Sid": "Use", "Action": ["kms:Sign", "kms:Verify"]}],
    },
}
ALL = ("--correct", "description", "--correct", "tags", "--correct", "policy")
AS_STATED = {
    "description": "Payments", "tags": {"Team": "payments", "Stage": "prod", "Other": "stays"},
}  # fmt: skip


def existing(sandbox: Sandbox, work: Workplace, *, filled: bool = True, spec: str = "HMAC_256") -> dict[str, str]:
    """A key that differs in everything, and a target that names it."""
    material = materials.make(spec)
    held = {"material": {"hex": material.hex()}} if filled else {}
    key = sandbox.key(key_spec=spec, alias="alias/payments", description="Old", **held)
    client = kms(sandbox)
    client.tag_resource(KeyId=key["key_id"], Tags=[{"TagKey": "Team", "TagValue": "old"}, _tag("Other", "stays")])
    work.defaults["wrapping_key_spec"] = "RSA_2048"
    work.key("alias/payments", material, name="payments", key_spec=spec, create=STATED)
    return key


def _tag(name: str, value: str) -> dict[str, str]:
    return {"TagKey": name, "TagValue": value}


def is_as_stated(sandbox: Sandbox, key_id: str) -> None:
    found = kms(sandbox).describe_key(KeyId=key_id)["KeyMetadata"]
    assert found["Description"] == "Payments"
    assert tags(sandbox, key_id) == AS_STATED["tags"]
    stated = json.dumps(STATED["policy"]).replace("{account}", ACCOUNT)
    assert same_policy(stated, json.dumps(policy_of(sandbox, key_id)))


def test_what_is_named_is_corrected_and_a_second_run_changes_nothing(sandbox: Sandbox, work: Workplace) -> None:
    key = existing(sandbox, work)
    result = work.run(*ALL)
    assert result.code == 0, result.stderr
    entry = result.entries["payments"]
    assert (entry["status"], entry["changed"], entry["changes"]) == (
        "corrected", True, ["policy", "tags", "description"],
    )  # fmt: skip
    assert (entry["verification"]["proof"], entry["attempts"]) == ("hmac", 0)
    assert result.report["summary"]["corrected"] == result.report["summary"]["total"] == 1
    is_as_stated(sandbox, key["key_id"])
    again = work.run(*ALL)
    assert (again.code, again.entries["payments"]["status"]) == (0, "unchanged")
    assert (
        sent(sandbox)["PutKeyPolicy"] == sent(sandbox)["TagResource"] - 1 == sent(sandbox)["UpdateKeyDescription"] == 1
    )


def test_a_key_without_material_is_corrected_and_filled(sandbox: Sandbox, work: Workplace) -> None:
    """The policy may be what allows the import: it comes first."""
    key = existing(sandbox, work, filled=False, spec="SYMMETRIC_DEFAULT")
    result = work.run(*ALL)
    assert result.code == 0, result.stderr
    entry = result.entries["payments"]
    assert (entry["status"], entry["changes"]) == ("imported", ["policy", "tags", "description", "imported"])
    is_as_stated(sandbox, key["key_id"])


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ((), ["the policy", "the tag Team is 'old', not 'payments'", "the tag Stage is missing"]),
        (("--correct", "policy", "--correct", "tags"), ["the description is 'Old', not 'Payments'"]),
        (("--correct", "tags", "--correct", "description"), ["lacks 2 statements (Root, Use) of `create.policy`"]),
    ],
    ids=["the default", "without description", "without policy"],
)
def test_other_drift_fails_the_target_and_changes_nothing(
    sandbox: Sandbox, work: Workplace, options: tuple[str, ...], left: list[str]
) -> None:
    key = existing(sandbox, work)
    result = work.run(*options)
    assert result.code == 5
    entry = result.entries["payments"]
    assert (entry["changed"], entry["error"]["code"]) == (False, "Drift")
    assert all(text in entry["error"]["message"] for text in left), entry["error"]
    assert "--correct" in entry["error"]["advice"]
    assert kms(sandbox).describe_key(KeyId=key["key_id"])["KeyMetadata"]["Description"] == "Old"
    assert sent(sandbox)["PutKeyPolicy"] == sent(sandbox)["UpdateKeyDescription"] == 0


def test_a_plan_shows_the_corrections_with_their_cause(sandbox: Sandbox, work: Workplace) -> None:
    existing(sandbox, work)
    work.write()
    result = work.call("plan", "manifest.json", "--format", "json", "--detailed-exitcode", *ALL)
    assert result.code == 10, result.stderr
    plan = json.loads(result.stdout)
    (target,) = plan["targets"]
    assert (target["action"], plan["summary"]["correct"]) == ("correct", 1)
    assert "the description is 'Old', not 'Payments'" in target["detail"]
    assert sent(sandbox)["UpdateKeyDescription"] == 0


@pytest.mark.parametrize("operation", ["PutKeyPolicy", "TagResource", "UpdateKeyDescription"])
@pytest.mark.parametrize("effect", ["act_then_drop", "ThrottlingException"])
def test_a_lost_or_refused_correction_is_repeated(
    sandbox: Sandbox, work: Workplace, forks: Forks, operation: str, effect: str
) -> None:
    key = existing(sandbox, work)
    if effect == "act_then_drop":
        sandbox.fault(effect, operation=operation)
    else:
        sandbox.fault("error", operation=operation, code=effect, times=2)
    result = run(forks, work, *ALL)
    assert result.code == 0, result.stderr
    assert result.entries["payments"]["changes"] == ["policy", "tags", "description"]
    is_as_stated(sandbox, key["key_id"])


def test_a_denial_after_the_policy_was_set_passes(sandbox: Sandbox, work: Workplace) -> None:
    existing(sandbox, work, filled=False)
    sandbox.fault("error", operation="GetParametersForImport", code="AccessDeniedException", times=2)
    result = work.run(*ALL)
    assert result.code == 0, result.stderr


def test_a_denial_without_a_change_of_this_run_is_final(sandbox: Sandbox, work: Workplace) -> None:
    existing(sandbox, work)
    sandbox.fault("error", operation="PutKeyPolicy", code="AccessDeniedException", times=None)
    result = work.run(*ALL)
    entry = result.entries["payments"]
    assert (entry["changed"], entry["error"]["code"]) == (False, "AccessDeniedException")
    assert len(sandbox.calls(operation="PutKeyPolicy")) == 1


def test_corrections_are_seen_at_every_host_before_they_count(sandbox: Sandbox, work: Workplace) -> None:
    key = existing(sandbox, work)
    sandbox.post("lag", seconds=1, share=0.5, seed=3)
    result = work.run(*ALL, "--consistency-timeout", "10s")  # the key itself is new, too
    assert result.code == 0, result.stderr
    assert result.entries["payments"]["verification"]["consecutive"] == 3
    sandbox.post("lag", seconds=0)  # for the client of this test
    is_as_stated(sandbox, key["key_id"])


TEXTS = ["Payments\nin two lines\n", "a::error::b", "zero\u200bwidth", "a\ttab"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_description_is_compared_as_it_is(sandbox: Sandbox, work: Workplace, text: str) -> None:
    """As a block of YAML has it. What is shown of it is made harmless; what is compared is not."""
    work.defaults["wrapping_key_spec"] = "RSA_2048"
    work.key("alias/payments", materials.make("HMAC_256"), name="payments", key_spec="HMAC_256",
             create={"description": text})  # fmt: skip
    result = work.run("--verify-timeout", "5s")
    assert result.code == 0, result.stderr
    assert only_key(sandbox)["Description"] == text
    again = work.run("--verify-timeout", "5s")
    assert (again.code, again.entries["payments"]["status"]) == (0, "unchanged"), again.stderr


@pytest.mark.parametrize("text", TEXTS)
def test_a_description_that_only_looks_like_the_stated_one_is_corrected(
    sandbox: Sandbox, work: Workplace, text: str
) -> None:
    """The manifest states what would be shown of it."""
    material = materials.make("HMAC_256")
    key = sandbox.key(key_spec="HMAC_256", alias="alias/payments", description=text, material={"hex": material.hex()})
    stated = harmless(text)
    work.key("alias/payments", material, name="payments", key_spec="HMAC_256", create={"description": stated})
    result = work.run("--verify-timeout", "5s")
    assert (result.code, result.entries["payments"]["status"]) == (0, "corrected"), result.stderr
    assert kms(sandbox).describe_key(KeyId=key["key_id"])["KeyMetadata"]["Description"] == stated


def test_a_deleted_role_is_reported_as_such(sandbox: Sandbox, work: Workplace) -> None:
    """KMS shows the ID of a principal that is gone, not its ARN."""
    key = existing(sandbox, work)
    gone = {**ROOT, "Sid": "Old role", "Principal": {"AWS": "AROAEXAMPLEEXAMPLE12"}}
    root = {**ROOT, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    kms(sandbox).put_key_policy(KeyId=key["key_id"], Policy=json.dumps({"Statement": [root, gone]}))
    message = work.run("--correct", "tags", "--correct", "description").entries["payments"]["error"]["message"]
    assert "AROAEXAMPLEEXAMPLE12 is the ID of a role that was deleted" in message
    for command in ("plan", "status"):
        shown = work.call(command, "manifest.json", "--read-interval", "20ms")
        assert "AROAEXAMPLEEXAMPLE12 is the ID of a role that was deleted" in shown.stdout.decode(), command


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"Action": "kms:*"}, {"Action": ["kms:*"]}, True),
        ({"Action": ["kms:Sign", "kms:Verify"]}, {"Action": ["kms:Verify", "kms:Sign"]}, True),
        ({"Principal": {"AWS": "111122223333"}}, {"Principal": {"AWS": "arn:aws:iam::111122223333:root"}}, True),
        ({"Principal": "*"}, {"Principal": {"AWS": "*"}}, True),
        ({"Condition": {"Bool": {"a": True}}}, {"Condition": {"Bool": {"a": ["true"]}}}, True),
        ({"Effect": "Allow"}, {"Effect": "Deny"}, False),
        ({"Principal": {"AWS": "111122223333"}}, {"Principal": {"AWS": "444455556666"}}, False),
        ({"Condition": {"Bool": {"a": "true"}}}, {}, False),
        ({"Action": ["kms:Sign"]}, {"NotAction": ["kms:Sign"]}, False),
    ],
)
def test_policies_are_compared_by_what_they_say(one: Any, other: Any, *, same: bool) -> None:
    first, second = (json.dumps({"Version": "2012-10-17", "Statement": [part]}) for part in (one, other))
    assert same_policy(first, second) is same
    assert same_policy(first, json.dumps({"Version": "2012-10-17", "Statement": [two := other, two]})) is False or same


@pytest.mark.parametrize("value", ["tag", "Policy", ""])
def test_only_what_can_be_corrected_can_be_named(work: Workplace, value: str) -> None:
    work.key("alias/payments", b"x" * 32, name="payments")
    assert work.run("--correct", value).code == 2
    if value:
        assert work.run(BULK_IMPORT_CORRECT=value).code == 3


def test_a_resume_with_another_correct_is_refused(sandbox: Sandbox, work: Workplace) -> None:
    existing(sandbox, work)
    work.keys[0]["create"] = {"description": "Payments"}
    sandbox.fault("error", operation="UpdateKeyDescription", code="AccessDeniedException", times=None)
    assert work.run().code == 5
    refused = work.run("--resume", "--correct", "policy")
    assert (refused.code, "--correct" in refused.stderr) == (3, True), refused.stderr


EVENTS = 22  # more than such a run writes


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "run again"])
@pytest.mark.parametrize("seq", range(2, EVENTS, 2))
def test_killed_anywhere_the_next_run_completes_it(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int, how: str, *, resumed: bool
) -> None:
    key = existing(sandbox, work, filled=False)
    killed = run(forks, work, *ALL, kill=Kill(seq, how))
    if killed.code == 0:
        assert len(events(work)) < seq
        return
    assert killed.code == -signal.SIGKILL
    result = run(forks, work, *ALL, *(("--resume",) if resumed else ()))
    assert result.code == 0, result.stderr
    is_as_stated(sandbox, key["key_id"])
    assert only_key(sandbox)["KeyState"] == "Enabled"
    entry = result.entries["payments"]
    if resumed:
        assert entry["changes"] == ["policy", "tags", "description", "imported"]
    assert entry["key_arn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key['key_id']}"


def test_a_key_is_corrected_and_rotated_by_one_run(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """The correction comes first, and no step of the rotation is lost."""
    work.defaults |= {"wrapping_key_spec": "RSA_2048", "encoding": "raw"}
    fields = {"account": ACCOUNT, "region": REGION, "key_id": "alias/payments", "key_spec": "SYMMETRIC_DEFAULT"}
    entry: dict[str, Any] = {"id": "payments", **fields, "create": {"description": "Old"}, "materials": []}
    work.keys.append(entry)
    for name in ("2025", "2026"):
        (work.folder / f"{name}.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
        entry["materials"].append({"name": name, "material": f"file:{name}.key"})
        result = run(forks, work)
        assert result.code == 0, result.stderr
        entry["create"] = {"description": "Payments"}
    assert result.entries["payments"]["changes"] == ["description", "imported", "rotated"]
    key = only_key(sandbox)
    assert key["Description"] == "Payments"
    found = kms(sandbox).list_key_rotations(KeyId=key["KeyId"], IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    assert {one["KeyMaterialDescription"]: one["KeyMaterialState"] for one in found} == {
        "2025": "NON_CURRENT", "2026": "CURRENT",
    }  # fmt: skip
