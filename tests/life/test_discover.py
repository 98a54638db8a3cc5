"""`discover`: a manifest of the keys that exist, by the real command line."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, ROLE, Result, Workplace
from tests.iam.gatekeeper import Gatekeeper
from tests.sandbox_client import Sandbox

OTHER = "eu-west-1"


def discover(work: Workplace, *options: str, **environment: str) -> Result:
    places = () if "--account" in options else ("--account", ACCOUNT, "--region", REGION, "--role", ROLE)
    return work.call("discover", *places, "--retry-timeout", "5", *options, **environment)


def keys(result: Result) -> dict[str, dict[str, Any]]:
    """By id. BaseLoader: scalars are text, as the manifest reader takes them."""
    document = yaml.load(result.stdout, yaml.BaseLoader)  # noqa: S506 - it makes no objects
    return {key["id"]: key for key in document["keys"]}


def test_a_manifest_of_every_external_key(sandbox: Sandbox, work: Workplace) -> None:
    sandbox.key(alias="alias/team/payments", material={"hex": "11" * 32}, valid_to="2027-06-30T00:00:00Z")
    sandbox.key(alias="alias/mac", key_spec="HMAC_384", description="for the API")
    sandbox.key(aliases=["alias/b", "alias/a"], key_spec="RSA_2048", key_usage="SIGN_VERIFY")
    bare = sandbox.key(key_spec="ECC_NIST_P256", key_usage="KEY_AGREEMENT")
    sandbox.key(alias="alias/aws-made", origin="AWS_KMS")
    going = sandbox.key(alias="alias/going", state="PendingDeletion")
    result = discover(work)
    assert result.code == 0, result.stderr
    found = keys(result)
    assert [(key["key_id"], key["key_spec"], key["key_usage"]) for key in found.values()] == [
        ("alias/a", "RSA_2048", "SIGN_VERIFY"),
        ("alias/mac", "HMAC_384", "GENERATE_VERIFY_MAC"),
        ("alias/team/payments", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        (bare["key_id"], "ECC_NIST_P256", "KEY_AGREEMENT"),
    ]
    assert found["team-payments"]["valid_to"] == "2027-06-30T00:00:00Z"
    assert "valid_to" not in found["mac"]
    assert {(key["account"], key["region"]) for key in found.values()} == {(ACCOUNT, REGION)}
    text = result.stdout.decode()
    held = [key for key in described(sandbox) if key["Origin"] == "EXTERNAL" and "CurrentKeyMaterialId" in key]
    (material_id,) = [key["CurrentKeyMaterialId"] for key in held]
    for said in (f"# material {material_id}: CURRENT", "# description: for the API", "# other aliases: alias/b",
                 f"# not listed: {going['arn']} (alias/going) is PendingDeletion."):  # fmt: skip
        assert said in text, said
    assert "alias/aws-made" not in text
    assert "4 keys of Origin EXTERNAL among 6 keys." in result.stderr
    assert {call["operation"] for call in sandbox.calls()} - {"CreateKey", "CreateAlias"} == {
        "GetCallerIdentity", "AssumeRole", "ListKeys", "ListAliases", "DescribeKey", "ListKeyRotations",
    }  # fmt: skip


def described(sandbox: Sandbox) -> list[dict[str, Any]]:
    kms = sandbox.client()
    return [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]


def test_validate_names_what_is_missing_and_a_run_takes_the_rest(sandbox: Sandbox, work: Workplace) -> None:
    sandbox.key(alias="alias/one", key_spec="HMAC_256")
    sandbox.key(alias="alias/two", key_spec="HMAC_256")
    text = discover(work).stdout.decode()
    (work.folder / "keys.yaml").write_text(text)
    refused = work.call("validate", "keys.yaml")
    assert refused.code == 3
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip().startswith("material:"):
            assert f"keys.yaml:{number}: keys[" in refused.stderr or "material: is missing" in refused.stderr
    assert refused.stderr.count("material: is missing") == 2
    (work.folder / "m.key").write_bytes(bytes(range(32)))
    (work.folder / "keys.yaml").write_text(text.replace("material:  #", "material: file:m.key  #"))
    done = work.call("run", "keys.yaml", "--quota", "GetParametersForImport=50", "--read-interval", "20ms",
                     "--config", str(raw(work)))  # fmt: skip
    assert done.code == 0, done.stderr


def raw(work: Workplace) -> Any:
    path = work.folder / "settings.toml"
    path.write_text("reads = 1\n")
    return path


def test_all_pages_of_keys_and_aliases_in_every_lane(sandbox: Sandbox, work: Workplace) -> None:
    accounts = (ACCOUNT, "444455556666")
    lane = {"generate": [{"count": 230, "alias": "alias/load-{n}", "key_spec": "HMAC_256"}]}
    sandbox.seed({"accounts": {account: {"regions": {REGION: lane, OTHER: lane}} for account in accounts}})
    sandbox.quotas()
    options = [text for account in accounts for text in ("--account", account)]
    result = discover(work, *options, "--region", REGION, "--region", OTHER, "--role", ROLE)
    assert result.code == 0, result.stderr
    document = yaml.load(result.stdout, yaml.BaseLoader)  # noqa: S506 - it makes no objects
    assert len(document["keys"]) == 4 * 230
    assert set(document["accounts"]) == set(accounts)
    assert len({(key["account"], key["region"], key["key_id"]) for key in document["keys"]}) == 4 * 230
    assert not any("Throttl" in str(call.get("code")) for call in sandbox.calls())


HOSTILE = [
    "x\n  - id: injected\n    key_id: alias/evil",
    "# comment\r\n--- !!python/object:os.system",
    "\u2028keys: [evil]",
    "{{account}} &anchor *alias : - ' \" \\",
    "\x85\x1b[31m\ufeff",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_other_peoples_text_stays_text(sandbox: Sandbox, work: Workplace, text: str) -> None:
    sandbox.key(alias="alias/payments", key_spec="HMAC_256", description=text)
    result = discover(work)
    assert result.code == 0, result.stderr
    document = yaml.load(result.stdout, yaml.BaseLoader)  # noqa: S506 - it makes no objects
    assert list(document) == ["version", "accounts", "keys"]
    (key,) = document["keys"]
    assert list(key) == ["id", "account", "region", "key_id", "key_spec", "key_usage", "material"]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\ufeff]", result.stdout.decode())


def test_key_material_behind_an_alias_is_not_shown(sandbox: Sandbox, work: Workplace) -> None:
    pasted = "8f3a9c1b7d2e4f6a8b0c1d3e5f7a9b1c"
    key = sandbox.key(alias=f"alias/{pasted}", key_spec="HMAC_256", description=pasted)
    result = discover(work)
    assert pasted not in result.stdout.decode()
    (found,) = keys(result).values()
    assert found["key_id"] == key["key_id"]


def test_what_cannot_be_read_is_said(sandbox: Sandbox, work: Workplace) -> None:
    one = sandbox.key(alias="alias/one", key_spec="HMAC_256")
    sandbox.key(alias="alias/two", key_spec="HMAC_256")
    sandbox.fault("deny", operation="DescribeKey", key=one["key_id"], times=None)
    sandbox.fault("deny", operation="ListKeys", region=OTHER, times=None)
    result = discover(work, "--account", ACCOUNT, "--region", REGION, "--region", OTHER, "--role", ROLE)
    assert result.code == 4, result.stderr
    assert list(keys(result)) == ["two"]
    text = result.stdout.decode()
    assert f"# not read: {one['arn']}: AccessDeniedException" in text
    assert f"# not read: {ACCOUNT}/{OTHER}: AccessDeniedException" in text
    assert "What to do:" in result.stderr
    none = discover(work, "--account", ACCOUNT, "--region", OTHER, "--role", ROLE)
    assert none.code == 5


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--region", REGION], 2, "--account is missing"),
        (["--account", ACCOUNT], 2, "--region is missing"),
        (["--account", "1", "--region", REGION], 2, "--account"),
        (["--account", ACCOUNT, "--region", "us-esat-1"], 2, "Did you mean us-east-1?"),
        (["--account", ACCOUNT, "--region", "us-east-1", "--region", "cn-north-1"], 2, "one partition"),
        (["--account", ACCOUNT, "--region", REGION, "--external-id", "org-1"], 2, "without --role"),
        (["--account", ACCOUNT, "--region", REGION, "--role", "arn:aws:iam::444455556666:role/R"], 2, "444455556666"),
        (["--account", ACCOUNT, "--region", REGION], 5, "role: null"),
    ],
)
def test_wrong_use(sandbox: Sandbox, work: Workplace, options: list[str], code: int, said: str) -> None:
    result = work.call("discover", *options)
    assert result.code == code, result.stderr
    assert said in result.stderr


def test_the_policies_for_it_allow_exactly_its_reads(sandbox: Sandbox, work: Workplace) -> None:
    sandbox.key(alias="alias/payments", material={"hex": "11" * 32})
    work.key("alias/payments", b"\x11" * 32, name="payments")
    work.write()
    printed = json.loads(work.call("iam", "manifest.json", "--command", "discover").stdout)
    policies = {section["account"]: section["permissions_policies"] for section in printed["accounts"]}
    with Gatekeeper(sandbox, policies) as gate:
        result = discover(work, BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert result.code == 0, result.stderr
    allowed = {
        action
        for document in policies[ACCOUNT]
        for statement in document["Statement"]
        for action in statement["Action"]
    }
    assert allowed == {request.action for request, _ in gate.asked}


def test_replicas_under_their_primary_and_several_materials_as_a_list(sandbox: Sandbox, work: Workplace) -> None:
    """What it prints is what `run` takes, and finds as it is."""
    for name in ("v1", "v2"):
        (work.folder / f"{name}.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    entries = [{"name": name, "material": f"file:{name}.key", "encoding": "raw"} for name in ("v1", "v2")]
    work.defaults["wrapping_key_spec"] = "RSA_2048"
    common = {"account": ACCOUNT, "region": REGION, "create": {}}
    related = {"id": "related", "key_id": "alias/related", "key_spec": "HMAC_256", "replicas": [OTHER]}
    (work.folder / "mac.key").write_bytes(materials.make("HMAC_256"))
    work.keys += [
        {**common, **related, "material": "file:mac.key", "encoding": "raw"},
        {**common, "id": "rotated", "key_id": "alias/rotated", "key_spec": "SYMMETRIC_DEFAULT", "materials": entries},
    ]
    done = work.run()
    assert done.code == 0, done.stderr
    places = ("--account", ACCOUNT, "--role", ROLE, "--region", REGION, "--region", OTHER)
    result = discover(work, *places)
    found = keys(result)
    assert list(found) == ["related", "rotated"]
    assert found["related"]["replicas"] == [OTHER]
    assert [(one["name"], one["material"]) for one in found["rotated"]["materials"]] == [("v1", ""), ("v2", "")]
    text = result.stdout.decode().replace(
        "material:  # specify a source, such as file:NAME", "material: file:mac.key", 1
    )
    for name in ("v1", "v2"):
        text = text.replace("material:  # specify a source, such as file:NAME", f"material: file:{name}.key", 1)
    (work.folder / "keys.yaml").write_text(text.replace("version: 1", "version: 1\ndefaults: {encoding: raw}"))
    again = work.call("status", "keys.yaml", "--format", "json", "--read-interval", "0")
    assert again.code == 0, again.stderr + again.stdout.decode()
    assert json.loads(again.stdout)["summary"]["as_wanted"] == 3
    alone = keys(discover(work, "--account", ACCOUNT, "--role", ROLE, "--region", OTHER))
    assert [key["region"] for key in alone.values()] == [OTHER]
    work.keys = [{**work.keys[0], "key_id": "alias/nobody"}]
    work.write()
    gone = work.call(
        "status", "manifest.json", "--format", "json", "--read-interval", "0", "--consistency-timeout", "0"
    )
    assert {one["state"] for one in json.loads(gone.stdout)["targets"]} == {"missing"}, gone.stdout
