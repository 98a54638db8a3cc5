"""What is not AWS is never called AWS: by its endpoint's form, for every service that carries a part of the run."""

from __future__ import annotations

import json

import pytest

from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox


@pytest.mark.parametrize(
    "command", [("plan", "manifest.json"), ("run", "manifest.json", "--dry-run"), ("plan", "manifest.json", "--quiet")]
)
def test_a_plan_says_so(command: tuple[str, ...], sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="a")
    work.write()
    result = work.call(*command)
    assert result.code == 0
    assert f"Not AWS: this plan talked to the sandbox (sts {sandbox.url}, kms {sandbox.url})" in result.stderr


def test_the_plan_as_a_document_says_so(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="a")
    work.write()
    result = work.call("plan", "manifest.json", "--format", "json")
    document = json.loads(result.stdout)
    assert (document["environment"], document["endpoints"]) == ("sandbox", {"sts": sandbox.url, "kms": sandbox.url})
