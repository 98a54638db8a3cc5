"""The job as a pipeline sees it: calls on the wire, report, journal, exit codes, signals, plan."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import subprocess

import jsonschema
import orjson
import pytest

from bulk_import import api
from bulk_import.report.schema import plan_schema, report_schema
from tests.e2e import materials
from tests.e2e.support import ACCOUNT, QUICK, REGION, Workplace
from tests.faults.support import wait_until
from tests.sandbox_client import Sandbox

AES = "SYMMETRIC_DEFAULT"


def add_keys(sandbox: Sandbox, work: Workplace, count: int, *, account: str = ACCOUNT, region: str = REGION) -> None:
    for number in range(count):
        key = sandbox.key(account, region, key_spec="HMAC_256")
        material = materials.make("HMAC_256")
        work.key(key["key_id"], material, name=f"k{len(work.keys)}-{number}", account=account, region=region)


def test_one_assume_role_per_account_and_the_run_id_everywhere(sandbox: Sandbox, work: Workplace) -> None:
    for account in (ACCOUNT, "444455556666"):
        for region in (REGION, "eu-west-1"):
            add_keys(sandbox, work, 2, account=account, region=region)
    result = work.run()
    assert result.code == 0, result.stderr
    assert len(sandbox.calls(operation="AssumeRole")) == 2
    run_id = result.report["run"]["run_id"]
    assert all(f"run/{run_id}" in call["user_agent"] for call in sandbox.calls() if call["operation"] != "CreateKey")
    sessions = {session["arn"].rsplit("/", 1)[1] for session in sandbox.get("sessions")}
    assert sessions == {f"bulk-import-{run_id}"}


def test_the_request_ids_are_those_of_aws(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    entry = next(iter(work.run().entries.values()))
    noted = [(request["operation"], request["request_id"]) for request in entry["request_ids"]]
    assert noted == [
        (call["operation"], call["request_id"])
        for call in sandbox.calls()
        if call["operation"] not in ("AssumeRole", "GetCallerIdentity")
    ]
    assert [operation for operation, _ in noted] == [
        "DescribeKey", "GetParametersForImport", "ImportKeyMaterial", *["DescribeKey"] * 3, "GenerateMac",
    ]  # fmt: skip


def test_reads_never_go_over_the_connection_of_the_import(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 3)
    work.run()
    calls = sandbox.calls()
    imports = {call["connection"] for call in calls if call["operation"] == "ImportKeyMaterial"}
    reads = {call["connection"] for call in calls if call["operation"] == "DescribeKey"}
    assert imports
    assert reads
    assert not imports & reads


def test_stale_reads_restart_the_count(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="lagging")
    pattern = "good,stale,good,good,stale,good,good,good"
    sandbox.post("stale_reads", account=ACCOUNT, region=REGION, key=key["key_id"], pattern=pattern)
    result = work.run()
    verification = result.entries["lagging"]["verification"]
    assert (result.code, verification["consecutive"], verification["reads"]) == (0, 3, 8)


def test_verification_that_never_ends_is_no_success(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="stale")
    pattern = ",".join(["good", "stale"] * 500)
    sandbox.post("stale_reads", account=ACCOUNT, region=REGION, key=key["key_id"], pattern=pattern)
    result = work.run("--verify-timeout", "1s")
    entry = result.entries["stale"]
    assert (result.code, entry["status"], entry["changed"]) == (5, "failed", True)
    assert entry["error"]["code"] == "VerificationTimeout"
    assert entry["verification"]["verified"] is False


def test_throttling_is_counted_and_survived(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 4)
    sandbox.quotas(GetParametersForImport=4)
    result = work.run()
    assert result.code == 0, result.stderr
    [lane] = result.report["lanes"]
    served = len([call for call in sandbox.calls(operation="GetParametersForImport") if call["status"] == 200])
    assert served == 4
    assert lane["calls"]["GetParametersForImport"] == served + lane["throttled"].get("GetParametersForImport", 0)


def test_exit_code_six_and_where_the_report_is(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    (work.folder / "no-folder").write_text("a file")
    result = work.run("--report", "no-folder/report.json", "--journal", "journal.jsonl")
    assert result.code == 6
    [report] = work.folder.glob("report.*.json")
    assert str(report) in result.stderr
    assert json.loads(report.read_bytes())["run"]["exit_code"] == 6


def test_the_report_on_stdout_is_all_of_stdout(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    result = work.run("--report", "-")
    assert json.loads(result.stdout)["summary"]["imported"] == 1


def test_an_older_report_is_kept(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    first = work.run().report["run"]["run_id"]
    work.run()
    kept = json.loads((work.folder / f"report.{first}.json").read_bytes())
    assert kept["run"]["run_id"] == first


def test_the_report_fits_its_schema_and_the_journal_is_private(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    work.key("alias/nobody", materials.make(AES), name="missing")
    result = work.run("--label", "change=CHG-1", GITHUB_SHA="abc123", GITHUB_ACTOR="mona")
    jsonschema.validate(result.report, report_schema())
    labels = result.report["run"]["labels"]
    assert (labels["change"], labels["commit"], labels["actor"]) == ("CHG-1", "abc123", "mona")
    journal = work.folder / "report.journal.jsonl"
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600


def test_plan_and_dry_run_change_nothing_and_say_what_a_run_would_do(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 3)
    held = materials.make("HMAC_256")
    work.key(sandbox.key(key_spec="HMAC_256", material={"hex": held.hex()})["key_id"], held, name="held")
    work.key(
        sandbox.key(key_spec="HMAC_256", material={"hex": held.hex()})["key_id"], held, name="expiring", valid_for="30d"
    )
    work.write()
    pending = work.call("plan", "manifest.json", "--format", "json", "--detailed-exitcode")
    assert pending.code == 10, pending.stderr
    plan = json.loads(pending.stdout)
    jsonschema.validate(plan, plan_schema())
    assert [target["action"] for target in plan["targets"]] == ["import"] * 3 + ["unchanged", "reimport"]
    assert plan["lanes"][0]["floor_seconds"] == 3 + 4  # (4 imports - 1) / 1 a second + (3 reads - 1) * 2 s

    work.key("alias/nobody", held, name="missing")
    blocked = work.run("--dry-run")
    assert blocked.code == 4
    assert b"blocked" in blocked.stdout
    assert not (work.folder / "report.json").exists()
    forbidden = {"GetParametersForImport", "ImportKeyMaterial"}
    assert not [call for call in sandbox.calls() if call["operation"] in forbidden]


def test_the_first_signal_drains(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 6)
    process = work.start("--quota", "GetParametersForImport=0.5", "--read-interval", "1s")
    wait_for(sandbox, "ImportKeyMaterial", process)
    result = work.finish(process, signal.SIGTERM)
    assert result.code == 143
    summary = result.report["summary"]
    assert summary["total"] == 6
    assert summary["imported"] >= 1  # what was under way ended
    assert summary["not_attempted"] >= 3
    assert summary["failed"] == 0
    assert result.report["run"]["outcome"] == "interrupted"
    assert {entry["error"]["code"] for entry in result.report["results"] if entry["error"]} == {"Stopped"}


def test_deadline_and_max_failures(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 4)
    late = work.run("--deadline", "1s", "--quota", "GetParametersForImport=0.5", "--grace", "0")
    assert (late.code, late.report["run"]["outcome"]) == (7, "interrupted")

    work.keys.clear()
    for number in range(20):
        work.key(f"alias/nobody-{number}", materials.make(AES), name=f"missing-{number}")
    stopped = work.run("--max-failures", "2")
    summary = stopped.report["summary"]
    assert stopped.code == 5
    assert summary["not_attempted"] >= 15
    assert "MaxFailures" in {entry["error"]["code"] for entry in stopped.report["results"]}


def test_selection_guards_and_shards(sandbox: Sandbox, work: Workplace) -> None:
    for region in (REGION, "eu-west-1", "eu-west-3"):
        add_keys(sandbox, work, 2, region=region)
    only = work.run("--only-region", "eu-west-1")
    assert {entry["region"] for entry in only.report["results"]} == {"eu-west-1"}
    assert only.report["run"]["selection"]["regions"] == ["eu-west-1"]
    assert work.run("--allow-account", "999999999999").code == 3
    shards = [{entry["id"] for entry in work.run("--shard", f"{n}/2").report["results"]} for n in (1, 2)]
    assert not shards[0] & shards[1]
    assert len(shards[0] | shards[1]) == 6


def test_the_library_does_what_the_command_does(
    sandbox: Sandbox, work: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_keys(sandbox, work, 2)
    manifest_path = work.write()
    monkeypatch.chdir(work.folder)
    settings = api.load_settings(
        {"endpoint_url": sandbox.url, "quota": ["GetParametersForImport=50"], "read_interval": "20ms"}
    )
    manifest = api.load_manifest(str(manifest_path), settings)
    ended: list[str] = []

    plan = asyncio.run(api.plan(manifest, settings))
    result = asyncio.run(api.run(manifest, settings, on_end=lambda outcome: ended.append(outcome.id)))

    assert plan.counts()["import"] == 2
    assert (result.exit_code, result.summary.imported) == (0, 2)
    assert result.report is not None
    assert sorted(ended) == sorted(entry["id"] for entry in orjson.loads(result.report.read_bytes())["results"])


def test_material_from_the_environment_and_a_manifest_from_stdin(sandbox: Sandbox, work: Workplace) -> None:
    material = materials.make("HMAC_256")
    key = sandbox.key(key_spec="HMAC_256")
    line = {
        "id": "mac", "account": ACCOUNT, "region": REGION, "role": "Importer", "key_id": key["key_id"],
        "material": "env:MAC_KEY", "encoding": "hex",
    }  # fmt: skip
    result = work.call(
        "run", "-", "--manifest-format", "jsonl", *QUICK, stdin=orjson.dumps(line), MAC_KEY=material.hex()
    )
    assert result.code == 0, result.stderr
    assert materials.held_by(sandbox.client(), key["key_id"], "HMAC_256", material)


def test_http_off_loopback_is_refused_before_any_call(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    work.url = "http://kms.example.com"
    result = work.run()
    assert result.code == 3
    assert "https://" in result.stderr
    assert not (work.folder / "report.json").exists()


def wait_for(sandbox: Sandbox, operation: str, process: subprocess.Popen[bytes], *, times: int = 1) -> None:
    """Until the server has answered the operation that often; fails where the process ends before."""
    wait_until(
        lambda: len([call for call in sandbox.calls(operation=operation) if call["status"] == 200]) >= times, process
    )


def test_no_trace_of_the_folder_is_left_behind(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    before = set(work.folder.iterdir())
    work.run()
    made = {path.name for path in set(work.folder.iterdir()) - before}
    assert made == {"manifest.json", "report.json", "report.json.sha256", "report.journal.jsonl"}
