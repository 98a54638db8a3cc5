"""Plans that may not be run, and plans that are not saved: exit code 3 or 4, what differs, and no change."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from bulk_import import api
from bulk_import.errors import InputError
from tests.approval.support import Fleet, stale
from tests.e2e import materials
from tests.e2e.support import ACCOUNT, Workplace
from tests.faults.forks import Forks
from tests.sandbox_client import Sandbox

OTHER = "444455556666"


@pytest.fixture
def fleet(sandbox: Sandbox, work: Workplace, forks: Forks) -> Fleet:
    """Two keys to import into, in two accounts, with a plan."""
    fleet = Fleet(sandbox, work, forks)
    for name, account in (("one", ACCOUNT), ("two", OTHER)):
        work.key(sandbox.key(account)["key_id"], materials.make("SYMMETRIC_DEFAULT"), name=name, account=account)
    fleet.plan()
    return fleet


def again(fleet: Fleet, **changed: Any) -> None:
    """Alters the plan as somebody may who knows how its checksum is made. `changed`: members of its binding."""
    path = fleet.work.folder / "plan.json"
    document = orjson.loads(path.read_bytes())
    document["binding"] |= changed
    del document["checksum"]
    document["checksum"] = hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
    path.write_bytes(orjson.dumps(document))


def test_another_manifest_selection_role_or_setting(fleet: Fleet) -> None:
    fleet.refused("--only-account", ACCOUNT, says="made with --only-account (none), not 111122223333")
    fleet.refused("--only-id", "one", "--only-region", "us-east-1", says="selection.ids")
    fleet.refused("--prove", "all", says="made with --prove auto, not all")
    fleet.refused("--correct", "tags", says="made with --correct description, not tags")
    fleet.refused("--shard", "1/2", "--plan-max-age", "1ms", says="--plan-max-age is")
    fleet.work.defaults["role"] = "Another"
    fleet.work.write()
    text = fleet.refused(says="the plan is of another manifest")
    assert text.count("plan.json") == 1  # nothing that follows from it
    fleet.work.keys.pop()
    del fleet.work.defaults["role"]
    fleet.work.write()
    fleet.plan("--role", "One")
    text = fleet.refused("--role", "Two", "--external-id", "other", says="role/One in 111122223333, not arn")
    fleet.refused("--role", "One", "--external-id", "other", says="another external ID in 111122223333")


def test_another_endpoint(fleet: Fleet) -> None:
    fleet.refused(says="endpoints.kms", BULK_IMPORT_ENDPOINT_URL=fleet.work.url.replace("127.0.0.1", "localhost"))
    assert not list(fleet.work.folder.glob("report*json*"))


def test_too_old_and_from_the_future(fleet: Fleet) -> None:
    fleet.refused("--plan-max-age", "1ms", says="--plan-max-age is 0.0 s")
    now = datetime.now(UTC)
    again(fleet, created_at=f"{now - timedelta(hours=25):%Y-%m-%dT%H:%M:%SZ}")
    fleet.refused(says="25 h 0 min ago; --plan-max-age is 24 h 0 min")
    assert fleet.run("--plan-max-age", "26h").code == 0
    due = fleet.sandbox.key(key_spec="HMAC_256")
    fleet.work.key(due["key_id"], materials.make("HMAC_256"), name="due", valid_for="24h")
    fleet.plan()
    again(fleet, created_at=f"{now - timedelta(hours=17):%Y-%m-%dT%H:%M:%SZ}")
    renewed = fleet.run()
    assert "would have to be renewed by now" in stale(renewed, "due")  # less than a third of 24 hours is left
    assert fleet.state(due["key_id"]) == "PendingImport"
    again(fleet, created_at=f"{now + timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}")
    fleet.refused(says="in the future")


def test_what_is_no_plan(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fleet.work.folder)
    settings = api.load_settings({"plan": "plan.json"})
    manifest = api.load_manifest("manifest.json", settings)

    def refused(*, says: str) -> None:
        """By the library: a process for each would take long."""
        with pytest.raises(InputError, match=re.escape(says)) as refusal:
            api.load_plan(manifest, settings)
        assert refusal.value.problems[0].file == "plan.json"

    path = fleet.work.folder / "plan.json"
    good = path.read_bytes()
    for content, says in {
        good[: len(good) // 2]: "it is not JSON",
        good.replace(b'"material_check"', b'"hmac_check"', 1): "altered or damaged",
        good.replace(b'"prove": "auto"', b'"prove": "none"'): "altered or damaged",
        good.replace(b'"schema_version": 1', b'"schema_version": 2'): "schema_version 2",
        good.replace(b'"shard": null', b'"shard": null, "shard": null'): "a name occurs twice",
        b"[" * 100_000: "it is not JSON",
        b"{}": "this is not a saved plan",
        (fleet.work.folder / "manifest.json").read_bytes(): "this is not a saved plan",
        b"": "it is not JSON",
        b"\xff\xfe": "it is not JSON",
    }.items():
        path.write_bytes(content)
        refused(says=says)
    path.write_bytes(good)
    again(fleet, targets=[])
    refused(says="the plan does not have target one")
    path.write_bytes(good)
    targets = json.loads(good)["binding"]["targets"]
    targets[0]["materials"][0]["value"] = "\u00e9" * 16
    again(fleet, targets=targets)
    refused(says="materials.0.value is not as a plan has it")
    again(fleet, roles=7)
    refused(says="binding.roles is not as a plan has it")
    path.write_bytes(fleet.call("plan", "manifest.json", "--format", "json").stdout)
    refused(says="printed, not saved")
    path.unlink()
    fleet.refused(says="No such file")
    path.mkdir()
    refused(says="Is a directory")
    path.rmdir()
    path.write_bytes(good)
    assert fleet.forks.run(fleet.work.folder, fleet.work.environment(), ["validate", "plan.json"]).code == 3
    assert fleet.run().code == 0


def test_a_plan_that_could_not_read_everything_is_not_saved(fleet: Fleet) -> None:
    """The older one is gone, too: nobody runs it in the place of this one."""
    path = fleet.work.folder / "plan.json"
    (fleet.work.folder / "two.key").unlink()
    result = fleet.call("plan", "manifest.json", "--out", "plan.json")
    assert (result.code, path.exists()) == (4, False)
    assert "The plan was not saved to plan.json: not everything could be read (MaterialNotFound of two" in result.stderr
    (fleet.work.folder / "two.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    fleet.sandbox.fault("deny", operation="DescribeKey", times=None)
    denied = fleet.call("plan", "manifest.json", "--out", "plan.json")
    assert (denied.code, path.exists()) == (5, False)


def test_a_source_that_only_the_plan_reads(fleet: Fleet) -> None:
    """With --prove none, a run does not open the source of a key that is as wanted. A plan that is saved does."""
    key = fleet.sandbox.key(key_spec="HMAC_256", material={"hex": "00" * 32})
    fleet.work.key(key["key_id"], b"", name="held")
    (fleet.work.folder / "held.key").unlink()
    fleet.work.write()
    assert fleet.call("plan", "manifest.json", "--prove", "none").code == 0
    result = fleet.call("plan", "manifest.json", "--prove", "none", "--out", "plan.json")
    assert (result.code, (fleet.work.folder / "plan.json").exists()) == (4, False)
    (fleet.work.folder / "held.key").write_bytes(materials.make("HMAC_256"))
    fleet.plan("--prove", "none")
    (fleet.work.folder / "held.key").write_bytes(materials.make("HMAC_256"))
    run = fleet.run("--prove", "none")
    assert (run.code, run.entries["held"]["error"]["code"]) == (4, "PlanStale")


def test_a_blocked_target_stays_blocked(fleet: Fleet) -> None:
    """It was read, so the others may be approved."""
    key = fleet.sandbox.key(key_spec="HMAC_256", state="PendingDeletion")
    fleet.work.key(key["key_id"], materials.make("HMAC_256"), name="dying")
    fleet.work.write()
    result = fleet.call("plan", "manifest.json", "--out", "plan.json")
    assert result.code == 4
    assert json.loads((fleet.work.folder / "plan.json").read_bytes())["summary"]["blocked"] == 1
    run = fleet.run()
    assert (run.code, run.entries["one"]["status"]) == (4, "imported")
    assert run.entries["dying"]["error"]["code"] == "KeyStateNotImportable"
    fleet.kms().cancel_key_deletion(KeyId=key["key_id"])
    later = fleet.run()
    assert later.entries["dying"]["error"]["code"] == "PlanStale"


def test_places_of_a_plan(fleet: Fleet) -> None:
    folder = fleet.work.folder
    (folder / "notes.txt").write_text("mine")
    for place in ("one.key", "notes.txt", "no/such/folder/plan.json"):
        result = fleet.call("plan", "manifest.json", "--out", place)
        assert (result.code, "--out" in result.stderr) == (3, True), (place, result.stderr)
    assert fleet.call("plan", "manifest.json", "--out", "-").code == 2
    assert (folder / "notes.txt").read_text() == "mine"
    assert len((folder / "one.key").read_bytes()) == 32
    lost = fleet.call("plan", "manifest.json", "--out", "/proc/plan.json")  # no file can be made there
    assert (lost.code, "The plan was not saved" in lost.stderr) == (6, True), lost.stderr
    assert fleet.run("--report", "plan.json").code == 3
    idle = fleet.call("run", "manifest.json", "--plan-max-age", "1h")
    assert (idle.code, "--plan-max-age has no effect" in idle.stderr) == (2, True)
    assert fleet.call("plan", "manifest.json", BULK_IMPORT_OUT="plan.json").code == 0
    assert fleet.call("run", "manifest.json", BULK_IMPORT_PLAN="plan.json").code == 0


@pytest.mark.parametrize("plan", ["x", 5, [1], {"sha256": [1]}])
def test_an_older_journal_of_something_else_shows_nothing(fleet: Fleet, plan: Any) -> None:
    """Nothing shows then that the plan's own run filled the keys. Its checksums are right."""
    assert fleet.run().code == 0
    path = fleet.work.folder / "report.journal.jsonl"
    first, *others = path.read_bytes().splitlines(keepends=True)
    event = orjson.loads(first) | {"plan": plan}
    del event["crc"]
    body = orjson.dumps(event)[:-1]
    path.write_bytes(b"".join([b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)), *others]))
    again = fleet.run()
    assert again.code == 5, again.stderr
    assert "by no run of this plan" in stale(again, "one")
