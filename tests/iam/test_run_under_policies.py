"""Real runs with the printed policies in force: they allow all that a run asks for, and nothing that it does not."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import QUICK, Workplace
from tests.faults.support import wait_until
from tests.iam.gatekeeper import Gatekeeper, Policies
from tests.sandbox_client import Sandbox

A, B = "111122223333", "444455556666"
VALID_TO = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
ALL = ("--prove", "all", "--prove-use")


def plant(sandbox: Sandbox, work: Workplace) -> None:
    """Keys of every kind, named in every way, in two accounts; a stranger next to them in each."""
    for account in (A, B):
        sandbox.key(account, alias="alias/stranger")
        sandbox.key(account, "eu-west-1", alias="alias/payments")
    symmetric = materials.make("SYMMETRIC_DEFAULT")
    sandbox.key(A, alias="alias/payments")
    work.key("alias/payments", symmetric, name="by-alias", account=A, valid_to=VALID_TO.isoformat())
    mac = sandbox.key(A, key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    work.key(mac["key_id"], materials.make("HMAC_256"), name="by-id", account=A, key_spec="HMAC_256")
    rsa = sandbox.key(B, key_spec="RSA_2048", key_usage="SIGN_VERIFY")
    work.key(rsa["arn"], materials.make("RSA_2048"), name="by-arn", account=B, wrapping_key_spec="RSA_3072")
    plain = sandbox.key(B, alias="alias/plain")
    work.key(plain["arn"].rsplit(":", 1)[0] + ":alias/plain", symmetric, name="by-alias-arn", account=B, valid_for="9d")


def policies_of(work: Workplace, *options: str) -> tuple[dict[str, Any], Policies]:
    work.write()
    printed = work.call("iam", "manifest.json", *options)
    assert printed.code == 0, printed.stderr
    document = json.loads(printed.stdout)
    return document, {section["account"]: section["permissions_policies"] for section in document["accounts"]}


def actions(policies: Policies) -> set[str]:
    return {
        action
        for documents in policies.values()
        for document in documents
        for statement in document["Statement"]
        for action in statement["Action"]
    }


def test_a_run_needs_what_is_granted_and_no_more(sandbox: Sandbox, work: Workplace) -> None:
    plant(sandbox, work)
    _, policies = policies_of(work, *ALL)
    with Gatekeeper(sandbox, policies) as gate:
        first = work.run(*ALL, "--require-proof", BULK_IMPORT_ENDPOINT_URL=gate.url)
        again = work.run(*ALL, "--require-proof", BULK_IMPORT_ENDPOINT_URL=gate.url)
        planned = work.call("plan", "manifest.json", *QUICK, BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert (first.code, again.code, planned.code) == (0, 0, 0), first.stderr + again.stderr
    assert all(verdict for _, verdict in gate.asked)
    assert {request.action for request, _ in gate.asked} == actions(policies)
    assert {entry["verification"]["round_trip"] for entry in again.entries.values()} == {True, None}


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ((), {"kms:Encrypt", "kms:Decrypt"}),
        (("--prove", "none"), {"kms:Encrypt", "kms:Decrypt", "kms:GenerateMac", "kms:GetPublicKey"}),
    ],
)
def test_options_that_ask_for_less_are_granted_less(
    sandbox: Sandbox, work: Workplace, options: tuple[str, ...], missing: set[str]
) -> None:
    plant(sandbox, work)
    for fields in work.keys:  # with stated key specs there is nothing to provide for
        fields["key_spec"] = {"by-id": "HMAC_256", "by-arn": "RSA_2048"}.get(fields["id"], "SYMMETRIC_DEFAULT")
    _, everything = policies_of(work, *ALL)
    _, policies = policies_of(work, *options)
    assert actions(everything) - actions(policies) == missing
    with Gatekeeper(sandbox, policies) as gate:
        result = work.run(*options, BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert result.code == 0, result.stderr
    assert all(verdict for _, verdict in gate.asked)


def test_the_policies_are_in_force_in_these_tests(sandbox: Sandbox, work: Workplace) -> None:
    """Policies for other keys than the manifest's let nothing through."""
    plant(sandbox, work)
    _, policies = policies_of(work)
    work.keys[0]["key_id"] = "alias/stranger"
    with Gatekeeper(sandbox, policies) as gate:
        result = work.run("--only-id", "by-alias", BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert result.code == 5
    assert result.entries["by-alias"]["error"]["code"] == "AccessDeniedException"
    assert [verdict for _, verdict in gate.asked] == [False]


def test_a_run_that_creates_its_keys(sandbox: Sandbox, work: Workplace) -> None:
    """The first run creates, the second adopts what a run without a right left, and none asks for more."""
    symmetric = materials.make("SYMMETRIC_DEFAULT")
    create = {"description": "New", "tags": {"Team": "payments"}}
    work.key("alias/new", symmetric, name="new", account=A, key_spec="SYMMETRIC_DEFAULT", create=create)
    _, policies = policies_of(work)
    without = {A: [_without(document, "CreateAlias") for document in policies[A]]}
    quick = ("--retry-timeout", "1s", "--verify-timeout", "1s", "--max-failures", "1")
    with Gatekeeper(sandbox, without) as gate:
        process = work.start(*quick, BULK_IMPORT_ENDPOINT_URL=gate.url)
        wait_until(lambda: bool(sandbox.keys(account=A)), process)
        process.kill()
        process.communicate()
    (unfinished,) = sandbox.keys(account=A)
    assert unfinished["aliases"] == []
    with Gatekeeper(sandbox, policies) as gate:
        first = work.run(BULK_IMPORT_ENDPOINT_URL=gate.url)
        entry = first.entries["new"]
        again = work.run(BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert all(verdict for _, verdict in gate.asked)
    assert (entry["key_arn"], entry["changes"]) == (unfinished["arn"], ["alias", "imported"])
    assert again.entries["new"]["status"] == "unchanged"


def test_a_run_that_rotates_a_key(sandbox: Sandbox, work: Workplace) -> None:
    """Each material is imported under the condition of its own expiry."""
    sandbox.key(A, alias="alias/rotated")
    work.defaults["encoding"] = "raw"
    work.key("alias/rotated", materials.make("SYMMETRIC_DEFAULT"), name="old", account=A)
    (work.folder / "new.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    old = {"name": "old", "material": work.keys[0].pop("material"), "valid_to": "never"}
    work.keys[0]["materials"] = [old, {"name": "new", "material": "file:new.key", "valid_for": "9d"}]
    material = materials.make("SYMMETRIC_DEFAULT")
    sandbox.key(A, alias="alias/family", multi_region=True, material={"hex": material.hex()}, replicas=["eu-west-1"])
    work.key("alias/family", material, name="family", account=A, replicas=["eu-west-1"])
    family = {"name": "first", "material": work.keys[1].pop("material")}
    work.keys[1]["materials"] = [family, {"name": "new", "material": "file:new.key"}]
    _, policies = policies_of(work)
    granted = [one for documents in policies.values() for each in documents for one in each["Statement"]]
    there = [one for one in granted if "eu-west-1" in json.dumps(one)]
    assert there
    assert "RotateKeyOnDemand" not in json.dumps(there)
    with Gatekeeper(sandbox, policies) as gate:
        first = work.run(BULK_IMPORT_ENDPOINT_URL=gate.url)
        changes = first.entries["old"]["changes"]
        assert [one["changes"] for one in first.report["results"][1:]] == [["imported", "rotated"], ["imported"]]
        again = work.run(BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert (changes, again.entries["old"]["changes"]) == (["imported", "rotated"], [])
    assert all(verdict for _, verdict in gate.asked)
    assert {request.action for request, _ in gate.asked} == actions(policies)


def test_a_run_that_creates_replicas(sandbox: Sandbox, work: Workplace) -> None:
    create = {"tags": {"Team": "payments"}}
    work.key("alias/new", materials.make("SYMMETRIC_DEFAULT"), name="new", account=A, key_spec="SYMMETRIC_DEFAULT",
             create=create, replicas=["eu-west-1"])  # fmt: skip
    _, policies = policies_of(work)
    with Gatekeeper(sandbox, policies) as gate:
        first = work.run(BULK_IMPORT_ENDPOINT_URL=gate.url)
        again = work.run("--only-region", "eu-west-1", BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert all(verdict for _, verdict in gate.asked)
    assert {"kms:ReplicateKey", "kms:CreateKey"} <= {request.action for request, _ in gate.asked}
    alone, _ = policies_of(work, "--only-region", "eu-west-1")
    assert "kms:ReplicateKey" in json.dumps(alone)


def _without(document: dict[str, Any], action: str) -> dict[str, Any]:
    kept = [
        statement | {"Action": [one for one in statement["Action"] if one != f"kms:{action}"]}
        for statement in document["Statement"]
    ]
    return document | {"Statement": [statement for statement in kept if statement["Action"]]}


def test_the_steps_of_a_ceremony_need_what_is_granted_and_no_more(sandbox: Sandbox, work: Workplace) -> None:
    """`--command prepare` and `--command submit`: each step asks for all that it is granted, and for nothing else."""
    plant(sandbox, work)
    _, of_prepare = policies_of(work, "--command", "prepare")
    _, of_submit = policies_of(work, "--command", "submit", "--prove-use")
    assert "kms:ImportKeyMaterial" not in actions(of_prepare)
    assert "kms:GetParametersForImport" not in actions(of_submit)

    def ceremony(*prepare: str) -> set[str]:
        """The actions that the two steps asked for together."""
        with Gatekeeper(sandbox, of_prepare) as gate:
            work.folder.joinpath("bundle.jsonl").unlink(missing_ok=True)
            prepared = work.call(
                "prepare", "manifest.json", "bundle.jsonl", "--quota", "GetParametersForImport=50", *prepare,
                BULK_IMPORT_ENDPOINT_URL=gate.url,
            )  # fmt: skip
            assert prepared.code == 0, prepared.stderr
        asked = {request.action for request, verdict in gate.asked if verdict}
        assert asked <= actions(of_prepare)
        work.folder.joinpath("sealed.jsonl").unlink(missing_ok=True)
        vouch = ("--fingerprint", sha256(work.folder / "bundle.jsonl"))
        assert work.call("seal", "bundle.jsonl", "manifest.json", "sealed.jsonl", *vouch).code == 0
        with Gatekeeper(sandbox, of_submit) as gate:
            submitted = work.call(
                "submit", "bundle.jsonl", "sealed.jsonl", *vouch, "--fingerprint", sha256(work.folder / "sealed.jsonl"),
                "--read-interval", "20ms", "--prove-use", BULK_IMPORT_ENDPOINT_URL=gate.url,
            )  # fmt: skip
            assert submitted.code == 0, submitted.stderr
        return asked | {request.action for request, verdict in gate.asked if verdict}

    # Empty keys, then the same keys with material: what is granted for either is used by one of the two.
    assert ceremony() | ceremony("--standby") == actions(of_prepare) | actions(of_submit)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("command", "step"), [("prepare", "submit"), ("submit", "prepare")])
def test_the_role_of_one_step_cannot_do_the_other(command: str, step: str, sandbox: Sandbox, work: Workplace) -> None:
    plant(sandbox, work)
    _, policies = policies_of(work, "--command", command)
    quick = ("--quota", "GetParametersForImport=50")
    if step == "submit":
        assert work.call("prepare", "manifest.json", "bundle.jsonl", *quick).code == 0
        vouch = ["--fingerprint", sha256(work.folder / "bundle.jsonl")]
        assert work.call("seal", "bundle.jsonl", "manifest.json", "sealed.jsonl", *vouch).code == 0
        vouch += ["--fingerprint", sha256(work.folder / "sealed.jsonl")]
    with Gatekeeper(sandbox, policies) as gate:
        if step == "prepare":
            result = work.call("prepare", "manifest.json", "bundle.jsonl", *quick, BULK_IMPORT_ENDPOINT_URL=gate.url)
        else:
            result = work.call("submit", "bundle.jsonl", "sealed.jsonl", *vouch, BULK_IMPORT_ENDPOINT_URL=gate.url)
    denied = {"prepare": "kms:GetParametersForImport", "submit": "kms:ImportKeyMaterial"}[step]
    assert (result.code, denied in result.stderr) == (5, True), result.stderr
    left = sandbox.keys()
    assert {key["state"] for key in left} == {"PendingImport"}
