"""`create.policy`: the key policy that a key is created with, from a file or from the manifest itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.life.shared import lose_the_race
from tests.life.test_create import TAG, add, aliases, kms, only_key, sent
from tests.sandbox_client import Sandbox

ROOT = {"Sid": "Root", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::{account}:root"}, "Action": "kms:*",
        "Resource": "*"}  # fmt: skip
POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        ROOT,
        {
            "Sid": "Use {id}",
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["kms:Encrypt", "kms:Decrypt"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::{account}:role/${{aws:username}}"}},
        },
    ],
}


def put(work: Workplace, text: str | bytes, name: str = "policies/payments.json") -> str:
    """A policy file in the workplace. Returns how the manifest names it."""
    path = work.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return f"file:{name}"


def policy_of(sandbox: Sandbox, key_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kms(sandbox).get_key_policy(KeyId=key_id, PolicyName="default")["Policy"])
    return found


@pytest.mark.parametrize("how", ["a file", "in the manifest"])
def test_a_key_is_created_with_its_policy(sandbox: Sandbox, work: Workplace, how: str) -> None:
    stated = POLICY if how == "in the manifest" else put(work, json.dumps(POLICY, indent=2), "policies/{id}.json")
    if how == "a file":
        (work.folder / "policies/{id}.json").rename(work.folder / "policies/payments.json")
    add(work, create={"policy": stated})
    first = work.run()
    assert first.code == 0, first.stderr
    entry = first.entries["payments"]
    assert entry["changes"] == ["created", "alias", "imported"]
    assert len(entry["material_check"]) == 16, "of a key that is created, the check value is known after CreateKey"
    found = policy_of(sandbox, "alias/payments" and only_key(sandbox)["KeyId"])
    assert found["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert found["Statement"][1]["Sid"] == "Use payments"
    assert found["Statement"][1]["Condition"]["StringEquals"]["aws:PrincipalArn"].endswith("role/${aws:username}")

    second = work.run("--known", "report.json", "--require-proof")
    assert second.code == 0, second.stderr
    assert second.entries["payments"]["status"] == "unchanged"
    assert sent(sandbox)["PutKeyPolicy"] == 0


def test_a_policy_that_locks_the_caller_out_is_refused_at_once(sandbox: Sandbox, work: Workplace) -> None:
    """KMS's lockout check is never bypassed, and nothing is retried for minutes."""
    statement = {**ROOT, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Nobody"}, "Action": "kms:Decrypt"}
    add(work, create={"policy": {"Version": "2012-10-17", "Statement": [statement]}})
    result = work.run()
    assert result.code == 5
    error = result.entries["payments"]["error"]
    assert (error["code"], error["operation"]) == ("MalformedPolicyDocumentException", "CreateKey")
    assert not kms(sandbox).list_keys()["Keys"]
    assert sent(sandbox)["CreateKey"] == 1


LONG = {"Version": "2012-10-17", "Statement": [{**ROOT, "Sid": "x" * 1000}] * 40}
WRONG: dict[str, tuple[Any, str, str]] = {
    # what the manifest states → what the file holds, where the problem is, and what it says
    "file:policies/none.json": (None, "manifest.json", "there is no file"),
    "file:../payments.json": (None, "manifest.json", "leaves the manifest's folder"),
    "file:/etc/hosts": (None, "manifest.json", "is neither file:PATH nor a mapping"),
    "file:policies/{planet}.json": (None, "manifest.json", "unknown placeholder"),
    "https://example.com/p.json": (None, "manifest.json", "is neither file:PATH nor a mapping"),
    "file:link.json": ("a link that leads out", "manifest.json", "is outside the folder"),
    "file:policies/bad.json": ('{\n "Version": "2012-10-17",\n oops', "policies/bad.json:3", "is not JSON"),
    "file:policies/twice.json": ('{"Version": "1",\n "Version": "2"}', "policies/twice.json:2", "Version"),
    "file:policies/empty.json": ("{}", "policies/empty.json:1", "Statement"),
    "file:policies/null.json": (
        json.dumps({"Statement": [{**ROOT, "Sid": None}]}), "policies/null.json:1", "is null",
    ),
    "file:policies/variable.json": (
        json.dumps({"Statement": [{**ROOT, "Sid": "${aws:username}"}]}), "policies/variable.json:1",
        "${{aws:username}}",
    ),
    "file:policies/long.json": (json.dumps(LONG), "manifest.json", "KMS allows 32,768"),
    "file:policies/huge.json": (b"x" * 200_000, "manifest.json", "200000 bytes"),
    "file:policies/latin.json": (b'{"Statement": "\xe9"}', "manifest.json", "is not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("stated", WRONG)
def test_a_policy_that_cannot_be_used_is_named_before_any_call(sandbox: Sandbox, work: Workplace, stated: str) -> None:
    content, where, what = WRONG[stated]
    if content == "a link that leads out":
        (work.folder / "link.json").symlink_to("/etc/hosts")
    elif content is not None:
        put(work, content, stated.removeprefix("file:"))
    add(work, create={"policy": stated})
    work.write()
    for command in ("validate", "run"):
        result = work.call(command, "manifest.json")
        assert result.code == 3, result.stderr
        assert where in result.stderr, result.stderr
        assert what in result.stderr, result.stderr
    assert not sent(sandbox)


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        ({"Version": "2012-10-17", "Statement": []}, "create.policy.Statement"),
        ({"Statement": [{**ROOT, "Effect": "Permit"}]}, "has no Effect"),
        ({"Statement": [{k: v for k, v in ROOT.items() if k != "Principal"}]}, "Principal"),
        ({"Statement": [ROOT], "Comment": "x"}, "Comment"),
    ],
)
def test_the_form_of_a_policy_in_the_manifest_is_checked(work: Workplace, policy: Any, what: str) -> None:
    add(work, create={"policy": policy})
    work.write()
    result = work.call("validate", "manifest.json")
    assert (result.code, what in result.stderr) == (3, True), result.stderr


def test_a_policy_in_a_csv_names_a_file(sandbox: Sandbox, work: Workplace) -> None:
    add(work)
    stated = put(work, json.dumps(POLICY))
    (work.folder / "manifest.csv").write_text(
        "id,account,region,role,key_id,key_spec,material,encoding,wrapping_key_spec,create.policy\n"
        f"payments,{ACCOUNT},{REGION},Importer,alias/payments,SYMMETRIC_DEFAULT,file:payments.key,raw,RSA_2048,{stated}\n"
    )
    result = work.call("run", "manifest.csv", "--read-interval", "20ms", "--consistency-timeout", "0")
    assert result.code == 0, result.stderr
    assert policy_of(sandbox, only_key(sandbox)["KeyId"])["Statement"][1]["Sid"] == "Use payments"


def test_no_result_takes_the_place_of_a_policy_file(work: Workplace) -> None:
    add(work, create={"policy": put(work, json.dumps(POLICY))})
    result = work.run("--render", "html=policies/payments.json")
    assert result.code == 3, result.stderr
    assert json.loads((work.folder / "policies/payments.json").read_text()) == POLICY


def test_the_losing_run_of_a_race_says_what_its_key_is(sandbox: Sandbox, work: Workplace) -> None:
    """With a policy: the losing key has it, and the winner's differs, which is drift."""
    add(work, create={"policy": POLICY})
    result, winner = lose_the_race(sandbox, work)
    entry = result.entries["payments"]
    assert (entry["changes"], entry["error"]["code"]) == (["created"], "OrphanedKey")
    again = work.run()
    assert again.entries["payments"]["error"]["code"] == "Drift"
    assert aliases(sandbox) == {"alias/payments": winner["KeyId"]}
    corrected = work.run("--correct", "policy")
    assert corrected.code == 0, corrected.stderr
    assert corrected.entries["payments"]["key_arn"] == winner["Arn"]
    assert corrected.entries["payments"]["changes"] == ["policy", "imported"]
    assert TAG not in str(kms(sandbox).list_resource_tags(KeyId=winner["KeyId"])["Tags"])
