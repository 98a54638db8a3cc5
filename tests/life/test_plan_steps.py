"""`plan` shows each change with its cause, and what limits each lane's time."""

from __future__ import annotations

import json

import jsonschema

from bulk_import.api import SCHEMAS
from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox

REST = ("--read-interval", "0", "--consistency-timeout", "0")


def test_each_step_with_its_cause_and_each_lane_with_its_limit(sandbox: Sandbox, work: Workplace) -> None:
    new = {"key_spec": "SYMMETRIC_DEFAULT", "create": {"description": "Payments"}}
    work.key("alias/new", materials.make("SYMMETRIC_DEFAULT"), name="new", **new)
    old, good = materials.make("SYMMETRIC_DEFAULT"), materials.make("HMAC_256")
    changed = sandbox.key(alias="alias/old", description="Somebody's", material={"hex": old.hex()})
    work.key("alias/old", old, name="old", **new)
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], materials.make("HMAC_256"), name="mac")
    held = sandbox.key(region="eu-west-1", key_spec="HMAC_256", material={"hex": good.hex()})
    work.key(held["key_id"], good, name="good", region="eu-west-1")
    work.key("alias/nobody", materials.make("HMAC_256"), name="gone")
    work.write()
    result = work.call("plan", "manifest.json", "--format", "json", "--quota", "CreateKey=0.01", *REST)
    plan = json.loads(result.stdout)
    jsonschema.validate(plan, SCHEMAS["plan"]())
    steps = {one["id"]: [(step["operation"], step["cause"]) for step in one["steps"]] for one in plan["targets"]}
    assert steps == {
        "new": [("CreateKey", "no key has the alias alias/new"), ("CreateAlias", "the key has no alias"),
                ("ImportKeyMaterial", "the key waits for its material")],
        "old": [("UpdateKeyDescription", "the description is \"Somebody's\", not 'Payments'")],
        "mac": [("ImportKeyMaterial", "the key waits for its material")],
        "good": [],
        "gone": [],
    }  # fmt: skip
    assert {lane["region"]: lane["limit"] for lane in plan["lanes"]} == {"us-east-1": "CreateKey", "eu-west-1": None}
    table = work.call("plan", "manifest.json", *REST).stdout.decode()
    assert "CreateKey: no key has the alias alias/new; CreateAlias: the key has no alias; ImportKeyMaterial:" in table
    assert "GetParametersForImport is the limit, 1 per second)." in table
    assert not [call for call in sandbox.calls() if call["operation"] in ("CreateAlias", "UpdateKeyDescription")][1:]
    assert sandbox.client().describe_key(KeyId=changed["key_id"])["KeyMetadata"]["Description"] == "Somebody's"
