"""What the policies say: conditions, aliases, principals, partitions, limits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_sentry.querying.actions import get_action_data

from bulk_import import iam
from bulk_import.aws import calls
from bulk_import.errors import UsageError
from bulk_import.iam.packing import MANAGED_POLICIES, MANAGED_POLICY, pack, size
from bulk_import.iam.policies import ORDER
from bulk_import.material.checks import manifest_checks
from bulk_import.model import KeySpec, Manifest
from bulk_import.settings import Settings
from tests.iam.evaluator import Request, allowed
from tests.manifest.support import read

ACCOUNT, REGION = "111122223333", "us-east-1"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY}"
OTHER = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-12ab-34cd-56ef-1234567890ab"
CALLER = "arn:aws:iam::999988887777:role/ci/Pipeline"
EVERYTHING = iam.Asked("all", prove_use=True, correct=frozenset(("description", "tags", "policy")))
POLICY = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}]}


def manifest(*keys: dict[str, Any], **document: Any) -> Manifest:
    whole = {
        "version": 1,
        "defaults": {"role": "byok/Importer", "region": REGION, "account": None} | document.pop("defaults", {}),
        "keys": [{"id": f"k{n}", "account": ACCOUNT, "material": "env:K"} | key for n, key in enumerate(keys)],
        **document,
    }
    del whole["defaults"]["account"]
    return read(json.dumps(whole), "json", checks=manifest_checks(Settings()))


def policies(*keys: dict[str, Any], asked: iam.Asked = EVERYTHING, **document: Any) -> tuple[dict[str, Any], ...]:
    return iam.access(manifest(*keys, **document), ACCOUNT, asked, CALLER).permissions


def request(action: str, resource: str = ARN, aliases: tuple[str, ...] = (), **context: str) -> Request:
    known = {f"kms:{name}": value for name, value in context.items()}
    return Request(
        f"kms:{action}", resource, {"kms:KeyOrigin": "EXTERNAL", "kms:ResourceAliases": list(aliases)} | known
    )


def actions(documents: tuple[dict[str, Any], ...]) -> set[str]:
    return {action for document in documents for statement in document["Statement"] for action in statement["Action"]}


# --- operations


def test_every_operation_of_the_port_is_granted_and_no_other() -> None:
    usage = {"key_usage": "SIGN_VERIFY", "create": {"tags": {"Team": "x"}, "description": "x", "policy": POLICY}}
    keys = [{"key_id": f"alias/{spec}", "key_spec": spec} for spec in KeySpec]
    keys += [{"key_id": "alias/new", "key_spec": KeySpec.RSA_2048, **usage}]
    keys[-1] |= {"replicas": ["eu-west-1"]}
    keys += [{"key_id": "alias/rotated", "material": None, "materials": [{"name": "2025", "material": "env:K"}]}]
    others = {"tag:GetResources", "iam:CreateServiceLinkedRole"}  # of other services
    called = {f"kms:{operation}" for operation in calls.METHODS} - {"kms:GetResources"} | others
    of_discover = actions(policies(*keys, asked=iam.Asked(command="discover")))
    of_delete = actions(policies(*keys, asked=iam.Asked(command="delete")))
    assert actions(policies(*keys)) | of_discover | of_delete == called
    assert actions(policies(*keys)) == called - {"kms:ListKeys", "kms:DeleteImportedKeyMaterial"}


@pytest.mark.parametrize(
    ("key", "granted"),
    [
        ({"key_spec": "SYMMETRIC_DEFAULT"}, {"ListKeyRotations", "Encrypt", "Decrypt"}),
        ({"key_spec": "HMAC_384"}, {"GenerateMac"}),
        ({"key_spec": "ECC_NIST_P256"}, {"GetPublicKey"}),
        ({"expect": {"kcv": "08d7b4"}}, {"ListKeyRotations", "Encrypt", "Decrypt"}),
        ({"wrapping_algorithm": "RSA_AES_KEY_WRAP_SHA_1"}, {"GetPublicKey"}),
        ({}, {"ListKeyRotations", "Encrypt", "Decrypt", "GenerateMac", "GetPublicKey"}),
    ],
)
def test_only_what_the_key_can_be_is_provided_for(key: dict[str, Any], granted: set[str]) -> None:
    always = {"DescribeKey", "GetParametersForImport", "ImportKeyMaterial"}
    assert actions(policies({"key_id": KEY} | key)) == {f"kms:{name}" for name in always | granted}


def test_a_rotated_key_needs_one_operation_more_and_each_of_its_expiries() -> None:
    entries = [{"name": "a", "material": "env:A", "valid_to": "never"}, {"name": "b", "material": "env:B"}]
    documents = policies({"key_id": KEY, "material": None, "materials": entries, "valid_for": "9d"}, asked=iam.Asked())
    always = {"DescribeKey", "GetParametersForImport", "ImportKeyMaterial", "ListKeyRotations", "RotateKeyOnDemand"}
    assert actions(documents) == {f"kms:{name}" for name in always}
    for model in ("KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"):
        assert allowed(documents, request("ImportKeyMaterial", ExpirationModel=model))
    assert allowed(documents, request("RotateKeyOnDemand"))
    assert not allowed(documents, request("RotateKeyOnDemand", resource=OTHER))


def test_statements_use_only_condition_keys_that_their_actions_know() -> None:
    """By AWS's service authorization reference: an unknown condition key makes a statement grant nothing."""
    create = {"tags": {"Team": "x"}, "description": "x", "policy": POLICY}
    documents = policies(
        {"key_id": "alias/a", "valid_for": "9d", "key_spec": "HMAC_256", "create": create},
        {"key_id": KEY, "valid_to": "2027-01-01T00:00:00Z"},
    )
    pairs = {
        (action.removeprefix("kms:"), key)
        for document in documents
        for statement in document["Statement"]
        if statement["Sid"].rstrip("0123456789") in ORDER  # those that create keys are about requests, not about keys
        for action in statement["Action"]
        for block in statement.get("Condition", {}).values()
        for key in block
    }
    assert {key for _, key in pairs} > {"kms:ValidTo", "kms:ResourceAliases", "kms:WrappingAlgorithm"}
    for action, key in pairs:
        on_keys = next(row for row in get_action_data("kms", action)["kms"] if ":key/" in row["resource_arn_format"])
        known = {name.split("${")[0] for name in on_keys["condition_keys"]}
        assert key in known or f"{key.rsplit(':', 1)[0]}:" in known, (action, key)


# --- keys and aliases


def test_a_key_by_its_id_and_no_other() -> None:
    found = policies({"key_id": KEY.upper()})
    assert allowed(found, request("DescribeKey"))
    assert not allowed(found, request("DescribeKey", OTHER))
    assert not allowed(found, request("DescribeKey", ARN.replace(REGION, "eu-west-1")))
    assert not allowed(found, request("DeleteImportedKeyMaterial"))


@pytest.mark.parametrize("name", ["alias/payments", f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/payments"])
def test_an_alias_stands_for_the_keys_that_carry_it(name: str) -> None:
    found = policies({"key_id": name})
    assert allowed(
        found, request("DescribeKey", aliases=("alias/payments", "alias/more"), RequestAlias="alias/payments")
    )
    assert allowed(found, request("DescribeKey", aliases=("alias/payments",))), "the later reads name the ARN"
    assert not allowed(found, request("DescribeKey", aliases=("alias/other",)))
    assert not allowed(found, request("DescribeKey", aliases=()))
    elsewhere = ARN.replace(REGION, "eu-west-1")
    assert not allowed(found, request("DescribeKey", elsewhere, aliases=("alias/payments",)))
    assert not any("alias/" in arn for document in found for s in document["Statement"] for arn in s["Resource"])


def test_aliases_of_one_region_are_not_those_of_another() -> None:
    found = policies({"key_id": "alias/a"}, {"key_id": "alias/b", "region": "eu-west-1"})
    elsewhere = ARN.replace(REGION, "eu-west-1")
    assert allowed(found, request("DescribeKey", elsewhere, aliases=("alias/b",)))
    assert not allowed(found, request("DescribeKey", elsewhere, aliases=("alias/a",)))


def test_aliases_are_warned_of() -> None:
    access = iam.access(manifest({"key_id": "alias/a"}, {"key_id": KEY}), ACCOUNT, EVERYTHING, CALLER)
    assert ["1 of 2 keys are named by alias" in warning for warning in access.warnings] == [True]
    assert iam.access(manifest({"key_id": KEY}), ACCOUNT, EVERYTHING, CALLER).warnings == ()


# --- conditions


def test_wrapping_is_the_manifests() -> None:
    found = policies({"key_id": KEY, "key_spec": "RSA_2048", "wrapping_key_spec": "RSA_3072"})
    good = {"WrappingAlgorithm": "RSA_AES_KEY_WRAP_SHA_256", "WrappingKeySpec": "RSA_3072"}
    assert allowed(found, request("GetParametersForImport", **good))
    for wrong in ({"WrappingAlgorithm": "RSA_AES_KEY_WRAP_SHA_1"}, {"WrappingKeySpec": "RSA_2048"}):
        assert not allowed(found, request("GetParametersForImport", **good | wrong))


def test_wrapping_pairs_of_different_keys_do_not_mix() -> None:
    found = policies(
        {"key_id": "alias/a", "wrapping_algorithm": "RSAES_OAEP_SHA_1", "wrapping_key_spec": "RSA_2048"},
        {"key_id": "alias/b", "wrapping_algorithm": "RSAES_OAEP_SHA_256", "wrapping_key_spec": "RSA_4096"},
    )
    weak = {"WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048"}
    assert allowed(found, request("GetParametersForImport", aliases=("alias/a",), **weak))
    assert not allowed(found, request("GetParametersForImport", aliases=("alias/b",), **weak))


def test_material_that_never_expires_is_imported_so() -> None:
    found = policies({"key_id": KEY})
    assert allowed(found, request("ImportKeyMaterial", ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE"))
    assert not allowed(
        found, request("ImportKeyMaterial", ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo="1800000000")
    )
    assert not allowed(found, request("ImportKeyMaterial"))


def test_a_fixed_valid_to_is_the_latest() -> None:
    until = datetime(2027, 6, 30, tzinfo=UTC)
    found = policies({"key_id": KEY, "valid_to": "2027-06-30T02:00:00+02:00"})
    for seconds, verdict in ((0, True), (-3600, True), (1, False)):
        stamp = f"{until.timestamp() + seconds:.1f}"  # KMS's context holds Unix time with a fraction
        asked = request("ImportKeyMaterial", ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo=stamp)
        assert allowed(found, asked) is verdict
    assert not allowed(found, request("ImportKeyMaterial", ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE"))


def test_valid_for_has_no_fixed_end() -> None:
    found = policies({"key_id": KEY, "valid_for": "90d"})
    assert allowed(found, request("ImportKeyMaterial", ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo="1893456000"))
    assert not allowed(found, request("ImportKeyMaterial", ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE"))


def test_the_round_trip_opens_nothing_else() -> None:
    found = policies({"key_id": KEY})
    assert allowed(found, request("Decrypt", **{"EncryptionContext:bulk-import": "proof"}))
    assert not allowed(found, request("Decrypt", **{"EncryptionContext:tenant": "a"}))
    assert not allowed(found, request("Decrypt"))


# --- principals


def test_trust_names_the_caller_and_asks_for_the_external_id() -> None:
    with_id = manifest({"key_id": KEY}, accounts={ACCOUNT: {"external_id": "org-7f3a"}})
    trust = iam.access(with_id, ACCOUNT, EVERYTHING, CALLER).trust
    assert trust is not None
    for context, verdict in (({"sts:ExternalId": "org-7f3a"}, True), ({"sts:ExternalId": "org"}, False), ({}, False)):
        assert allowed([trust], Request("sts:AssumeRole", "", context, CALLER)) is verdict
    assert not allowed([trust], Request("sts:AssumeRole", "", {"sts:ExternalId": "org-7f3a"}, CALLER + "2"))


def test_the_caller_may_assume_exactly_the_roles() -> None:
    two = manifest({"key_id": "alias/a"}, {"key_id": "alias/a", "account": "444455556666"})
    document = iam.document(two, [], CALLER)
    found = document["caller"]["permissions_policies"]
    assert allowed(found, Request("sts:AssumeRole", "arn:aws:iam::444455556666:role/byok/Importer"))
    assert not allowed(found, Request("sts:AssumeRole", "arn:aws:iam::444455556666:role/Admin"))
    assert not allowed(found, Request("sts:AssumeRole", "arn:aws:iam::777788889999:role/byok/Importer"))


def test_the_callers_own_account_has_no_role() -> None:
    own = manifest({"key_id": KEY}, defaults={"role": None})
    access = iam.access(own, ACCOUNT, EVERYTHING, CALLER)
    assert access.trust is None
    assert iam.document(own, [access], CALLER)["caller"]["permissions_policies"] == []
    assert access.key_policies[0].statements[0]["Principal"] == {"AWS": CALLER}


def test_key_policies_allow_the_role_what_its_policy_does() -> None:
    access = iam.access(
        manifest({"key_id": KEY}, {"key_id": "alias/h", "key_spec": "HMAC_256"}), ACCOUNT, EVERYTHING, CALLER
    )
    assert [[target.id for target in each.targets] for each in access.key_policies] == [["k0"], ["k1"]]
    role = f"arn:aws:iam::{ACCOUNT}:role/byok/Importer"
    policy = {"Statement": list(access.key_policies[0].statements)}
    asked = request("ImportKeyMaterial", ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE")
    assert allowed([policy], Request(asked.action, asked.resource, asked.context, role))
    assert not allowed([policy], Request(asked.action, asked.resource, asked.context, CALLER))
    assert not allowed([policy], Request("kms:Decrypt", ARN, {}, role))


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        ("arn:aws:sts::999988887777:assumed-role/Pipeline/session", "a session of a role"),
        ("999988887777", "the ARN of a role"),
        ("arn:aws-us-gov:iam::999988887777:role/Pipeline", "partition"),
        ("arn:aws:iam::999988887777:group/Admins", "the ARN of a role"),
    ],
)
def test_a_caller_that_no_policy_can_name_is_refused(arn: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        iam.check_caller(arn, "aws")


def test_partitions() -> None:
    gov = manifest({"key_id": KEY, "region": "us-gov-west-1"}, {"key_id": "alias/a", "region": "us-gov-east-1"})
    text = json.dumps(iam.document(gov, [iam.access(gov, ACCOUNT, EVERYTHING, None)], None))
    assert "arn:aws-us-gov:kms:us-gov-west-1" in text
    assert "arn:aws-us-gov:iam::" in text
    assert "arn:aws:" not in text


# --- limits


def many(count: int) -> Manifest:
    return manifest(*({"key_id": f"{n:08x}-12ab-34cd-56ef-1234567890ab", "key_spec": "HMAC_256"} for n in range(count)))


def test_many_keys_take_several_exact_policies() -> None:
    access = iam.access(many(100), ACCOUNT, EVERYTHING, CALLER)
    assert 1 < len(access.permissions) <= MANAGED_POLICIES
    assert access.warnings == ()
    assert all(size(document) <= MANAGED_POLICY for document in access.permissions)
    for n in range(100):
        arn = ARN.replace("1234abcd", f"{n:08x}")
        assert allowed(access.permissions, request("GenerateMac", arn))
    assert not allowed(access.permissions, request("GenerateMac", ARN))


def test_too_many_keys_are_grouped_and_said_so() -> None:
    access = iam.access(many(2000), ACCOUNT, EVERYTHING, CALLER)
    assert ["EVERY key of Origin EXTERNAL in us-east-1" in warning for warning in access.warnings] == [True]
    assert all(size(document) <= MANAGED_POLICY for document in access.permissions)
    assert allowed(access.permissions, request("GenerateMac", OTHER))
    assert not allowed(access.permissions, Request("kms:GenerateMac", OTHER, {"kms:KeyOrigin": "AWS_KMS"}))
    assert not allowed(access.permissions, request("GenerateMac", OTHER.replace(REGION, "eu-west-1")))
    assert not allowed(access.permissions, request("GetPublicKey", OTHER))


def test_grouped_keys_keep_the_latest_valid_to() -> None:
    keys = ({"key_id": f"{n:08x}-12ab-34cd-56ef-1234567890ab", "key_spec": "HMAC_256",
             "valid_to": f"2027-{1 + n % 6:02}-01T00:00:00Z"} for n in range(2000))  # fmt: skip
    access = iam.access(manifest(*keys), ACCOUNT, EVERYTHING, CALLER)
    imports = [s for document in access.permissions for s in document["Statement"] if s["Sid"].startswith("Import")]
    latest = str(int(datetime(2027, 6, 1, tzinfo=UTC).timestamp()))
    assert [s["Condition"]["NumericLessThanEquals"]["kms:ValidTo"] for s in imports] == [[latest]]


def names(most: int, longest: int) -> st.SearchStrategy[list[str]]:
    """Up to `most` different names, all of about one length."""
    return st.builds(
        lambda count, length: [f"{n:03}{'x' * length}" for n in range(count)],
        st.integers(0, most),
        st.integers(0, longest),
    )


@given(resources=names(150, 80), aliases=names(120, 250))
def test_packing_loses_and_adds_nothing(resources: list[str], aliases: list[str]) -> None:
    by_arn = {"Sid": "Read", "Effect": "Allow", "Action": ["kms:DescribeKey"], "Resource": resources}
    by_alias = by_arn | {
        "Resource": ["arn"],
        "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": aliases}},
    }
    statements = [*([by_arn] if resources else []), *([by_alias] if aliases else [])]
    documents = pack(statements, most=100)
    assert documents is not None
    found: list[str] = []
    for document in documents:
        assert size(document) <= MANAGED_POLICY
        sids = [statement["Sid"] for statement in document["Statement"]]
        assert len(set(sids)) == len(sids)
        for statement in document["Statement"]:
            if "Condition" in statement:
                found += statement["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"]
            else:
                found += statement["Resource"]
    assert sorted(found) == sorted([*resources, *aliases])
