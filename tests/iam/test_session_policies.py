"""`--session-policy`: an assumed session can do what the command does, on the manifest's keys, and nothing else.

The policies are read at the sandbox, which received them, and tried by an independent client that assumes the role with
the same policy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.ceremony.conftest import spoken
from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, ROLE, Workplace
from tests.sandbox_client import Sandbox

ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
READ = {"kms:DescribeKey", "kms:ListKeyRotations", "kms:GenerateMac", "kms:GetPublicKey"}
ALL_SPECS = ("SYMMETRIC_DEFAULT", "HMAC_256", "ECC_NIST_P256")


def policies(sandbox: Sandbox, account: str = ACCOUNT) -> list[dict[str, Any] | None]:
    """Of every session of the account's role that the program opened, in order."""
    sessions = [one for one in sandbox.get("sessions") if one["account"] == account and "/bulk-import-" in one["arn"]]
    return [one["policy"] and json.loads(one["policy"]) for one in sessions]


def allowed(policy: dict[str, Any]) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def resources(policy: dict[str, Any]) -> set[str]:
    return {resource for statement in policy["Statement"] for resource in statement["Resource"]}


def with_keys(sandbox: Sandbox, work: Workplace, *specs: str) -> list[dict[str, str]]:
    """A key for each spec in the sandbox and in the manifest."""
    made = []
    for number, spec in enumerate(specs):
        made.append(sandbox.key(key_spec=spec, key_usage=materials.usage(spec)))
        work.key(made[-1]["key_id"], materials.make(spec), name=f"k{number}", key_spec=spec)
    return made


def session(sandbox: Sandbox, policy: dict[str, Any]) -> Any:
    """An independent client of the importer role, limited by the same policy."""
    given = sandbox.client("sts", None).assume_role(
        RoleArn=ROLE_ARN, RoleSessionName="independent", Policy=json.dumps(policy)
    )["Credentials"]
    return boto3.client(
        "kms", region_name=REGION, endpoint_url=sandbox.url, aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"],
    )  # fmt: skip


def denied(call: Callable[[], Any]) -> bool:
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response["Error"]
    return answer["Code"] == "AccessDeniedException" and "no session policy allows" in answer["Message"]


def test_a_run_may_do_its_own_on_its_own_keys_and_no_more(sandbox: Sandbox, work: Workplace) -> None:
    keys = with_keys(sandbox, work, *ALL_SPECS)
    stranger = sandbox.key()
    result = work.run("--prove-use")
    assert result.code == 0, result.stderr
    [policy] = policies(sandbox)
    assert policy is not None
    assert allowed(policy) == READ | {
        "kms:GetParametersForImport", "kms:ImportKeyMaterial", "kms:Encrypt", "kms:Decrypt",
    }  # fmt: skip
    assert resources(policy) == {key["arn"] for key in keys}
    assert [lane["session_policy"] for lane in result.report["lanes"]] == ["keys"]
    kms = session(sandbox, policy)
    assert kms.describe_key(KeyId=keys[0]["arn"])["KeyMetadata"]["KeyState"] == "Enabled"
    assert denied(lambda: kms.describe_key(KeyId=stranger["arn"]))
    assert denied(lambda: kms.delete_imported_key_material(KeyId=keys[0]["arn"]))
    assert denied(lambda: kms.schedule_key_deletion(KeyId=keys[0]["arn"]))
    assert denied(lambda: kms.put_key_policy(KeyId=keys[0]["arn"], Policy="{}"))
    assert sandbox.client().describe_key(KeyId=keys[0]["arn"])["KeyMetadata"]["KeyState"] == "Enabled"


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (("plan", "manifest.json"), {"kms:GenerateMac"}),
        (("run", "manifest.json", "--dry-run"), {"kms:GenerateMac"}),
        (("prepare", "manifest.json", "bundle.jsonl"), {"kms:GetParametersForImport"}),
    ],
)
def test_other_commands_may_do_less(
    sandbox: Sandbox, work: Workplace, command: tuple[str, ...], more: set[str]
) -> None:
    [key] = with_keys(sandbox, work, "HMAC_256")
    work.write()
    result = work.call(*command)
    assert result.code == 0, result.stderr
    [policy] = policies(sandbox)
    assert policy is not None
    assert allowed(policy) == {"kms:DescribeKey"} | more
    kms = session(sandbox, policy)
    assert denied(lambda: kms.import_key_material(
        KeyId=key["arn"], ImportToken=b"t", EncryptedKeyMaterial=b"m",
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE"))  # fmt: skip


def aliased(sandbox: Sandbox, work: Workplace) -> None:
    sandbox.key(alias="alias/a")
    work.key("alias/a", materials.make("SYMMETRIC_DEFAULT"), name="aliased")


def created(_: Sandbox, work: Workplace) -> None:
    work.key("alias/new", materials.make("SYMMETRIC_DEFAULT"), name="new", key_spec="SYMMETRIC_DEFAULT",
             create={"tags": {"Team": "payments"}})  # fmt: skip


def many(sandbox: Sandbox, work: Workplace) -> None:
    """More ARNs than 2,048 characters hold."""
    with_keys(sandbox, work, *["SYMMETRIC_DEFAULT"] * 26)


def too_large_for_sts(sandbox: Sandbox, work: Workplace) -> None:
    with_keys(sandbox, work, "SYMMETRIC_DEFAULT")
    sandbox.fault("error", operation="AssumeRole", code="PackedPolicyTooLarge",
                  message="Packed policy consumes 112% of allotted space, please use smaller policy.")  # fmt: skip


@pytest.mark.parametrize("case", [aliased, created, many, too_large_for_sts])
def test_an_account_gets_the_operations_where_its_keys_cannot_be_named(
    sandbox: Sandbox, work: Workplace, case: Callable[[Sandbox, Workplace], None]
) -> None:
    case(sandbox, work)
    result = work.run()
    assert result.code == 0, result.stderr
    [policy] = policies(sandbox)
    assert policy is not None
    assert resources(policy) == {"*"}
    assert {"kms:DescribeKey", "kms:ImportKeyMaterial"} <= allowed(policy)
    assert "kms:PutKeyPolicy" not in allowed(policy)
    assert ("kms:CreateKey" in allowed(policy)) == (case is created)
    assert [lane["session_policy"] for lane in result.report["lanes"]] == ["operations"]
    assert len(sandbox.calls(operation="AssumeRole", principal="arn:aws:iam::000000000000:user/pipeline")) == (
        2 if case is too_large_for_sts else 1
    )


def test_too_large_with_the_operations_alone_fails_with_advice(sandbox: Sandbox, work: Workplace) -> None:
    with_keys(sandbox, work, "SYMMETRIC_DEFAULT")
    sandbox.fault("error", operation="AssumeRole", code="PackedPolicyTooLarge", message="too large", times=None)
    result = work.run()
    assert result.code == 5
    error = result.entries["k0"]["error"]
    assert error["code"] == "PackedPolicyTooLarge"
    assert "--session-policy off" in error["advice"]
    assert len(sandbox.calls(operation="AssumeRole")) == 2


@pytest.mark.parametrize(("asked", "used"), [("operations", "operations"), ("off", "off")])
def test_as_asked(sandbox: Sandbox, work: Workplace, asked: str, used: str) -> None:
    with_keys(sandbox, work, "HMAC_256")
    result = work.run("--session-policy", asked)
    assert result.code == 0, result.stderr
    [policy] = policies(sandbox)
    assert (policy is None) == (asked == "off")
    assert result.report["lanes"][0]["session_policy"] == used


def test_the_callers_own_credentials_have_no_policy(sandbox: Sandbox, work: Workplace) -> None:
    own = sandbox.key("000000000000", key_spec="HMAC_256")
    work.key(own["key_id"], materials.make("HMAC_256"), name="own", account="000000000000")
    work.accounts["000000000000"] = {"role": None}
    result = work.run()
    assert result.code == 0, result.stderr
    assert sandbox.calls(operation="AssumeRole") == []
    assert result.report["lanes"][0]["session_policy"] is None


def test_each_account_has_its_own(sandbox: Sandbox, work: Workplace) -> None:
    """An account whose keys are named by alias widens no other account's sessions."""
    aliased(sandbox, work)
    there = sandbox.key("444455556666", key_spec="HMAC_256")
    work.key(there["key_id"], materials.make("HMAC_256"), name="there", account="444455556666")
    result = work.run()
    assert result.code == 0, result.stderr
    used = {lane["account"]: lane["session_policy"] for lane in result.report["lanes"]}
    assert used == {ACCOUNT: "operations", "444455556666": "keys"}
    [policy] = policies(sandbox, "444455556666")
    assert policy is not None
    assert resources(policy) == {there["arn"]}


def test_service_quotas_may_be_read_if_they_are_asked_for(sandbox: Sandbox, work: Workplace) -> None:
    with_keys(sandbox, work, "HMAC_256")
    result = work.run("--quotas", "service-quotas")
    assert result.code == 0, result.stderr
    assert "cannot be read" not in result.stderr
    [policy] = policies(sandbox)
    assert policy is not None
    assert "servicequotas:GetServiceQuota" in allowed(policy)


def test_a_role_of_a_source_reads_its_secrets_only(sandbox: Sandbox, work: Workplace) -> None:
    reader, there = "arn:aws:iam::444455556666:role/Reader", "444455556666"
    secrets = sandbox.client("secretsmanager", there)
    secrets.create_secret(Name="byok/one", SecretString=materials.make("HMAC_256").hex())
    key = sandbox.key(key_spec="HMAC_256")
    work.keys.append({"id": "one", "account": ACCOUNT, "region": REGION, "key_id": key["key_id"], "encoding": "hex",
                      "material": f"secretsmanager:byok/one?role={reader}"})  # fmt: skip
    result = work.run("--allow-source", "secretsmanager:", "--allow-source-role", reader)
    assert result.code == 0, result.stderr
    [policy] = policies(sandbox, there)
    assert policy is not None
    assert [one["Resource"] for one in policy["Statement"] if "secretsmanager:GetSecretValue" in one["Action"]] == [
        ["arn:aws:secretsmanager:*:444455556666:secret:byok/one-??????"]
    ]
    assert allowed(policy) == {"secretsmanager:GetSecretValue", "kms:Decrypt"}


def test_the_sandbox_refuses_policies_that_sts_refuses(sandbox: Sandbox) -> None:
    sts = sandbox.client("sts", None)

    def assume(policy: str) -> str:
        try:
            sts.assume_role(RoleArn=ROLE_ARN, RoleSessionName="independent", Policy=policy)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    fits = json.dumps({"Version": "2012-10-17", "Statement": []})
    assert assume(fits + " " * (2048 - len(fits))) == ""
    assert assume(fits + " " * (2049 - len(fits))) == "ValidationError"
    assert assume("{") == "MalformedPolicyDocument"


def test_a_ceremony_needs_no_more_than_its_step(sandbox: Sandbox, work: Workplace) -> None:
    [key] = with_keys(sandbox, work, "HMAC_256")
    work.write()
    prepared = work.call("prepare", "manifest.json", "bundle.jsonl")
    bundle = ("--fingerprint", spoken(prepared))
    sealed = work.call("seal", "bundle.jsonl", "manifest.json", "sealed.jsonl", *bundle)
    vouched = (*bundle, "--fingerprint", spoken(sealed))
    submitted = work.call("submit", "bundle.jsonl", "sealed.jsonl", *vouched, "--read-interval", "20ms")
    assert submitted.code == 0, prepared.stderr + sealed.stderr + submitted.stderr
    _, policy = policies(sandbox)
    assert policy is not None
    assert allowed(policy) == {"kms:DescribeKey", "kms:GenerateMac", "kms:ImportKeyMaterial"}
    assert resources(policy) == {key["arn"]}
    assert submitted.report["lanes"][0]["session_policy"] == "keys"
