"""A killed run is resumed: nothing is lost, nothing is done twice, and the journal decides what is left."""

from __future__ import annotations

import json

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Workplace, quick
from tests.e2e.test_job import add_keys, wait_for
from tests.sandbox_client import Sandbox


def test_a_killed_run_is_finished_by_a_resume(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 5)
    sandbox.fault("hang", operation="GetParametersForImport", after=3, times=None)  # it does not end before the kill
    process = work.start("--quota", "GetParametersForImport=2", "--read-interval", "100ms")
    wait_for(sandbox, "ImportKeyMaterial", process, times=3)
    process.kill()
    process.communicate()
    sandbox.release()
    run_id = json.loads((work.folder / "report.journal.jsonl").read_bytes().splitlines()[0])["run_id"]

    result = work.run("--resume", "--quota", "GetParametersForImport=2", "--read-interval", "100ms")

    assert result.code == 0, result.stderr
    report = result.report
    assert report["run"]["run_id"] == run_id
    assert len(report["run"]["resumes"]) == 1
    assert report["summary"]["imported"] == 5
    assert {entry["changed"] for entry in report["results"]} == {True}
    accepted = [call["key"] for call in sandbox.calls(operation="ImportKeyMaterial") if call["status"] == 200]
    assert sorted(accepted) == sorted(set(accepted))


def test_an_import_whose_answer_was_never_written_down(sandbox: Sandbox, work: Workplace) -> None:
    """Killed between the import and its answer: the resume looks, sees the effect, and does not import again."""
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="mac")
    sandbox.fault("act_then_delay", operation="ImportKeyMaterial", seconds=60)
    process = work.start()
    while sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"] != "Enabled":
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()

    rebuilt = work.run("--resume")

    entry = rebuilt.entries["mac"]
    assert (rebuilt.code, entry["status"], entry["changed"], entry["attempts"]) == (0, "imported", True, 1)
    assert entry["verification"]["proof"] == "hmac"
    # The first request is still being held back; the resume sent none.
    assert not [call for call in sandbox.calls(operation="ImportKeyMaterial") if call["status"] == 200]


def test_a_run_that_ended_well_is_not_resumed(sandbox: Sandbox, work: Workplace) -> None:
    """Else a pipeline that always says --resume would stay green forever, past expiry and deletion."""
    add_keys(sandbox, work, 2)
    assert work.run().code == 0
    again = work.run("--resume")
    assert (again.code, "nothing to resume" in again.stderr) == (3, True)


def test_a_resume_reads_what_is_done_again_and_imports_it_not(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 2)
    work.key("alias/nobody", materials.make("HMAC_256"), name="missing")
    assert work.run().code == 4
    before = len(sandbox.calls())
    result = work.run("--resume")
    assert (result.code, result.report["summary"]["imported"]) == (4, 2)
    again = [call["operation"] for call in sandbox.calls(service="kms")[before:] if call["status"] == 200]
    assert "ImportKeyMaterial" not in again
    assert "GetParametersForImport" not in again


def test_the_manifest_may_be_called_by_another_path(sandbox: Sandbox, work: Workplace) -> None:
    """A build's folder has another name each time. What binds is the manifest's bytes."""
    add_keys(sandbox, work, 1)
    work.key("alias/late", materials.make("HMAC_256"), name="late")
    assert work.run().code == 4
    sandbox.key(key_spec="HMAC_256", alias="alias/late")
    result = work.call("run", str(work.folder / "manifest.json"), "--resume", *quick(()))
    assert (result.code, result.report["summary"]["imported"]) == (0, 2), result.stderr


def test_a_resume_against_another_aws_is_refused(sandbox: Sandbox, work: Workplace) -> None:
    """What a sandbox was found to hold says nothing of AWS."""
    add_keys(sandbox, work, 1)
    work.key("alias/nobody", materials.make("HMAC_256"), name="missing")
    assert work.run().code == 4
    with Sandbox() as other:
        work.url = other.url
        result = work.run("--resume")
    assert (result.code, "ResumedElsewhere" in result.stderr) == (5, True)
    assert result.entries["missing"]["status"] != "imported"


def test_a_material_id_that_was_contradicted_stays_contradicted(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key()
    work.key(key["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes", key_material_id="0" * 64)
    for options in ((), ("--resume",), ()):
        result = work.run(*options)
        assert (result.code, result.entries["aes"]["error"]["code"]) == (5, "MaterialMismatch"), options


def test_a_resume_tries_failed_targets_again(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    work.key("alias/late", materials.make("HMAC_256"), name="late")
    assert work.run().code == 4
    sandbox.key(key_spec="HMAC_256", alias="alias/late")
    result = work.run("--resume")
    assert (result.code, result.report["summary"]["imported"]) == (0, 2)


def test_an_accepted_import_that_never_showed_is_made_again(sandbox: Sandbox, work: Workplace) -> None:
    """Else every resume would wait for it to the end of the verification, forever."""
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="mac")
    reads = {"account": ACCOUNT, "region": REGION, "key": key["key_id"]}
    sandbox.post("stale_reads", **reads, pattern=",".join(["stale"] * 500))
    first = work.run("--verify-timeout", "4s")
    assert first.entries["mac"]["error"]["code"] == "VerificationTimeout"
    sandbox.client().delete_imported_key_material(KeyId=key["key_id"])
    sandbox.post("stale_reads", **reads, pattern="good")

    result = work.run("--resume", "--verify-timeout", "4s")

    assert result.code == 0, result.stderr
    assert (result.entries["mac"]["status"], result.entries["mac"]["attempts"]) == ("imported", 2)


def test_what_a_resume_refuses(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    missing = work.run("--resume")
    assert (missing.code, "no journal to resume" in missing.stderr) == (3, True)
    assert work.run().code == 0

    setting = work.run("--resume", "--reads", "5")
    assert (setting.code, "--reads" in setting.stderr) == (3, True)
    add_keys(sandbox, work, 1)
    manifest = work.run("--resume")
    assert (manifest.code, "another manifest" in manifest.stderr) == (3, True)

    work.keys.pop()
    journal = work.folder / "report.journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"event":"', b'"event":"x', 1)
    journal.write_bytes(b"".join(lines))
    damaged = work.run("--resume")
    assert (damaged.code, "report.journal.jsonl:3" in damaged.stderr) == (3, True)
    assert len(sandbox.calls(operation="ImportKeyMaterial")) == 1


def test_an_alias_that_moved_meanwhile(sandbox: Sandbox, work: Workplace) -> None:
    sandbox.key(key_spec="HMAC_256", alias="alias/moving")
    other = sandbox.key(key_spec="HMAC_256")
    work.key("alias/moving", materials.make("HMAC_256"), name="moving")
    process = work.start("--quota", "GetParametersForImport=0.1", "--quota", "ImportKeyMaterial=0.01")
    wait_for(sandbox, "GetParametersForImport", process)
    while b'"event":"pinned"' not in (work.folder / "report.journal.jsonl").read_bytes():
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    sandbox.client().update_alias(AliasName="alias/moving", TargetKeyId=other["key_id"])

    result = work.run("--resume", "--quota", "GetParametersForImport=0.1", "--quota", "ImportKeyMaterial=0.01")

    assert result.code == 5
    entry = result.entries["moving"]
    assert "AliasMoved" in (entry["error"]["code"], entry["error"]["message"].split("(")[-1].split(":")[0])


def test_an_unfinished_journal_is_set_aside_without_resume(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 3)
    sandbox.fault("hang", operation="GetParametersForImport", after=1, times=None)  # it does not end before the kill
    process = work.start("--quota", "GetParametersForImport=2")
    wait_for(sandbox, "ImportKeyMaterial", process)
    process.kill()
    process.communicate()
    sandbox.release()
    run_id = json.loads((work.folder / "report.journal.jsonl").read_bytes().splitlines()[0])["run_id"]

    result = work.run()

    assert result.code == 0, result.stderr
    assert (work.folder / f"report.journal.{run_id}.jsonl").exists()
    assert "set aside" in result.stderr
    assert result.report["summary"]["unchanged"] >= 1
