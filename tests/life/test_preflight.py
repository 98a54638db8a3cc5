"""Before the first write, `plan` reports all mistakes of a fleet at once, each with what to do."""

from __future__ import annotations

import json

import pytest

from tests.e2e import materials
from tests.e2e.support import ROLE, Workplace, quick
from tests.sandbox_client import Sandbox

DENIED, OPTED_OUT = "444455556666", "ap-east-1"


@pytest.mark.parametrize("command", ["plan", "run"])
def test_all_mistakes_at_once(sandbox: Sandbox, work: Workplace, command: str) -> None:
    def key(name: str, *, wanted: str = "HMAC_256", account: str = "111122223333", **fields: object) -> None:
        made = sandbox.key(account, **{"key_spec": "HMAC_256", **fields})
        work.key(made["key_id"], materials.make(wanted), name=name, account=account, key_spec=wanted)

    key("good")
    key("role", account=DENIED)
    key("region")
    work.keys[-1]["region"] = OPTED_OUT
    work.key("alias/nobody", materials.make("HMAC_256"), name="missing")
    key("origin", wanted="SYMMETRIC_DEFAULT", key_spec="SYMMETRIC_DEFAULT", origin="AWS_KMS")
    key("spec", wanted="HMAC_384")
    key("state", state="PendingDeletion")
    key("permission")
    sandbox.fault("deny", operation="DescribeKey", key=work.keys[-1]["key_id"], times=None)
    key("unreadable")
    (work.folder / "unreadable.key").unlink()
    key("shape")
    (work.folder / "shape.key").write_bytes(b"too short")
    sandbox.seed({"accounts": {DENIED: {"roles": [{"name": ROLE, "deny": True}]}}})
    sandbox.fault("error", operation="DescribeKey", code="OptInRequired", region=OPTED_OUT, times=None)
    work.write()
    options = ("--format", "json", *(("--dry-run",) if command == "run" else ()))
    result = work.call(command, "manifest.json", *options, *quick(()))
    assert result.code == 4, result.stderr
    plan = json.loads(result.stdout)
    errors = {target["id"]: target["error"] for target in plan["targets"] if target["error"]}
    assert {name: error["code"] for name, error in errors.items()} == {
        "role": "AccessDenied", "region": "OptInRequired", "missing": "NotFoundException",
        "origin": "NotImportableOrigin", "spec": "KeySpecMismatch", "state": "KeyStateNotImportable",
        "permission": "AccessDeniedException", "unreadable": "MaterialNotFound", "shape": "MaterialWrongLength",
    }  # fmt: skip
    assert all(error["advice"] for error in errors.values())
    assert plan["summary"]["import"] == 1
    changed = {"GetParametersForImport", "ImportKeyMaterial"} & {call["operation"] for call in sandbox.calls()}
    assert not changed
