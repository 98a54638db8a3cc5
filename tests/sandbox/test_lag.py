"""Reads that another host answers, which has not heard yet."""

from __future__ import annotations

import os

import pytest

from tests.sandbox.helpers import OAEP, import_material, metadata, new_material, parameters, refused
from tests.sandbox_client import Sandbox


def states(sandbox: Sandbox, arn: str, count: int) -> str:
    """E for Enabled, P for PendingImport."""
    kms = sandbox.client()
    return "".join(metadata(kms, arn)["KeyState"][0] for _ in range(count))


def test_a_pattern_begins_with_the_next_change(sandbox: Sandbox) -> None:
    key = sandbox.key()
    where = {"account": key["account"], "region": key["region"], "key": key["key_id"]}
    sandbox.post("stale_reads", **where, pattern="stale,good,stale,stale,good")
    assert states(sandbox, key["arn"], 3) == "PPP"
    import_material(sandbox.client(), key["arn"], os.urandom(32))
    assert states(sandbox, key["arn"], 8) == "PEPPEEEE"


def test_a_pattern_for_other_reads(sandbox: Sandbox) -> None:
    material = new_material("HMAC_256")
    key = sandbox.key(key_spec="HMAC_256")
    kms = sandbox.client()
    where = {"account": key["account"], "region": key["region"], "key": key["arn"]}
    sandbox.post("stale_reads", **where, pattern="stale", operations=["GenerateMac"])
    import_material(kms, key["arn"], material)
    assert states(sandbox, key["arn"], 2) == "EE"
    fields = {"KeyId": key["arn"], "Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}
    with refused("KMSInvalidStateException"):
        kms.generate_mac(**fields)
    assert kms.generate_mac(**fields)["Mac"]


def test_a_new_key_is_not_everywhere_at_once(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]
    where = {"account": key["AWSAccountId"], "region": "us-east-1", "key": key["KeyId"]}
    sandbox.post("stale_reads", **where, pattern="stale", at_once=True)
    with refused("NotFoundException"):
        kms.describe_key(KeyId=key["KeyId"])
    assert metadata(kms, key["KeyId"])["KeyState"] == "PendingImport"


def test_a_share_of_the_hosts_lags_the_same_way_each_time(sandbox: Sandbox) -> None:
    seen = set()
    for _ in range(2):
        sandbox.reset()
        key = sandbox.key()
        import_material(sandbox.client(), key["arn"], os.urandom(32))
        # An hour: a slow host still sees the time before the key was born.
        sandbox.advance(1800)
        sandbox.post("lag", seconds=3000, share=0.5, seed=7)
        sandbox.forget_sessions()
        kms = sandbox.client()
        line = ""
        for _ in range(20):
            try:
                line += metadata(kms, key["arn"])["KeyState"][0]
            except kms.exceptions.NotFoundException:
                line += "-"
        seen.add(line)
    assert len(seen) == 1
    assert set(seen.pop()) == {"E", "-"}


def test_a_lag_passes(sandbox: Sandbox) -> None:
    key = sandbox.key()
    sandbox.advance(100)
    sandbox.forget_sessions()
    import_material(sandbox.client(), key["arn"], os.urandom(32))
    sandbox.post("lag", seconds=50, share=1)
    assert states(sandbox, key["arn"], 3) == "PPP"
    sandbox.advance(51)
    assert states(sandbox, key["arn"], 3) == "EEE"


def test_a_new_key_has_no_parameters_yet(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    sandbox.post("lag", seconds=50, share=1)
    key = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]["KeyId"]
    with refused("NotFoundException"):
        parameters(kms, key, OAEP[1])
    sandbox.advance(51)
    assert parameters(kms, key, OAEP[1])["ImportToken"]


@pytest.mark.parametrize("pattern", ["", "fresh"])
def test_words_of_a_pattern(sandbox: Sandbox, pattern: str) -> None:
    key = sandbox.key()
    where = {"account": key["account"], "region": key["region"], "key": key["key_id"]}
    with pytest.raises(ValueError, match="good and stale"):
        sandbox.post("stale_reads", **where, pattern=pattern)


def everything_known(sandbox: Sandbox, key: str) -> dict[str, bool]:
    """What one read after the other knows of the changes that test_what_else_lags makes."""
    kms = sandbox.client()

    def alias() -> bool:
        try:
            return metadata(kms, "alias/late")["KeyId"] == key
        except kms.exceptions.NotFoundException:
            return False

    tagging = sandbox.client("resourcegroupstaggingapi")
    found = tagging.get_resources(ResourceTypeFilters=["kms:key"], TagFilters=[{"Key": "late"}])
    return {
        "alias": alias(),
        "aliases": [one["AliasName"] for one in kms.list_aliases()["Aliases"]] == ["alias/late"],
        "tags": kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "late", "TagValue": "x"}],
        "search": len(found["ResourceTagMappingList"]) == 1,
        "policy": "Late" in kms.get_key_policy(KeyId=key)["Policy"],
        "grants": len(kms.list_grants(KeyId=key)["Grants"]) == 1,
    }


def test_what_else_lags(sandbox: Sandbox) -> None:
    """Aliases, tags, policies and grants; a change itself is refused only where the key is not known yet."""
    kms = sandbox.client()
    key = sandbox.key(material={"hex": os.urandom(32).hex()})["key_id"]
    sandbox.advance(100)
    sandbox.forget_sessions()
    kms = sandbox.client()
    policy = kms.get_key_policy(KeyId=key)["Policy"].replace("Enable IAM User Permissions", "Late")
    kms.create_alias(AliasName="alias/late", TargetKeyId=key)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "late", "TagValue": "x"}])
    kms.put_key_policy(KeyId=key, Policy=policy)
    kms.create_grant(KeyId=key, GranteePrincipal="arn:aws:iam::111122223333:role/R", Operations=["Encrypt"])
    sandbox.post("lag", seconds=50, share=1)
    assert set(everything_known(sandbox, key).values()) == {False}
    with refused("AlreadyExistsException"):  # a change sees the truth
        kms.create_alias(AliasName="alias/late", TargetKeyId=key)
    sandbox.advance(51)
    assert set(everything_known(sandbox, key).values()) == {True}


@pytest.mark.parametrize(
    "operation", ["create_alias", "tag_resource", "put_key_policy", "encrypt", "list_key_rotations"]
)
def test_a_new_key_is_unknown_to_every_operation(sandbox: Sandbox, operation: str) -> None:
    kms = sandbox.client()
    sandbox.post("lag", seconds=50, share=1)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    fields: dict[str, dict[str, object]] = {
        "create_alias": {"AliasName": "alias/a", "TargetKeyId": key},
        "tag_resource": {"KeyId": key, "Tags": [{"TagKey": "a", "TagValue": "b"}]},
        "put_key_policy": {"KeyId": key, "Policy": "{}"},
        "encrypt": {"KeyId": key, "Plaintext": b"x"},
        "list_key_rotations": {"KeyId": key},
    }
    assert kms.list_keys()["Keys"] == []
    with refused("NotFoundException") as refusal:
        getattr(kms, operation)(**fields[operation])
    assert refusal.message == f"Key 'arn:aws:kms:us-east-1:111122223333:key/{key}' does not exist"


def test_a_new_alias_is_denied_for_a_while(sandbox: Sandbox) -> None:
    """Without policies too; by its ID, the key is there."""
    kms = sandbox.client()
    sandbox.post("lag", authorization=300)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/new", TargetKeyId=key)
    for name in ("alias/new", "arn:aws:kms:us-east-1:111122223333:alias/new"):
        with refused("AccessDeniedException") as refusal:
            kms.describe_key(KeyId=name)
        assert "because no identity-based policy allows the kms:DescribeKey action" in refusal.message
    assert metadata(kms, key)["KeyState"] == "Enabled"
    sandbox.advance(301)
    assert metadata(kms, "alias/new")["KeyId"] == key
