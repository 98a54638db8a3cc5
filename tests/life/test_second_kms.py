"""The life of a key at the second, independent KMS: each step of it as another program understands KMS."""

from __future__ import annotations

from typing import Any

from tests.e2e import materials
from tests.e2e.ministack import Ministack
from tests.e2e.support import ACCOUNT, REGION, Workplace

TAGS = {"Team": "payments"}


def test_created_drifted_corrected_emptied_and_filled_again(ministack: Ministack, work: Workplace) -> None:
    work.url = ministack.url
    kms: Any = ministack.client("kms", ACCOUNT, REGION)
    material = materials.make("HMAC_256")
    work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly
    create = {"description": "Payments, {region}", "tags": TAGS}
    work.key("alias/life", material, name="life", key_spec="HMAC_256", create=create)

    first = work.run()
    assert first.code == 0, first.stderr
    entry = first.entries["life"]
    assert entry["changes"] == ["created", "alias", "imported"]
    key = kms.describe_key(KeyId="alias/life")["KeyMetadata"]
    assert (key["Arn"], key["KeyState"], key["Description"]) == (entry["key_arn"], "Enabled", f"Payments, {REGION}")
    assert materials.held_by(kms, "alias/life", "HMAC_256", material)

    second = work.run("--require-proof")
    assert second.code == 0, second.stderr
    assert (second.entries["life"]["status"], second.entries["life"]["changes"]) == ("unchanged", [])

    kms.update_key_description(KeyId=key["KeyId"], Description="Changed")
    kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "Team", "TagValue": "x"}, {"TagKey": "Own", "TagValue": "y"}])
    refused = work.run()
    assert refused.code == 5, refused.stderr
    assert refused.entries["life"]["error"]["code"] == "Drift"
    corrected = work.run("--correct", "description", "--correct", "tags")
    assert corrected.code == 0, corrected.stderr
    assert (corrected.entries["life"]["status"], corrected.entries["life"]["changes"]) == (
        "corrected", ["tags", "description"],
    )  # fmt: skip
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["Description"] == f"Payments, {REGION}"
    tags = {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]}
    assert tags.items() >= {**TAGS, "Own": "y"}.items()

    deleted = work.call("delete", "manifest.json", "--all", "--yes", "--read-interval", "20ms")
    assert deleted.code == 0, deleted.stderr
    assert deleted.entries["life"]["status"] == "deleted"
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "PendingImport"
    again = work.run()
    assert again.code == 0, again.stderr
    assert (again.entries["life"]["status"], again.entries["life"]["key_arn"]) == ("imported", key["Arn"])
    assert materials.held_by(kms, "alias/life", "HMAC_256", material)
