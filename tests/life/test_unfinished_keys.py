"""A key that this program created for the alias, and did not finish, is adopted; no other key with its tag is."""

from __future__ import annotations

import pytest

from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.life.test_create import add, kms, only_key
from tests.sandbox.helpers import import_material
from tests.sandbox_client import Sandbox

OURS = {"TagKey": "bulk-import:alias", "TagValue": "alias/payments"}
NOT_OURS = {
    "it has an alias": {},
    "it was filled before": {},
    "it is to be deleted": {},
    "another spec": {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"},
    "another usage": {"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"},
    "multi-Region": {"MultiRegion": True},
    "another origin": {"Origin": "AWS_KMS"},
    "another alias's": {"Tags": [{**OURS, "TagValue": "alias/payments2"}]},
}


def test_an_unfinished_key_is_adopted(sandbox: Sandbox, work: Workplace) -> None:
    key = kms(sandbox).create_key(Origin="EXTERNAL", Tags=[OURS])["KeyMetadata"]
    add(work, create={})
    result = work.run()
    assert result.code == 0, result.stderr
    assert only_key(sandbox)["KeyId"] == key["KeyId"]
    assert result.entries["payments"]["changes"] == ["alias", "imported"]


@pytest.mark.parametrize("how", NOT_OURS)
def test_no_other_key_with_the_tag_is_adopted(sandbox: Sandbox, work: Workplace, how: str) -> None:
    """Else anyone who may tag a key could have it filled: one that is in use, or that somebody else controls."""
    spec = {"key_spec": "RSA_2048", "key_usage": "SIGN_VERIFY"} if how == "another usage" else {}
    found = kms(sandbox).create_key(**{"Origin": "EXTERNAL", "Tags": [OURS], **NOT_OURS[how]})["KeyMetadata"]
    if how == "it has an alias":
        kms(sandbox).create_alias(AliasName="alias/somebodys", TargetKeyId=found["KeyId"])
    if how == "it was filled before":
        import_material(kms(sandbox), found["KeyId"], materials.make("SYMMETRIC_DEFAULT"))
        kms(sandbox).delete_imported_key_material(KeyId=found["KeyId"])
    if how == "it is to be deleted":
        kms(sandbox).schedule_key_deletion(KeyId=found["KeyId"])
    before = kms(sandbox).describe_key(KeyId=found["KeyId"])["KeyMetadata"]
    material = materials.make(spec.get("key_spec", "SYMMETRIC_DEFAULT"))
    work.key("alias/payments", material, name="payments", **{"key_spec": "SYMMETRIC_DEFAULT", "create": {}, **spec})
    result = work.run()
    assert result.code == 0, result.stderr
    assert result.entries["payments"]["changes"] == ["created", "alias", "imported"]
    assert result.entries["payments"]["key_arn"] != found["Arn"]
    assert kms(sandbox).describe_key(KeyId=found["KeyId"])["KeyMetadata"] == before
