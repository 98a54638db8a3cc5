"""Throttling as KMS does it: per account, Region and quota, and off unless asked for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.helpers import OAEP, RAW, new_material, parameters, refused
from tests.sandbox_client import Sandbox

THROTTLED = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."


def spent(kms: Any, arn: str) -> None:
    with refused("ThrottlingException") as refusal:
        parameters(kms, arn, OAEP[1])
    assert refusal.message == THROTTLED


def test_off_by_default(sandbox: Sandbox) -> None:
    kms, arn = sandbox.client(), sandbox.key()["arn"]
    for _ in range(5):
        parameters(kms, arn, OAEP[1])


def test_each_account_and_region_has_its_own(sandbox: Sandbox) -> None:
    sandbox.quotas(GetParametersForImport=0.001)
    for account, region in (
        ("111122223333", "us-east-1"),
        ("111122223333", "eu-west-1"),
        ("444455556666", "us-east-1"),
    ):
        kms, arn = sandbox.client(account=account, region=region), sandbox.key(account, region)["arn"]
        parameters(kms, arn, OAEP[1])
        spent(kms, arn)


def test_shared_by_all_principals(sandbox: Sandbox) -> None:
    sandbox.quotas(GetParametersForImport=0.001)
    arn = sandbox.key()["arn"]
    parameters(sandbox.client(role="One"), arn, OAEP[1])
    spent(sandbox.client(role="Other"), arn)


def test_one_lane_may_differ(sandbox: Sandbox) -> None:
    lane = {"account": "111122223333", "region": "us-east-1"}
    sandbox.post("quotas", enforce=True, rates={"GetParametersForImport": 3}, **lane)
    kms, arn = sandbox.client(), sandbox.key()["arn"]
    for _ in range(3):
        parameters(kms, arn, OAEP[1])


def test_refilled_as_time_goes(sandbox: Sandbox) -> None:
    sandbox.quotas(GetParametersForImport=0.001)
    kms, arn = sandbox.client(), sandbox.key()["arn"]
    parameters(kms, arn, OAEP[1])
    spent(kms, arn)
    sandbox.quotas(GetParametersForImport=1000)
    parameters(kms, arn, OAEP[1])


def test_kinds_of_keys_share_quotas_of_use(sandbox: Sandbox) -> None:
    sandbox.quotas(**{"cryptographic:symmetric": 0.001})
    kms = sandbox.client()
    aes, mac, curve = (
        sandbox.key(key_spec=spec, material={"hex": new_material(spec).hex()})["arn"]
        for spec in ("SYMMETRIC_DEFAULT", "HMAC_256", "ECC_NIST_P256")
    )
    kms.encrypt(KeyId=aes, Plaintext=b"x")
    with refused("ThrottlingException"):
        kms.generate_mac(KeyId=mac, Message=b"m", MacAlgorithm="HMAC_SHA_256")
    kms.sign(KeyId=curve, Message=b"m", SigningAlgorithm="ECDSA_SHA_256")


def test_a_replica_costs_two_creations_there(sandbox: Sandbox) -> None:
    key = sandbox.key(multi_region=True, material={"hex": bytes(RAW["SYMMETRIC_DEFAULT"]).hex()})
    sandbox.quotas(CreateKey=0.001)
    sandbox.client().replicate_key(KeyId=key["arn"], ReplicaRegion="eu-west-1")
    sandbox.client().create_key()
    with refused("ThrottlingException"):
        sandbox.client(region="eu-west-1").create_key()


def test_sts_is_charged_to_the_caller(sandbox: Sandbox) -> None:
    sandbox.quotas(sts=0.001)
    sts = sandbox.client("sts", None)
    sts.get_caller_identity()
    with refused("Throttling"):
        sts.assume_role(RoleArn="arn:aws:iam::111122223333:role/R", RoleSessionName="name")


@pytest.mark.parametrize("default", [False, True])
def test_service_quotas_tell_the_rate(sandbox: Sandbox, default: bool) -> None:
    sandbox.quotas(GetParametersForImport=7)
    client = sandbox.client("service-quotas")
    call = client.get_aws_default_service_quota if default else client.get_service_quota
    quota = call(ServiceCode="kms", QuotaCode="L-515A0541")["Quota"]
    assert (quota["QuotaCode"], quota["Value"]) == ("L-515A0541", 1.0 if default else 7.0)
    listed = client.list_service_quotas(ServiceCode="kms", MaxResults=10)
    assert len(listed["Quotas"]) == 10
    assert listed["NextToken"]
    with refused("NoSuchResourceException"):
        client.get_service_quota(ServiceCode="kms", QuotaCode="L-00000000")


def test_a_replica_counts_twice_as_a_key_in_its_region(sandbox: Sandbox) -> None:
    """And once as a replica in the primary's Region; other Regions' keys are not counted."""
    kms = sandbox.client()
    key = sandbox.key(origin="AWS_KMS", multi_region=True)["key_id"]
    lane = {"account": "111122223333", "region": "eu-west-1"}
    sandbox.post("quotas", enforce=True, rates={"CreateKey": 3, "ReplicateKey": 1000})
    sandbox.post("quotas", rates={"CreateKey": 0.001}, account="111122223333", region="eu-west-2")
    kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-1")
    there = sandbox.client(region="eu-west-1")
    sandbox.post("quotas", rates={"CreateKey": 0.001}, **lane)
    sandbox.key("111122223333", "eu-west-1")  # the seed takes nothing
    there.create_key()
    with refused("ThrottlingException"):
        there.create_key()
    kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-2")  # a full bucket holds what one call takes
    with refused("ThrottlingException"):
        sandbox.client(region="eu-west-2").create_key()
    for _ in range(3):
        kms.create_key()


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("TagResource", {"Tags": [{"TagKey": "a", "TagValue": "b"}]}),
        ("UntagResource", {"TagKeys": ["a"]}),
        ("PutKeyPolicy", {"Policy": "{}"}),
        ("UpdateKeyDescription", {"Description": "d"}),
        ("DeleteImportedKeyMaterial", {}),
        ("RotateKeyOnDemand", {}),
        ("CreateGrant", {"GranteePrincipal": "arn:aws:iam::111122223333:role/R", "Operations": ["Encrypt"]}),
    ],
)
def test_every_kind_of_change_has_its_quota(sandbox: Sandbox, operation: str, fields: dict[str, Any]) -> None:
    """A refusal for another reason takes from the quota too."""
    kms, key = sandbox.client(), sandbox.key()["key_id"]
    sandbox.quotas(**{operation: 0.001})
    call = getattr(kms, "".join(f"_{c.lower()}" if c.isupper() else c for c in operation).lstrip("_"))
    codes = []
    for _ in range(2):
        try:
            call(KeyId=key, **fields)
        except kms.exceptions.ClientError as error:
            codes.append(error.response["Error"]["Code"])
    assert codes[-1] == "ThrottlingException"
    assert codes.count("ThrottlingException") == 1
