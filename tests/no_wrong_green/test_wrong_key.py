"""Right lane, wrong key: a response for another key than requested never ends in a good result.

What mixes the responses up is a proxy in front of the sandbox. KMS's own side is looked at with a separate client.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.rewriter import Rewrite, Rewriter
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace
from tests.faults.support import add_targets, imports
from tests.no_wrong_green.conftest import Run
from tests.sandbox.helpers import NEVER, import_material
from tests.sandbox_client import Sandbox

AES = "SYMMETRIC_DEFAULT"
OPEN = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "kms:*", "Resource": "*"}
        for account in (ACCOUNT, "444455556666")
    ],
}


def through(sandbox: Sandbox, work: Workplace, run: Run, rewrite: Rewrite, *options: str) -> Result:
    with Rewriter(sandbox.url, rewrite) as proxy:
        work.url = proxy.url
        try:
            return run(*options)
        finally:
            work.url = sandbox.url


def renamed(operation: str, one: dict[str, str], other: dict[str, str], *, after: int = 0) -> Rewrite:
    """Answers of `operation` about `one` name `other` instead, after so many that are left alone."""
    seen = 0

    def rewrite(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen
        text = json.dumps(answer)
        if called != operation or one["key_id"] not in text:
            return answer
        seen += 1
        return json.loads(text.replace(one["key_id"], other["key_id"])) if seen > after else answer

    return rewrite


def told(entry: dict[str, Any]) -> str:
    return f"{entry['error']['code']}: {entry['error']['message']}"


# --- where the manifest says which key it is, the first response counts
def test_two_keys_whose_descriptions_are_swapped(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """A connection that is off by one response: each key would get the other's material, and both would be proved."""
    one, two = add_targets(sandbox, work, 2, specs=(AES,))

    def swapped(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if operation != "DescribeKey":
            return answer
        text = json.dumps(answer).replace(one["key_id"], "@").replace(two["key_id"], one["key_id"])
        return json.loads(text.replace("@", two["key_id"]))

    result = through(sandbox, work, run, swapped, "--require-proof")
    assert result.code == 5
    assert {(e["error"]["code"], e["changed"]) for e in result.entries.values()} == {("WrongKey", False)}
    assert not imports(sandbox)


@pytest.mark.parametrize("form", ["key_id", "arn"])
@pytest.mark.parametrize("multi_region", [False, True])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_key_id_or_arn_is_compared_with_the_first_response(
    sandbox: Sandbox,
    work: Workplace,
    run: Run,
    *,
    form: str,
    multi_region: bool,
    command: str,
) -> None:
    key, other = (sandbox.key(key_spec=AES, multi_region=multi_region) for _ in range(2))
    work.key(key[form], materials.make(AES), name="key")
    with Rewriter(sandbox.url, renamed("DescribeKey", key, other)) as proxy:
        work.url = proxy.url
        if command == "plan":
            work.write()
            plan = work.call("plan", "manifest.json", "--format", "json", "--consistency-timeout", "0")
            [target] = json.loads(plan.stdout)["targets"]
            assert (plan.code, target["action"], target["error"]["code"]) == (5, "blocked", "WrongKey")
        else:
            result = run()
            assert (result.code, result.entries["key"]["error"]["code"]) == (5, "WrongKey")
    assert not imports(sandbox)


def test_a_multi_region_key_answers_for_itself_in_its_own_region_only(
    sandbox: Sandbox, work: Workplace, run: Run
) -> None:
    """The same key ID in another Region is another key: a primary's description does not stand for a replica's."""
    key = sandbox.key(key_spec=AES, multi_region=True)
    work.key(key["key_id"], materials.make(AES), name="key")

    def elsewhere(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if operation == "DescribeKey":
            answer["KeyMetadata"]["Arn"] = answer["KeyMetadata"]["Arn"].replace(REGION, "eu-west-1")
        return answer

    result = through(sandbox, work, run, elsewhere)
    assert (result.code, result.entries["key"]["error"]["code"]) == (5, "WrongAccount")
    assert run().code == 0


# --- after the first response, every response
@pytest.mark.parametrize("named_by", ["alias", "key_id"])
@pytest.mark.parametrize(
    ("operation", "spec", "options", "changed"),
    [
        ("DescribeKey", AES, (), True),  # the reads after the import
        ("GetParametersForImport", AES, (), False),
        ("ImportKeyMaterial", AES, (), True),  # the reads that follow show that it took effect where it should
        ("ImportKeyMaterial", "HMAC_256", (), True),
        ("GenerateMac", "HMAC_256", (), True),
        ("GetPublicKey", "ECC_NIST_P256", (), True),
        ("Encrypt", AES, ("--prove-use",), True),
        ("Decrypt", AES, ("--prove-use",), True),
    ],
)
def test_every_response_names_the_pinned_key(
    sandbox: Sandbox, work: Workplace, run: Run, *, named_by: str, operation: str, spec: str, options: tuple[str, ...],
    changed: bool,
) -> None:  # fmt: skip
    key, other = sandbox.key(key_spec=spec, alias="alias/one"), sandbox.key(key_spec=spec)
    work.key("alias/one" if named_by == "alias" else key["key_id"], materials.make(spec), name="key")
    after = 1 if operation == "DescribeKey" else 0
    result = through(sandbox, work, run, renamed(operation, key, other, after=after), *options)
    entry = result.entries["key"]
    assert (result.code, entry["status"], entry["error"]["code"]) == (5, "failed", "WrongKey"), entry
    assert (entry["changed"], bool(imports(sandbox))) == (changed, changed)
    assert other["key_id"] in entry["error"]["message"]
    assert other["arn"] not in imports(sandbox)
    if operation == "ImportKeyMaterial":
        assert "may be in that key" in entry["error"]["message"]


def test_rotations_of_another_key(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """Their entries carry bare key IDs."""
    material = materials.make(AES)
    key, other = sandbox.key(key_spec=AES, material={"hex": material.hex()}), sandbox.key(key_spec=AES)
    work.key(key["arn"], material, name="key")
    result = through(sandbox, work, run, renamed("ListKeyRotations", key, other))
    assert (result.code, result.entries["key"]["error"]["code"]) == (5, "WrongKey")
    assert run().code == 0


@pytest.mark.parametrize("named_by", ["alias", "key_id"])
def test_an_import_whose_response_and_effect_are_both_lost_in_other_keys(
    sandbox: Sandbox, work: Workplace, run: Run, named_by: str
) -> None:
    """No read shows the effect at the pinned key: then no one knows where the material is, and the entry says so."""
    key, other = sandbox.key(key_spec=AES, alias="alias/one"), sandbox.key(key_spec=AES)
    work.key("alias/one" if named_by == "alias" else key["key_id"], materials.make(AES), name="key")
    rename = renamed("ImportKeyMaterial", key, other)
    stale = {"account": ACCOUNT, "region": REGION, "key": key["key_id"], "pattern": ",".join(["stale"] * 50)}
    sandbox.post("stale_reads", **stale)
    result = through(sandbox, work, run, rename)
    entry = result.entries["key"]
    assert (result.code, entry["changed"], entry["error"]["code"]) == (5, None, "OutcomeUnknown")
    assert "WrongKey" in entry["error"]["message"]
    assert "may be in that key" in entry["error"]["message"]


# --- what never changes about a key
@pytest.mark.parametrize(
    ("member", "value"), [("KeySpec", "HMAC_256"), ("Origin", "AWS_KMS"), ("KeyManager", "AWS"), ("KeySpec", None)]
)
def test_a_key_whose_nature_changes_during_the_run(
    sandbox: Sandbox, work: Workplace, run: Run, member: str, value: str | None
) -> None:
    [key] = add_targets(sandbox, work, 1, specs=(AES,))
    seen = 0

    def other_kind(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen
        seen += operation == "DescribeKey"
        if operation == "DescribeKey" and seen > 1:
            answer["KeyMetadata"][member] = value
            if value is None:
                del answer["KeyMetadata"][member]
        return answer

    result = through(sandbox, work, run, other_kind)
    entry = result.entries["k0"]
    assert (result.code, entry["error"]["code"], entry["changed"]) == (5, "WrongKey", True)
    assert member in entry["error"]["message"]
    assert imports(sandbox) == {key["arn"]: 1}


def test_a_public_key_of_another_spec(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    add_targets(sandbox, work, 1, specs=("ECC_NIST_P256",))

    def other_kind(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | ({"KeySpec": "ECC_SECG_P256K1"} if operation == "GetPublicKey" else {})

    result = through(sandbox, work, run, other_kind)
    assert (result.code, result.entries["k0"]["error"]["code"]) == (5, "WrongKey")


# --- a resume
def test_a_resume_compares_with_what_the_journal_pinned(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """Before the kill the key was symmetric; now the alias's description is of an HMAC key with the same ARN."""
    sandbox.key(key_spec=AES, alias="alias/one")
    work.key("alias/one", materials.make(AES), name="key")
    sandbox.fault("deny", operation="ImportKeyMaterial", times=1)
    lying = False

    def other_kind(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if operation == "DescribeKey" and lying:
            answer["KeyMetadata"] |= {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}
        return answer

    with Rewriter(sandbox.url, other_kind) as proxy:
        work.url = proxy.url
        assert run().entries["key"]["error"]["code"] == "AccessDeniedException"
        lying = True
        result = run("--resume")
        entry = result.entries["key"]
        assert (result.code, entry["error"]["code"], entry["changed"]) == (5, "WrongKey", False), told(entry)
        lying = False
        assert run("--resume").code == 0


# --- keys that are created
@pytest.mark.parametrize("what", ["a key that was there", "the same for two", "another spec", "of another Region"])
def test_create_key_answers_with_another_key(sandbox: Sandbox, work: Workplace, run: Run, what: str) -> None:
    """What it names would get an alias and the material."""
    other = sandbox.key(key_spec=AES, alias="alias/other")
    work.key("alias/other", materials.make(AES), name="other")
    for name in ("one", "two"):
        material = materials.make(AES)
        work.key(f"alias/{name}", material, name=name, key_spec=AES, create={})
    kms = sandbox.client()
    there = kms.describe_key(KeyId=other["key_id"])["KeyMetadata"]
    first: list[dict[str, Any]] = []

    def instead(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        if called != "CreateKey":
            return answer
        first.append(answer)
        found = answer["KeyMetadata"]
        if what == "a key that was there":
            return {"KeyMetadata": found | {"Arn": there["Arn"], "KeyId": there["KeyId"]}}
        if what == "the same for two":
            return first[0]
        if what == "another spec":
            return {"KeyMetadata": found | {"KeySpec": "HMAC_256"}}
        return {"KeyMetadata": found | {"Arn": found["Arn"].replace(REGION, "eu-west-1")}}

    result = through(sandbox, work, run, instead, "--verify-timeout", "1s")
    wrong = {name: entry["error"]["code"] for name, entry in result.entries.items() if entry["status"] == "failed"}
    assert wrong, result.entries
    assert set(wrong.values()) <= {"WrongKey", "WrongAccount", "OutcomeUnknown"}, wrong
    if what == "the same for two":
        assert len(wrong) == 1
    elif what != "of another Region":
        assert wrong.keys() == {"one", "two"}
    aliases = {entry["AliasName"]: entry["TargetKeyId"] for entry in kms.list_aliases()["Aliases"]}
    assert len(set(aliases.values())) == len(aliases), "two aliases of one key"


@pytest.mark.parametrize("what", ["empty", "filled", "of another run", "each other's"])
def test_create_key_names_a_key_that_was_not_created_for_the_alias(
    sandbox: Sandbox, work: Workplace, run: Run, what: str
) -> None:
    """Of the same shape, and in no manifest: only its tag shows it. Its policy may let others use the material."""
    material = materials.make(AES)
    work.key("alias/one", material, name="one", key_spec=AES, create={})
    other = sandbox.key(
        key_spec=AES,
        **({"material": {"hex": material.hex()}} if what == "filled" else {}),
        **({"tags": {"bulk-import:alias": "alias/two"}} if what == "of another run" else {}),
    )
    if what == "each other's":
        work.key("alias/two", materials.make(AES), name="two", key_spec=AES, create={"policy": OPEN})
    made: list[dict[str, Any]] = []
    both = threading.Barrier(2)

    def instead(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        if called != "CreateKey":
            return answer
        found = answer["KeyMetadata"]
        if what != "each other's":
            return {"KeyMetadata": found | {"Arn": other["arn"], "KeyId": other["key_id"]}}
        made.append(answer)
        both.wait(20)
        return next(each for each in made if each is not answer)

    result = through(sandbox, work, run, instead, "--verify-timeout", "1s")
    entries = result.entries.values()
    assert result.code == 5, result.entries
    assert {(entry["error"]["code"], entry["changed"]) for entry in entries} == {("WrongKey", True)}
    assert not imports(sandbox)
    assert not sandbox.calls(operation="CreateAlias")
    again = run()  # nothing is mixed up any more: the keys of the first run are found
    assert again.code == 0, again.stderr
    created = [call for call in sandbox.calls(operation="CreateKey") if call["status"] == 200]
    assert len(created) == len(again.entries)


# --- materials that are deleted
@pytest.mark.parametrize("several", [False, True])
def test_a_deletion_whose_response_names_another_material(sandbox: Sandbox, work: Workplace, *, several: bool) -> None:
    material = materials.make(AES)
    key = sandbox.key(key_spec=AES, material={"hex": material.hex()})
    if several:
        named = {"KeyMaterialDescription": "next", "ImportType": "NEW_KEY_MATERIAL", **NEVER}
        import_material(sandbox.client(), key["key_id"], materials.make(AES), **named)
    work.key(key["key_id"], material, name="key")
    work.write()

    def another(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | ({"KeyMaterialId": "ab" * 32} if called == "DeleteImportedKeyMaterial" else {})

    with Rewriter(sandbox.url, another) as proxy:
        work.url = proxy.url
        options = ("--all", "--yes", "--read-interval", "20ms", *(("--material-name", "next") if several else ()))
        result = work.call("delete", "manifest.json", *options)
    entry = result.entries["key"]
    assert (result.code, entry["error"]["code"], entry["changed"]) == (5, "WrongKey", True), entry
    assert "abababab…" in entry["error"]["message"]
