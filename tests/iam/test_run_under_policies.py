"""Real runs with the printed policies in force: they allow all that a run asks for, and nothing that it does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import QUICK, Workplace
from tests.iam.gatekeeper import Gatekeeper, Policies
from tests.sandbox_client import Sandbox

A, B = "111122223333", "444455556666"
VALID_TO = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
ALL = ("--prove", "all", "--prove-use")


def plant(sandbox: Sandbox, work: Workplace) -> None:
    """Keys of every kind, named in every way, in two accounts; a stranger next to them in each."""
    for account in (A, B):
        sandbox.key(account, alias="alias/stranger")
        sandbox.key(account, "eu-west-1", alias="alias/payments")
    symmetric = materials.make("SYMMETRIC_DEFAULT")
    sandbox.key(A, alias="alias/payments")
    work.key("alias/payments", symmetric, name="by-alias", account=A, valid_to=VALID_TO.isoformat())
    mac = sandbox.key(A, key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    work.key(mac["key_id"], materials.make("HMAC_256"), name="by-id", account=A, key_spec="HMAC_256")
    rsa = sandbox.key(B, key_spec="RSA_2048", key_usage="SIGN_VERIFY")
    work.key(rsa["arn"], materials.make("RSA_2048"), name="by-arn", account=B, wrapping_key_spec="RSA_3072")
    plain = sandbox.key(B, alias="alias/plain")
    work.key(plain["arn"].rsplit(":", 1)[0] + ":alias/plain", symmetric, name="by-alias-arn", account=B, valid_for="9d")


def policies_of(work: Workplace, *options: str) -> tuple[dict[str, Any], Policies]:
    work.write()
    printed = work.call("iam", "manifest.json", *options)
    assert printed.code == 0, printed.stderr
    document = json.loads(printed.stdout)
    return document, {section["account"]: section["permissions_policies"] for section in document["accounts"]}


def actions(policies: Policies) -> set[str]:
    return {
        action
        for documents in policies.values()
        for document in documents
        for statement in document["Statement"]
        for action in statement["Action"]
    }


def test_a_run_needs_what_is_granted_and_no_more(sandbox: Sandbox, work: Workplace) -> None:
    plant(sandbox, work)
    _, policies = policies_of(work, *ALL)
    with Gatekeeper(sandbox, policies) as gate:
        first = work.run(*ALL, "--require-proof", BULK_IMPORT_ENDPOINT_URL=gate.url)
        again = work.run(*ALL, "--require-proof", BULK_IMPORT_ENDPOINT_URL=gate.url)
        planned = work.call("plan", "manifest.json", *QUICK, BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert (first.code, again.code, planned.code) == (0, 0, 0), first.stderr + again.stderr
    assert all(verdict for _, verdict in gate.asked)
    assert {request.action for request, _ in gate.asked} == actions(policies)
    assert {entry["verification"]["round_trip"] for entry in again.entries.values()} == {True, None}


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ((), {"kms:Encrypt", "kms:Decrypt"}),
        (("--prove", "none"), {"kms:Encrypt", "kms:Decrypt", "kms:GenerateMac", "kms:GetPublicKey"}),
    ],
)
def test_options_that_ask_for_less_are_granted_less(
    sandbox: Sandbox, work: Workplace, options: tuple[str, ...], missing: set[str]
) -> None:
    plant(sandbox, work)
    for fields in work.keys:  # with stated key specs there is nothing to provide for
        fields["key_spec"] = {"by-id": "HMAC_256", "by-arn": "RSA_2048"}.get(fields["id"], "SYMMETRIC_DEFAULT")
    _, everything = policies_of(work, *ALL)
    _, policies = policies_of(work, *options)
    assert actions(everything) - actions(policies) == missing
    with Gatekeeper(sandbox, policies) as gate:
        result = work.run(*options, BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert result.code == 0, result.stderr
    assert all(verdict for _, verdict in gate.asked)


def test_the_policies_are_in_force_in_these_tests(sandbox: Sandbox, work: Workplace) -> None:
    """Policies for other keys than the manifest's let nothing through."""
    plant(sandbox, work)
    _, policies = policies_of(work)
    work.keys[0]["key_id"] = "alias/stranger"
    with Gatekeeper(sandbox, policies) as gate:
        result = work.run("--only-id", "by-alias", BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert result.code == 5
    assert result.entries["by-alias"]["error"]["code"] == "AccessDeniedException"
    assert [verdict for _, verdict in gate.asked] == [False]


def test_a_run_that_creates_its_keys(sandbox: Sandbox, work: Workplace) -> None:
    """The first run creates, the second adopts what a run without a right left, and none asks for more."""
    symmetric = materials.make("SYMMETRIC_DEFAULT")
    create = {"description": "New", "tags": {"Team": "payments"}}
    work.key("alias/new", symmetric, name="new", account=A, key_spec="SYMMETRIC_DEFAULT", create=create)
    _, policies = policies_of(work)
    without = {A: [_without(document, "CreateAlias") for document in policies[A]]}
    quick = ("--retry-timeout", "1s", "--verify-timeout", "1s", "--max-failures", "1")
    with Gatekeeper(sandbox, without) as gate:
        process = work.start(*quick, BULK_IMPORT_ENDPOINT_URL=gate.url)
        while not sandbox.keys(account=A):
            assert process.poll() is None
        process.kill()
        process.communicate()
    (unfinished,) = sandbox.keys(account=A)
    assert unfinished["aliases"] == []
    with Gatekeeper(sandbox, policies) as gate:
        first = work.run(BULK_IMPORT_ENDPOINT_URL=gate.url)
        entry = first.entries["new"]
        again = work.run(BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert all(verdict for _, verdict in gate.asked)
    assert (entry["key_arn"], entry["changes"]) == (unfinished["arn"], ["alias", "imported"])
    assert again.entries["new"]["status"] == "unchanged"


def _without(document: dict[str, Any], action: str) -> dict[str, Any]:
    kept = [
        statement | {"Action": [one for one in statement["Action"] if one != f"kms:{action}"]}
        for statement in document["Statement"]
    ]
    return document | {"Statement": [statement for statement in kept if statement["Action"]]}
