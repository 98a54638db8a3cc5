"""What `--correct` may set of a key that exists: the printed policies allow exactly what is named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.support import ACCOUNT, Workplace
from tests.iam.gatekeeper import Gatekeeper
from tests.iam.test_run_under_policies import actions, policies_of
from tests.life.test_correct import ALL, STATED, existing, is_as_stated, kms
from tests.sandbox_client import Sandbox

CALLS = {"policy": "kms:PutKeyPolicy", "tags": "kms:TagResource", "description": "kms:UpdateKeyDescription"}
SETS = {"policy": "SetPolicy", "tags": "SetTags", "description": "SetDescription"}


def correct(*fields: str) -> list[str]:
    return [word for field in fields for word in ("--correct", field)]


def sids(policies: dict[str, list[dict[str, Any]]]) -> set[str]:
    """Names of the statements, without the number of one of several."""
    return {
        statement["Sid"].rstrip("0123456789")
        for documents in policies.values()
        for document in documents
        for statement in document["Statement"]
    }


def test_all_corrections_under_the_printed_policies(sandbox: Sandbox, work: Workplace) -> None:
    key = existing(sandbox, work)
    document, policies = policies_of(work, *ALL)
    with Gatekeeper(sandbox, policies) as gate:
        first = work.run(*ALL, BULK_IMPORT_ENDPOINT_URL=gate.url)
        changes = first.entries["payments"]["changes"]
        again = work.run(*ALL, BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert changes == ["policy", "tags", "description"]
    assert all(verdict for _, verdict in gate.asked), [one for one in gate.asked if not one[1]]
    assert set(CALLS.values()) <= {request.action for request, _ in gate.asked}
    is_as_stated(sandbox, key["key_id"])
    assert any("makes it an administrator of those keys" in one for one in document["accounts"][0]["warnings"])


@pytest.mark.parametrize("field", CALLS)
def test_without_its_statement_a_correction_is_refused(sandbox: Sandbox, work: Workplace, field: str) -> None:
    existing(sandbox, work)
    work.keys[0]["create"] = {field: STATED[field]}  # after another correction, a refusal is repeated for minutes
    _, policies = policies_of(work, *ALL)
    for document in policies[ACCOUNT]:
        document["Statement"] = [one for one in document["Statement"] if not one["Sid"].startswith(SETS[field])]
    with Gatekeeper(sandbox, policies) as gate:
        result = work.run(*ALL, "--retry-timeout", "1s", "--max-failures", "1", BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert {request.action for request, verdict in gate.asked if not verdict} == {CALLS[field]}
    assert result.entries["payments"]["status"] != "corrected"
    assert result.entries["payments"]["error"]["operation"] == CALLS[field].removeprefix("kms:")


@pytest.mark.parametrize("named", [("description",), ("tags",), ("tags", "description")])
def test_only_what_is_named_is_granted(sandbox: Sandbox, work: Workplace, named: tuple[str, ...]) -> None:
    existing(sandbox, work)
    work.keys[0]["create"] = {name: value for name, value in STATED.items() if name != "policy"}
    document, policies = policies_of(work, *correct(*named))
    assert sids(policies) & set(SETS.values()) == {SETS[field] for field in named}
    assert "kms:PutKeyPolicy" not in actions(policies)
    assert "administrator" not in str(document)


def test_a_policy_is_granted_where_the_manifest_has_one_only(sandbox: Sandbox, work: Workplace) -> None:
    existing(sandbox, work)
    work.keys[0]["create"] = {name: value for name, value in STATED.items() if name != "policy"}
    assert "kms:PutKeyPolicy" not in actions(policies_of(work, *ALL)[1])
    for command in ("plan", "status"):
        assert not sids(policies_of(work, "--command", command)[1]) & set(SETS.values())


def test_other_tags_than_the_manifests_cannot_be_set(sandbox: Sandbox, work: Workplace) -> None:
    """By a run of another manifest, with the policies of this one."""
    key = existing(sandbox, work)
    _, policies = policies_of(work, *ALL)
    work.keys[0]["create"] = {"description": "Payments", "tags": {"Team": "payments", "Admin": "yes"}}
    with Gatekeeper(sandbox, policies) as gate:
        result = work.run(*ALL, "--retry-timeout", "1s", BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert result.code == 5, result.stderr
    assert (result.entries["payments"]["error"]["code"], result.entries["payments"]["changed"]) == (
        "AccessDeniedException", False,
    )  # fmt: skip
    assert {tag["TagKey"] for tag in kms(sandbox).list_resource_tags(KeyId=key["key_id"])["Tags"]} == {"Team", "Other"}
