"""What creating, naming, tagging, describing, replicating and deleting keys does, and what KMS refuses of it."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.sandbox.helpers import import_material, metadata, refused
from tests.sandbox_client import Sandbox

ACCOUNT, REGION = "111122223333", "us-east-1"
HEX = os.urandom(32).hex()
ROOT = {
    "Sid": "Account",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "kms:*",
    "Resource": "*",
}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


# --- creation
def test_a_key_is_made_with_policy_tags_and_description(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    text = policy(ROOT)
    made = kms.create_key(
        Origin="EXTERNAL",
        MultiRegion=True,
        Description="Payments",
        Policy=text,
        Tags=[{"TagKey": "bulk-import:alias", "TagValue": "alias/payments"}],
    )["KeyMetadata"]
    assert (made["KeyState"], made["Description"], made["MultiRegion"]) == ("PendingImport", "Payments", True)
    assert kms.get_key_policy(KeyId=made["KeyId"]) | {"ResponseMetadata": 0} == {
        "Policy": text,
        "PolicyName": "default",
        "ResponseMetadata": 0,
    }
    assert kms.list_resource_tags(KeyId=made["Arn"])["Tags"] == [
        {"TagKey": "bulk-import:alias", "TagValue": "alias/payments"}
    ]
    kms.create_alias(AliasName="alias/payments", TargetKeyId=made["KeyId"])
    [alias] = kms.list_aliases(KeyId=made["KeyId"])["Aliases"]
    assert (alias["AliasName"], alias["TargetKeyId"]) == ("alias/payments", made["KeyId"])
    assert {"CreationDate", "LastUpdatedDate", "AliasArn"} < set(alias)
    assert [key["KeyArn"] for key in kms.list_keys()["Keys"]] == [made["Arn"]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"KeySpec": "RSA_2048"}, "You must specify a KeyUsage value for all KMS keys except for symmetric encryption"),
        ({"KeySpec": "HMAC_256"}, "You must specify a KeyUsage value"),
        ({"CustomerMasterKeySpec": "ECC_NIST_P256"}, "You must specify a KeyUsage value"),
        (
            {"KeySpec": "HMAC_256", "CustomerMasterKeySpec": "HMAC_384", "KeyUsage": "GENERATE_VERIFY_MAC"},
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request",
        ),
        (
            {"KeySpec": "RSA_2048", "KeyUsage": "KEY_AGREEMENT"},
            "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048",
        ),
        ({"Description": "x" * 8193}, "Member must have length less than or equal to 8192"),
    ],
)
def test_contradictory_keys_are_refused(sandbox: Sandbox, fields: dict[str, str], message: str) -> None:
    with refused("ValidationException") as refusal:
        sandbox.client().create_key(Origin="EXTERNAL", **fields)
    assert message in refusal.message
    assert sandbox.keys() == []


# --- key policies
LOCKOUT = "The new key policy will not allow you to update the key policy in the future."
PRINCIPALS = "Policy contains a statement with one or more invalid principals."
OTHERS = ROOT | {"Principal": {"AWS": "arn:aws:iam::444455556666:root"}}
BAD_POLICIES = {
    "no object": "[]",
    "not JSON": "{",
    "no statement": "{}",
    "empty statements": policy(),
    "a repeated name": policy(ROOT).replace('"Sid"', '"Effect"'),
    "an unknown element": policy(ROOT | {"Who": "*"}),
    "an unknown version": policy(ROOT).replace("2012-10-17", "2012-10-18"),
    "no effect": policy({name: value for name, value in ROOT.items() if name != "Effect"}),
    "no principal": policy({name: value for name, value in ROOT.items() if name != "Principal"}),
    "no action": policy({name: value for name, value in ROOT.items() if name != "Action"}),
    "an action without a service": policy(ROOT | {"Action": "PutKeyPolicy"}),
    "no resource": policy({name: value for name, value in ROOT.items() if name != "Resource"}),
    "a condition as text": policy(ROOT | {"Condition": "always"}),
    "a principal as text": policy(ROOT | {"Principal": "arn:aws:iam::111122223333:root"}),
    "a name as principal": policy(ROOT, ROOT | {"Principal": {"AWS": "Admin"}}),
    "a wildcard in a principal": policy(ROOT, ROOT | {"Principal": {"AWS": "arn:aws:iam::*:root"}}),
    "an unknown kind of principal": policy(ROOT, ROOT | {"Principal": {"Role": "*"}}),
}


@pytest.mark.parametrize("text", BAD_POLICIES.values(), ids=BAD_POLICIES)
def test_malformed_key_policies_are_refused_everywhere(sandbox: Sandbox, text: str) -> None:
    kms = sandbox.client()
    key = sandbox.key(multi_region=True, material={"hex": HEX})["key_id"]
    before = kms.get_key_policy(KeyId=key)["Policy"]
    for call in (
        lambda: kms.create_key(Policy=text, BypassPolicyLockoutSafetyCheck=True),
        lambda: kms.put_key_policy(KeyId=key, Policy=text, BypassPolicyLockoutSafetyCheck=True),
        lambda: kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-1", Policy=text),
    ):
        with refused("MalformedPolicyDocumentException") as refusal:
            call()
        assert refusal.message != LOCKOUT
    assert kms.get_key_policy(KeyId=key)["Policy"] == before
    assert len(sandbox.keys()) == 1


@pytest.mark.parametrize(
    "statement",
    [
        OTHERS,
        ROOT | {"Action": ["kms:Encrypt", "kms:PutKeyPolic"]},
        ROOT | {"Effect": "Deny"},
        ROOT | {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Other"}},
        ROOT | {"Principal": {"Service": "s3.amazonaws.com"}},
    ],
)
def test_a_policy_that_locks_the_caller_out_is_refused(sandbox: Sandbox, statement: dict[str, Any]) -> None:
    kms = sandbox.client()
    with refused("MalformedPolicyDocumentException") as refusal:
        kms.create_key(Policy=policy(statement))
    assert refusal.message == LOCKOUT
    made = kms.create_key(Policy=policy(statement), BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]["KeyId"]
    with refused("MalformedPolicyDocumentException"):
        kms.put_key_policy(KeyId=made, Policy=policy(statement))


@pytest.mark.parametrize(
    "statement",
    [
        ROOT,
        ROOT | {"Action": ["kms:Put*"]},
        ROOT | {"Action": "*", "Principal": "*"},
        ROOT | {"Principal": {"AWS": [ACCOUNT]}},
        ROOT | {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Tester"}},
    ],
)
def test_a_policy_that_keeps_the_caller_is_accepted(sandbox: Sandbox, statement: dict[str, Any]) -> None:
    assert sandbox.client().create_key(Policy=policy(statement))["KeyMetadata"]["KeyId"]


def test_other_refusals_of_policies(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = sandbox.key()["key_id"]
    with refused("NotFoundException") as refusal:
        kms.put_key_policy(KeyId=key, PolicyName="other", Policy=policy(ROOT))
    assert refusal.message == "No such policy exists"
    with refused("LimitExceededException"):
        kms.put_key_policy(KeyId=key, Policy=policy(*[ROOT | {"Sid": f"S{n}"} for n in range(300)]))
    assert kms.list_key_policies(KeyId=key)["PolicyNames"] == ["default"]


# --- aliases
@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("payments", "ValidationException", 'Alias must start with the prefix "alias/".'),
        ("alias/aws/mine", "NotAuthorizedException", ""),
        ("alias/a:b", "ValidationException", "contains invalid characters for an alias"),
        ("alias/ä", "ValidationException", "failed to satisfy constraint"),
        ("alias/" + "a" * 251, "ValidationException", "Member must have length less than or equal to 256"),
        ("alias/taken", "AlreadyExistsException", f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/taken already exists"),
    ],
)
def test_alias_names(sandbox: Sandbox, name: str, code: str, message: str) -> None:
    key = sandbox.key(alias="alias/taken")["key_id"]
    with refused(code) as refusal:
        sandbox.client().create_alias(AliasName=name, TargetKeyId=key)
    assert message in refusal.message


def test_alias_targets(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = sandbox.key(alias="alias/first", multi_region=True)["key_id"]
    assert key.startswith("mrk-")
    kms.create_alias(AliasName="alias/second", TargetKeyId=key)
    with refused("ValidationException") as refusal:
        kms.create_alias(AliasName="alias/third", TargetKeyId="alias/first")
    assert refusal.message == "Aliases must refer to keys. Not aliases"
    with refused("NotFoundException"):
        kms.create_alias(AliasName="alias/third", TargetKeyId="1234abcd-12ab-34cd-56ef-1234567890ab")
    for n in range(48):
        kms.create_alias(AliasName=f"alias/more-{n}", TargetKeyId=key)
    with refused("LimitExceededException"):
        kms.create_alias(AliasName="alias/third", TargetKeyId=key)


def test_an_alias_moves_to_a_key_of_its_kind_only(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    sandbox.key(alias="alias/a")
    other, mac = sandbox.key()["key_id"], sandbox.key(key_spec="HMAC_256")["key_id"]
    with refused("ValidationException"):
        kms.update_alias(AliasName="alias/a", TargetKeyId=mac)
    kms.update_alias(AliasName="alias/a", TargetKeyId=other)
    assert metadata(kms, "alias/a")["KeyId"] == other
    kms.delete_alias(AliasName="alias/a")
    for call in (
        lambda: kms.delete_alias(AliasName="alias/a"),
        lambda: kms.update_alias(AliasName="alias/a", TargetKeyId=other),
        lambda: kms.describe_key(KeyId="alias/a"),
    ):
        with refused("NotFoundException") as refusal:
            call()
        assert refusal.message == f"Alias arn:aws:kms:us-east-1:{ACCOUNT}:alias/a is not found."


# --- tags
@pytest.mark.parametrize(
    ("tags", "code", "message"),
    [
        ([("a", "1"), ("a", "2")], "TagException", "Duplicate tag keys"),
        ([("aws:x", "1")], "TagException", "Tags beginning with aws: are reserved"),
        ([("AWS:x", "1")], "TagException", "Tags beginning with aws: are reserved"),
        ([(f"k{n}", "v") for n in range(51)], "TagException", "Too many tags"),
        ([("k" * 129, "v")], "ValidationException", "'tags.1.member.tagKey'"),
        ([("k", "v" * 257)], "ValidationException", "'tags.1.member.tagValue'"),
    ],
)
def test_tags_that_kms_refuses(sandbox: Sandbox, tags: list[tuple[str, str]], code: str, message: str) -> None:
    kms = sandbox.client()
    key = sandbox.key(tags={"own": "1"}, multi_region=True, material={"hex": HEX})["key_id"]
    given = [{"TagKey": name, "TagValue": value} for name, value in tags]
    for call in (
        lambda: kms.tag_resource(KeyId=key, Tags=given),
        lambda: kms.create_key(Tags=given),
        lambda: kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-1", Tags=given),
    ):
        with refused(code) as refusal:
            call()
        assert message in refusal.message
    assert len(sandbox.keys()) == 1


def test_fifty_tags_are_the_limit_over_several_calls(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = sandbox.key(tags={f"k{n}": "v" for n in range(49)})["key_id"]
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "k0", "TagValue": "new"}, {"TagKey": "k49", "TagValue": "v"}])
    with refused("TagException"):
        kms.tag_resource(KeyId=key, Tags=[{"TagKey": "k50", "TagValue": "v"}])
    kms.untag_resource(KeyId=key, TagKeys=["k1", "unknown"])
    pages = kms.get_paginator("list_resource_tags").paginate(KeyId=key, PaginationConfig={"PageSize": 20})
    tags = {tag["TagKey"]: tag["TagValue"] for page in pages for tag in page["Tags"]}
    assert (len(tags), tags["k0"], "k1" in tags) == (49, "new", False)


def test_the_search_by_tag_is_of_the_account_and_region(sandbox: Sandbox) -> None:
    tag = "bulk-import:alias"
    mine = [sandbox.key(tags={tag: f"alias/{n}"})["arn"] for n in range(3)]
    sandbox.key(tags={"other": "x"})
    sandbox.key()
    there = sandbox.key(region="eu-west-1", tags={tag: "alias/0"})["arn"]
    sandbox.key("444455556666", tags={tag: "alias/0"})
    filters: dict[str, Any] = {"ResourceTypeFilters": ["kms:key"], "TagFilters": [{"Key": tag}]}

    def found(region: str = REGION, **more: Any) -> list[str]:
        client = sandbox.client("resourcegroupstaggingapi", region=region)
        pages = client.get_paginator("get_resources").paginate(**filters | more, PaginationConfig={"PageSize": 2})
        return [entry["ResourceARN"] for page in pages for entry in page["ResourceTagMappingList"]]

    assert found() == mine
    assert found("eu-west-1") == [there]
    assert found(TagFilters=[{"Key": tag, "Values": ["alias/1", "alias/none"]}]) == [mine[1]]
    sandbox.client().untag_resource(KeyId=mine[0], TagKeys=[tag])
    assert found() == mine[1:]


# --- deletion
def test_a_key_goes_with_its_aliases_when_its_days_are_over(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = sandbox.key(alias="alias/gone")["key_id"]
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    sandbox.advance(8 * 86400)
    sandbox.forget_sessions()
    kms = sandbox.client()
    for name in (key, "alias/gone"):
        with refused("NotFoundException"):
            kms.describe_key(KeyId=name)
    assert (kms.list_keys()["Keys"], kms.list_aliases()["Aliases"]) == ([], [])


def test_a_primary_waits_for_the_deletion_of_its_replicas(sandbox: Sandbox) -> None:
    kms, there = sandbox.client(), sandbox.client(region="eu-west-1")
    key = sandbox.key(multi_region=True, material={"hex": HEX}, replicas=["eu-west-1"])["key_id"]
    answer = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=10)
    assert answer["KeyState"] == "PendingReplicaDeletion"
    assert "DeletionDate" not in answer
    shown = metadata(kms, key)
    assert (shown["KeyState"], shown["PendingDeletionWindowInDays"]) == ("PendingReplicaDeletion", 10)
    there.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    sandbox.advance(8 * 86400)
    sandbox.forget_sessions()
    kms = sandbox.client()
    sandbox.keys()
    assert metadata(kms, key)["KeyState"] == "PendingDeletion"
    assert metadata(kms, key)["MultiRegionConfiguration"]["ReplicaKeys"] == []
    kms.cancel_key_deletion(KeyId=key)
    assert metadata(kms, key)["KeyState"] == "Disabled"


# --- replicas
def test_the_primary_moves_to_another_region(sandbox: Sandbox) -> None:
    kms, there = sandbox.client(), sandbox.client(region="eu-west-1")
    key = sandbox.key(origin="AWS_KMS", multi_region=True, replicas=["eu-west-1"])["key_id"]
    with refused("UnsupportedOperationException"):
        there.update_primary_region(KeyId=key, PrimaryRegion="eu-west-1")
    with refused("NotFoundException"):
        kms.update_primary_region(KeyId=key, PrimaryRegion="eu-west-2")
    kms.update_primary_region(KeyId=key, PrimaryRegion="eu-west-1")
    assert [metadata(client, key)["KeyState"] for client in (kms, there)] == ["Updating", "Updating"]
    kms.encrypt(KeyId=key, Plaintext=b"x")  # works meanwhile
    with refused("KMSInvalidStateException") as refusal:
        there.replicate_key(KeyId=key, ReplicaRegion="eu-west-2")
    assert refusal.message.endswith("is updating.")
    sandbox.advance(1)
    shown = [metadata(client, key) for client in (kms, there)]
    assert [one["KeyState"] for one in shown] == ["Enabled", "Enabled"]
    kinds = [one["MultiRegionConfiguration"]["MultiRegionKeyType"] for one in shown]
    assert kinds == ["REPLICA", "PRIMARY"]
    assert shown[0]["MultiRegionConfiguration"]["PrimaryKey"]["Region"] == "eu-west-1"


def test_a_replica_has_its_own_policy_tags_and_description(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = sandbox.key(multi_region=True, material={"hex": HEX}, description="here", tags={"a": "1"})["key_id"]
    tags = [{"TagKey": "b", "TagValue": "2"}]
    answer = kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-1", Description="there", Tags=tags)
    assert answer["ReplicaTags"] == tags
    assert answer["ReplicaKeyMetadata"]["Description"] == "there"
    assert "ReplicaTags" not in kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-2")
    there = sandbox.client(region="eu-west-1")
    assert there.list_resource_tags(KeyId=key)["Tags"] == tags


def test_pending_material_goes_everywhere_with_the_primarys(sandbox: Sandbox) -> None:
    """On a replica, the deletion touches that replica only."""
    clients = [sandbox.client(region=region) for region in (REGION, "eu-west-1", "eu-west-2")]
    old, new = os.urandom(32), os.urandom(32)
    regions = ["eu-west-1", "eu-west-2"]
    key = sandbox.key(multi_region=True, material={"hex": old.hex()}, replicas=regions)["key_id"]
    for client in clients[1:]:
        import_material(client, key, old)
    never = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
    pending = import_material(clients[0], key, new, ImportType="NEW_KEY_MATERIAL", **never)["KeyMaterialId"]
    for client in clients[1:]:
        import_material(client, key, new, ImportType="EXISTING_KEY_MATERIAL", **never)

    def holders() -> list[bool]:
        lists = [c.list_key_rotations(KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"] for c in clients]
        return [pending in [entry["KeyMaterialId"] for entry in entries] for entries in lists]

    assert holders() == [True, True, True]
    clients[1].delete_imported_key_material(KeyId=key, KeyMaterialId=pending)
    assert holders() == [True, False, True]
    clients[0].delete_imported_key_material(KeyId=key, KeyMaterialId=pending)
    assert holders() == [False, False, False]
    assert {metadata(client, key)["KeyState"] for client in clients} == {"Enabled"}


def test_a_replica_that_lacks_material_in_the_seed_file(sandbox: Sandbox) -> None:
    """A primary without material may have replicas in the seed: all of them wait for import."""
    key = sandbox.key(multi_region=True, replicas=["eu-west-1"])["key_id"]
    states = [metadata(sandbox.client(region=region), key)["KeyState"] for region in (REGION, "eu-west-1")]
    assert states == ["PendingImport", "PendingImport"]


# --- the last use
def test_the_last_use_of_a_key(sandbox: Sandbox) -> None:
    """An operation that is younger than the service model of the pinned boto3: DescribeKey's request, renamed."""
    key = sandbox.key(material={"hex": HEX})
    client = sandbox.client()
    bodies: list[bytes] = []

    def rename(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["X-Amz-Target"] = "TrentService.GetKeyLastUsage"

    def keep(http_response: Any, **_: Any) -> None:
        bodies.append(http_response.content)

    client.meta.events.register("before-call.kms.DescribeKey", rename)
    client.meta.events.register("after-call.kms.DescribeKey", keep)
    client.describe_key(KeyId=key["key_id"])
    client.encrypt(KeyId=key["arn"], Plaintext=b"x")
    client.describe_key(KeyId=key["key_id"])
    before, after = map(json.loads, bodies)
    assert "KeyLastUsage" not in before
    assert (after["KeyId"], after["KeyLastUsage"]["Operation"]) == (key["arn"], "Encrypt")
