"""A resume reads every target that ended OK again: what the journal says of it may be long out of date."""

from __future__ import annotations

import signal
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
import pytest

from tests.e2e import materials
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.faults.support import add_targets, imports, wait_until
from tests.no_wrong_green.conftest import Run
from tests.sandbox_client import Sandbox

AES = "SYMMETRIC_DEFAULT"


def first_part(sandbox: Sandbox, work: Workplace, run: Run, **fields: Any) -> list[dict[str, str]]:
    """Three targets end OK, one is missing: its key is there when the run is resumed."""
    keys = add_targets(sandbox, work)
    work.keys = [entry | fields for entry in work.keys]
    work.key("alias/late", materials.make("HMAC_256"), name="late")
    result = run()
    assert (result.code, result.report["summary"]["imported"]) == (4, 3)
    sandbox.key(key_spec="HMAC_256", alias="alias/late")
    return keys


def edited(
    work: Workplace,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
    *,
    instead: tuple[bytes, bytes] = (b"", b""),
) -> None:
    """The journal, with every event changed and summed again. `instead`: a text in its lines, and another for it."""
    journal = work.folder / "report.journal.jsonl"
    lines = []
    for line in journal.read_bytes().splitlines():
        event = orjson.loads(line)
        del event["crc"]
        change(event)
        body = orjson.dumps(event)[:-1].replace(*instead)
        lines.append(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
    journal.write_bytes(b"".join(lines))


@pytest.mark.parametrize("reads", ["1", "3"])
def test_what_is_as_it_was_keeps_its_result(sandbox: Sandbox, work: Workplace, run: Run, reads: str) -> None:
    keys = first_part(sandbox, work, partial(run, "--reads", reads))
    before = {entry["id"]: entry for entry in orjson.loads((work.folder / "report.json").read_bytes())["results"]}
    mark = len(sandbox.calls())
    result = run("--resume", "--reads", reads)
    assert (result.code, result.report["summary"]["imported"]) == (0, 4)
    for name in ("k0", "k1", "k2"):
        assert result.entries[name] == before[name]
    after = [call for call in sandbox.calls()[mark:] if call["key"] in {key["arn"] for key in keys}]
    reads_of = [call for call in after if call["operation"] == "DescribeKey"]
    assert len(reads_of) == 3 * int(reads)
    assert {call["operation"] for call in after} <= {"DescribeKey", "ListKeyRotations"}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_material_that_was_deleted_since_is_imported_again(
    sandbox: Sandbox, work: Workplace, run: Run, number: int
) -> None:
    keys = first_part(sandbox, work, run)
    sandbox.client().delete_imported_key_material(KeyId=keys[number]["key_id"])
    result = run("--resume")
    entry = result.entries[f"k{number}"]
    assert (result.code, entry["status"], entry["changed"], entry["attempts"]) == (0, "imported", True, 2)
    assert imports(sandbox)[keys[number]["arn"]] == 2
    state = sandbox.client().describe_key(KeyId=keys[number]["key_id"])["KeyMetadata"]["KeyState"]
    assert state == "Enabled"


@pytest.mark.parametrize(
    ("operation", "code"),
    [("disable_key", "KeyStateChanged"), ("schedule_key_deletion", "KeyStateNotImportable")],
)
def test_a_key_that_somebody_changed_since(
    sandbox: Sandbox, work: Workplace, run: Run, operation: str, code: str
) -> None:
    keys = first_part(sandbox, work, run)
    getattr(sandbox.client(), operation)(KeyId=keys[1]["key_id"])
    result = run("--resume")
    entry = result.entries["k1"]
    assert (result.code, entry["status"], entry["error"]["code"], entry["changed"]) == (4, "failed", code, True)


def test_a_key_that_is_gone(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    keys = first_part(sandbox, work, run)
    sandbox.fault(
        "error", operation="DescribeKey", key=keys[0]["key_id"], status=400, code="NotFoundException", times=None
    )
    result = run("--resume")
    assert (result.code, result.entries["k0"]["error"]["code"]) == (4, "NotFoundException")


def test_one_stale_read_imports_nothing(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """Only N equal reads say that a target is no longer as wanted."""
    keys = first_part(sandbox, work, run)
    stale = {"account": ACCOUNT, "region": REGION, "key": keys[0]["key_id"], "at_once": True}
    sandbox.post("stale_reads", **stale, pattern="good,stale,good")
    result = run("--resume")
    assert (result.code, result.entries["k0"]["attempts"]) == (0, 1)
    assert imports(sandbox)[keys[0]["arn"]] == 1


def test_symmetric_material_with_another_id(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    lying = False

    def other(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if lying and operation == "DescribeKey" and "CurrentKeyMaterialId" in answer["KeyMetadata"]:
            answer["KeyMetadata"]["CurrentKeyMaterialId"] = "ab" * 32
        return answer

    with Rewriter(sandbox.url, other) as proxy:
        work.url = proxy.url
        first_part(sandbox, work, run)
        lying = True
        result = run("--resume")
    assert (result.code, result.entries["k1"]["error"]["code"]) == (4, "MaterialMismatch")


def test_a_stated_id_that_kms_no_longer_shows(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """It was shown when the target ended OK. Nothing shown is no evidence that it is the same material still."""
    hiding = False

    def hidden(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if hiding and operation == "DescribeKey":
            answer["KeyMetadata"].pop("CurrentKeyMaterialId", None)
        for entry in answer["Rotations"] if hiding and operation == "ListKeyRotations" else ():
            entry.pop("KeyMaterialId", None)
            entry.pop("KeyMaterialState", None)
        return answer

    with Rewriter(sandbox.url, hidden) as proxy:
        work.url = proxy.url
        material = materials.make(AES)
        key = sandbox.key(key_spec=AES, material={"hex": material.hex()})
        shown = sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["CurrentKeyMaterialId"]
        work.key(key["key_id"], material, name="k0", key_material_id=shown)
        work.key("alias/late", materials.make("HMAC_256"), name="late")
        assert run().code == 4
        hiding = True
        result = run("--resume")
    assert (result.code, result.entries["k0"]["error"]["code"]) == (5, "MaterialMismatch")


def test_a_journal_of_sixty_days_ago(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """Each of its targets ended OK then, and each has another fate since."""
    keys = first_part(sandbox, work, run)
    edited(work, sixty_days_earlier)
    kms = sandbox.client()
    kms.delete_imported_key_material(KeyId=keys[0]["key_id"])
    kms.disable_key(KeyId=keys[1]["key_id"])
    kms.schedule_key_deletion(KeyId=keys[2]["key_id"], PendingWindowInDays=7)
    result = run("--resume")
    codes = {name: (entry["error"] or {}).get("code") for name, entry in result.entries.items()}
    assert (result.code, codes) == (
        4, {"k0": None, "k1": "KeyStateChanged", "k2": "KeyStateNotImportable", "late": None}
    )  # fmt: skip
    assert kms.describe_key(KeyId=keys[0]["key_id"])["KeyMetadata"]["KeyState"] == "Enabled"


def sixty_days_earlier(event: dict[str, Any]) -> None:
    event.update(earlier(event))


def earlier(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: earlier(item) for name, item in value.items()}
    if isinstance(value, list):
        return [earlier(item) for item in value]
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) and value[10:11] == "T" else None
    except ValueError:
        at = None
    return value if at is None else (at - timedelta(days=60)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("found", "and_also"),
    [
        (b'"status":"failed"', b'"status":"imported"'),
        (b'"event":"ended"', b'"event":"lane_ended"'),
        (b'"duration_seconds":', b'"duration_seconds":0,"duration_\\u0073econds":'),
        (b'"seq":', b'"seq":0,"seq":'),
    ],
)
def test_a_journal_that_readers_understand_differently_is_refused(
    sandbox: Sandbox, work: Workplace, run: Run, found: bytes, and_also: bytes
) -> None:
    """Which of two values with one name counts, RFC 8259 does not say. Their checksums are right."""
    first_part(sandbox, work, run)
    edited(work, instead=(found, and_also if found in and_also else b"%b,%b" % (found, and_also)))
    for result in (run("--resume"), work.call("report", "report.journal.jsonl")):
        assert (result.code, "a name occurs twice" in result.stderr) == (3, True), result.stderr


ODD: dict[str, tuple[str, dict[str, Any]]] = {
    "no manifest": ("run_started", {"manifest": None}),
    "a manifest without its digest": ("run_started", {"manifest": {"uri": "m", "targets": 4}}),
    "a digest that is a number": ("run_started", {"manifest": {"uri": "m", "sha256": 5, "targets": 4}}),
    "a run ID that is a path": ("run_started", {"run_id": "../x"}),
    "no settings": ("run_started", {"settings": None}),
    "settings that are a list": ("run_started", {"settings": [1]}),
    "a start without an offset": ("run_started", {"started_at": "2026-03-02T04:30:00"}),
    "a ValidTo without an offset": ("target", {"valid_to": "2027-03-02T04:30:00"}),
    "an end without an offset": ("run_ended", {"at": "2026-03-02T04:30:00"}),
}


@pytest.mark.parametrize("name", ODD)
def test_a_journal_that_no_run_wrote_is_refused(sandbox: Sandbox, work: Workplace, run: Run, name: str) -> None:
    """Its checksums are right, and a value has another shape."""
    first_part(sandbox, work, run, valid_for="30d")
    event_name, change = ODD[name]
    edited(work, lambda event: event.update(change) if event["event"] == event_name else None)
    before = imports(sandbox)
    result = run("--resume")
    assert (result.code, "report.journal.jsonl" in result.stderr) == (3, True), result.stderr
    assert imports(sandbox) == before


@pytest.mark.parametrize("run_id", ["a/b", "../../x", "x" * 300, "", 5, None])
def test_an_older_journal_gets_no_name_from_what_is_no_run_id(
    sandbox: Sandbox, work: Workplace, run: Run, run_id: object
) -> None:
    first_part(sandbox, work, run)
    edited(work, lambda event: event.update(run_id=run_id) if event["event"] == "run_started" else None)
    assert run().code == 0
    assert len(list(work.folder.glob("report.journal.2*Z.jsonl"))) == 1


@pytest.mark.parametrize("spec", [AES, "HMAC_256"])
def test_an_import_of_a_resume_that_is_killed_is_reported(
    sandbox: Sandbox, work: Workplace, run: Run, spec: str
) -> None:
    """The key was as wanted when the run found it first; what counts is how the import found it."""
    material = materials.make(spec)
    key = sandbox.key(key_spec=spec, material={"hex": material.hex()})
    work.key(key["key_id"], material, name="k0")
    work.key("alias/late", materials.make("HMAC_256"), name="late")
    assert run().entries["k0"]["status"] == "unchanged"
    sandbox.client().delete_imported_key_material(KeyId=key["key_id"])
    sandbox.fault("act_then_delay", operation="ImportKeyMaterial", seconds=60)
    process = work.start("--resume")
    wait_until(lambda: sandbox.keys(key_id=key["key_id"])[0]["state"] == "Enabled", process)
    assert work.finish(process, signal.SIGKILL).code == -signal.SIGKILL
    sandbox.post("faults/clear")
    sandbox.key(key_spec="HMAC_256", alias="alias/late")
    result = run("--resume")
    entry = result.entries["k0"]
    assert (result.code, entry["status"], entry["changed"], entry["changes"]) == (0, "imported", True, ["imported"])
    assert (imports(sandbox)[key["arn"]], entry["attempts"]) == (1, 1)


# --- a resume that does not come so far
def test_a_resume_that_is_stopped_before_it_has_read_everything(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """Nothing is green that it has not read; the next resume knows what there was."""
    keys = first_part(sandbox, work, run)
    sandbox.fault("hang", operation="DescribeKey", key=keys[1]["key_id"], seconds=30)
    result = run("--resume", "--deadline", "3", "--grace", "0")
    entry = result.entries["k1"]
    assert (result.code, entry["status"], entry["error"]["code"], entry["changed"]) == (
        7,
        "failed",
        "NotVerified",
        True,
    )
    again = run("--resume")
    assert (again.code, again.entries["k1"]["status"], again.entries["k1"]["attempts"]) == (0, "imported", 1)


def test_a_resume_whose_caller_does_not_work(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    first_part(sandbox, work, run)
    result = run("--resume", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert result.code == 5
    assert {result.entries[name]["error"]["code"] for name in ("k0", "k1", "k2")} == {"NotVerified"}


# --- time
@pytest.mark.parametrize(("days", "refused"), [(29, True), (31, False)])
@pytest.mark.parametrize("renew_before", [None, "30d"])
def test_a_fixed_valid_to_that_is_due_by_now(
    sandbox: Sandbox, work: Workplace, run: Run, *, days: int, refused: bool, renew_before: str | None
) -> None:
    """As if the run had begun weeks ago: the ValidTo that it fixed for its targets is nearer now."""
    fields = {"valid_for": "90d"} | ({"renew_before": renew_before} if renew_before else {})
    first_part(sandbox, work, run, **fields)
    until = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")

    def earlier(event: dict[str, Any]) -> None:
        if event["event"] == "target" and event["valid_to"]:
            event["valid_to"] = until

    edited(work, earlier)
    result = run("--resume")
    assert ("inside renew_before" in result.stderr, result.code == 3) == (refused, refused), result.stderr
    assert not refused or "Start a new run" in result.stderr
