"""Every way in which the program could exit 0 although not all is OK, each tried: 0 is the one answer that a
pipeline believes without reading on."""

from __future__ import annotations

import itertools
import subprocess
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulk_import.errors import ExitCode
from bulk_import.model.run import Summary
from bulk_import.report.fold import fold
from bulk_import.report.summary import Ending, exit_code_of, outcome_of
from tests.e2e import materials
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace, quick
from tests.faults.forks import Forks, Kill
from tests.faults.support import add_targets, assert_truthful, imports
from tests.sandbox_client import Sandbox

OTHER = "999988887777"


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, sandbox.url)


def run(
    forks: Forks, work: Workplace, *options: str, broken: tuple[str, str] | None = None, kill: Kill | None = None,
    **environment: str,
) -> Result:  # fmt: skip
    work.write()
    arguments = ["run", "manifest.json", *quick(options), *options]
    return forks.run(work.folder, work.environment(**environment), arguments, broken=broken, kill=kill)


def held(sandbox: Sandbox, work: Workplace, spec: str, *, same: bool = True, **fields: Any) -> dict[str, str]:
    """A key that has material already: the one of the manifest, or another."""
    material = materials.make(spec)
    key = sandbox.key(key_spec=spec, material={"hex": (material if same else materials.make(spec)).hex()})
    work.key(key["key_id"], material, name=f"held{len(work.keys)}", **fields)
    return key


# --- defects of the program itself
DEFECTS = {
    # where → how: what the defect would otherwise hide
    "bulk_import.run.steps:make#": "raises",  # an uncaught exception of a target's task
    "bulk_import.run.steps:make": "nothing",  # a change that was never made
    "bulk_import.run.lane:LaneRunner._inspect": "raises",
    "bulk_import.run.lane:LaneRunner._pull": "raises",  # of the task that starts the others
    "bulk_import.run.lane:LaneRunner.run": "nothing",  # a lane that never started
    "bulk_import.run.lane:LaneRunner._change": "nothing",  # a target lost between two stages
    "bulk_import.run.lane:LaneRunner._start_change": "nothing",
    "bulk_import.run.watch:LaneWatch.run": "raises",
    "bulk_import.run.watch:LaneWatch.add": "nothing",
    "bulk_import.run.watch:LaneWatch._look": "raises",
    "bulk_import.run.verifier:Verifying._conclude": "raises",
    "bulk_import.run.verifier:Verifying._conclude#": "nothing",
    "bulk_import.run.verifier:Reads.observe": "raises",
    "bulk_import.run.target_run:TargetRun._end": "raises",  # inside the boundary that makes failures values
    "bulk_import.run.target_run:TargetRun._end#": "nothing",
    "bulk_import.work:run_lanes": "nothing",
    "bulk_import.work:run_lanes#": "raises",
    "bulk_import.aws.session:AwsSession.connect": "raises",
    "bulk_import.aws.kms:LaneKms.import_key_material": "nothing",  # nothing was ever sent
    "bulk_import.commands.terminal.progress:Progress.ended": "raises",  # a callback
    "bulk_import.commands.terminal.ending:tell": "raises",
    "bulk_import.journal.narrate:end": "nothing",  # the journal's end is never written
    "bulk_import.journal.writer:Journal._to_kernel": "raises",
    "bulk_import.job:_deliver": "raises",
    "bulk_import.report.document:Document.chunks": "raises",
}


@pytest.mark.parametrize("where", DEFECTS)
def test_a_defect_is_never_green(sandbox: Sandbox, work: Workplace, forks: Forks, where: str) -> None:
    add_targets(sandbox, work)
    options = ("--verify-timeout", "1s")
    result = run(forks, work, *options, broken=(where.rstrip("#"), DEFECTS[where]))
    assert result.code in (1, 3, 4, 5), result.stderr
    if (work.folder / "report.json").exists() and "ending:tell" not in where:
        assert result.report["run"]["exit_code"] in (result.code, None)
        assert result.report["run"]["outcome"] != "succeeded"
        told = {entry["key_arn"] for entry in result.report["results"] if entry["changed"] in (True, None)}
        assert set(imports(sandbox)) <= told
    if DEFECTS[where] == "raises":
        assert result.code in (1, 3)


def test_no_defect_at_all_is_green(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """Else the tests here would show nothing."""
    add_targets(sandbox, work)
    result = run(forks, work)
    assert (result.code, result.report["run"]["outcome"]) == (0, "succeeded")
    assert_truthful(sandbox, result)


# --- the sum
def test_zero_is_for_all_well_and_nothing_else() -> None:
    """Every small summary with every ending: 0 exactly where each target is OK and nothing else went wrong."""
    ok, other = ("imported", "reimported", "unchanged", "corrected", "deleted"), ("failed", "not_attempted")
    for numbers in itertools.product(range(2), repeat=len(ok + other)):
        counts = dict(zip(ok + other, numbers, strict=True))
        for extra in (0, 1):  # a target that is in no count: a summary that does not add up
            summary = Summary(total=sum(numbers) + extra, unproved=0, **counts)
            for finished, internal, caller, stop in itertools.product(
                (True, False), (True, False), (True, False), STOPS
            ):
                left = any(counts[name] for name in other)
                ending = Ending(finished, stop, left, internal, caller)
                well = sum(counts[name] for name in ok)
                green = exit_code_of(summary, ending) is ExitCode.OK
                assert green == (finished and well == summary.total > 0 and not internal and not caller)
                assert (outcome_of(summary, ending) == "succeeded") == green


STOPS = ((), ("SIGTERM",), ("deadline",), ("max_failures",))


@pytest.mark.parametrize("lost", ["k0", "k1", "k2"])
def test_an_end_that_is_missing_in_the_journal(sandbox: Sandbox, work: Workplace, forks: Forks, lost: str) -> None:
    """Cut out, it is damage; and with every line numbered and summed again, its target is still not well."""
    add_targets(sandbox, work)
    assert run(forks, work).code == 0
    journal = work.folder / "report.journal.jsonl"
    lines = [line for line in journal.read_bytes().splitlines() if not is_end_of(orjson.loads(line), lost)]
    cut = work.folder / "cut.jsonl"
    cut.write_bytes(b"\n".join(lines) + b"\n")
    refused = work.call("report", "cut.jsonl", "--format", "json")
    assert (refused.code, "cut.jsonl" in refused.stderr) == (3, True)

    cut.write_bytes(b"".join(forged(orjson.loads(line), seq) for seq, line in enumerate(lines, 1)))
    folded = fold(cut)
    entries = [orjson.loads(entry) for entry in folded.entries()]
    assert exit_code_of(folded.summary, folded.ending) == ExitCode.PARTIAL
    assert {entry["id"]: entry["status"] for entry in entries if entry["id"] == lost} == {lost: "failed"}
    assert folded.summary.well == 2


def is_end_of(event: dict[str, Any], target: str) -> bool:
    return event["event"] == "ended" and event["result"]["id"] == target


def forged(event: dict[str, Any], seq: int) -> bytes:
    event.pop("crc")
    body = orjson.dumps(event | {"seq": seq})[:-1]
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


# --- nothing selected
@pytest.mark.parametrize(
    "options", [("--only-id", "nobody"), ("--only-account", OTHER), ("--only-region", "eu-west-3")]
)
def test_an_empty_selection(sandbox: Sandbox, work: Workplace, forks: Forks, options: tuple[str, ...]) -> None:
    add_targets(sandbox, work, 1)
    assert run(forks, work, *options).code == 3


def test_an_empty_manifest(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    assert run(forks, work).code == 3
    (work.folder / "manifest.json").write_text('{"version": 1, "keys": []}')
    assert work.call("run", "manifest.json").code == 3


# --- what KMS holds
def test_unchanged_without_a_comparison_is_counted(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    held(sandbox, work, "SYMMETRIC_DEFAULT")
    result = run(forks, work)
    entry = result.entries["held0"]
    assert (result.code, entry["status"], result.report["summary"]["unproved"]) == (0, "unchanged", 1)
    assert (entry["verification"]["proof"], entry["verification"]["detail"]) == ("none", "material_not_compared")
    assert run(forks, work, "--require-proof").code == 5


@pytest.mark.parametrize("spec", ["HMAC_256", "ECC_NIST_P256"])
def test_other_material_under_a_key_that_looks_as_wanted(
    sandbox: Sandbox, work: Workplace, forks: Forks, spec: str
) -> None:
    held(sandbox, work, spec, same=False)
    result = run(forks, work)
    assert (result.code, result.entries["held0"]["error"]["code"]) == (5, "MaterialMismatch")


def test_other_symmetric_material_under_prove_all(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    held(sandbox, work, "SYMMETRIC_DEFAULT", same=False)
    result = run(forks, work, "--prove", "all")
    assert (result.code, result.entries["held0"]["error"]["code"]) == (5, "IncorrectKeyMaterialException")


def test_a_good_read_that_is_stale(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """The key looks as wanted, and its material was deleted a moment ago."""
    key = held(sandbox, work, "HMAC_256")
    sandbox.client().delete_imported_key_material(KeyId=key["key_id"])
    pattern = ",".join(["stale"] * 50)
    sandbox.post("stale_reads", account=ACCOUNT, region=REGION, key=key["key_id"], pattern=pattern, at_once=True)
    assert run(forks, work).code == 5


@pytest.mark.parametrize("prove", ["auto", "changed", "none"])
def test_other_symmetric_material_than_the_manifest_states(
    sandbox: Sandbox, work: Workplace, forks: Forks, prove: str
) -> None:
    """The ID of the material that KMS holds is compared with every --prove."""
    held(sandbox, work, "SYMMETRIC_DEFAULT", key_material_id="0" * 64)
    result = run(forks, work, "--prove", prove)
    assert (result.code, result.entries["held0"]["error"]["code"]) == (5, "MaterialMismatch")
    assert not imports(sandbox)


@pytest.mark.parametrize("spec", ["HMAC_256", "ECC_NIST_P256"])
def test_an_import_without_the_proof_that_was_required(
    sandbox: Sandbox, work: Workplace, forks: Forks, spec: str
) -> None:
    add_targets(sandbox, work, 1, specs=(spec,))
    for operation in ("GenerateMac", "GetPublicKey"):
        sandbox.fault("deny", operation=operation, times=None)
    result = run(forks, work, "--require-proof")
    entry = result.entries["k0"]
    assert (result.code, entry["status"], entry["changed"]) == (5, "failed", True)
    assert entry["error"]["code"] == "ProofMissing"


def test_a_key_that_decrypts_something_else(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    add_targets(sandbox, work, 1, specs=("SYMMETRIC_DEFAULT",))

    def other(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"Plaintext": "b3RoZXI="} if operation == "Decrypt" else answer

    with Rewriter(sandbox.url, other) as proxy:
        work.url = proxy.url
        result = run(forks, work, "--prove-use")
    assert (result.code, result.entries["k0"]["error"]["code"]) == (5, "RoundTripFailed")


def test_an_expiry_that_comes_too_close_while_the_permit_is_waited_for(
    sandbox: Sandbox, work: Workplace, forks: Forks
) -> None:
    """Far enough ahead when the run looks at it, and not any more when the token has come."""
    soon = datetime.now(UTC) + timedelta(hours=1, seconds=4)
    add_targets(sandbox, work, 1)
    work.keys[0]["valid_to"] = soon.strftime("%Y-%m-%dT%H:%M:%SZ")
    sandbox.fault("delay", operation="GetParametersForImport", seconds=5)
    result = run(forks, work)
    assert (result.code, result.entries["k0"]["error"]["code"]) == (5, "ExpiryTooClose")
    assert not imports(sandbox)


def test_material_that_is_gone_when_it_is_verified(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """Somebody deletes it after the first good read."""
    [key] = add_targets(sandbox, work, 1)
    sandbox.fault("become", operation="DescribeKey", key=key["key_id"], after=2, state="PendingDeletion")
    result = run(forks, work, "--verify-timeout", "1s")
    assert (result.code, result.entries["k0"]["changed"]) == (5, True)


def test_rotations_that_cannot_be_listed(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    held(sandbox, work, "SYMMETRIC_DEFAULT")
    sandbox.fault("deny", operation="ListKeyRotations", times=None)
    result = run(forks, work)
    assert (result.code, result.entries["held0"]["error"]["operation"]) == (5, "ListKeyRotations")


# --- answers that say nothing, or come from elsewhere
@pytest.mark.parametrize(
    "operation", ["DescribeKey", "GetParametersForImport", "ImportKeyMaterial", "GenerateMac", "ListKeyRotations"]
)
def test_a_200_that_says_nothing(sandbox: Sandbox, work: Workplace, forks: Forks, operation: str) -> None:
    """And nothing was done."""
    if operation == "ListKeyRotations":
        held(sandbox, work, "SYMMETRIC_DEFAULT")
    else:
        add_targets(sandbox, work, 1)
    sandbox.fault("error", operation=operation, status=200, code="", times=None)
    result = run(forks, work, "--retry-timeout", "500ms", "--verify-timeout", "1s")
    assert result.code == 5, result.stderr


def test_an_empty_answer_to_describe_key(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    add_targets(sandbox, work, 1)
    with Rewriter(sandbox.url, lambda op, answer: {"KeyMetadata": {}} if op == "DescribeKey" else answer) as proxy:
        work.url = proxy.url
        assert run(forks, work).code == 5


@pytest.mark.parametrize("operation", ["DescribeKey", "GetParametersForImport", "ImportKeyMaterial", "GenerateMac"])
def test_answers_of_another_account(sandbox: Sandbox, work: Workplace, forks: Forks, operation: str) -> None:
    add_targets(sandbox, work, 1)

    def elsewhere(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        if called != operation:
            return answer
        return orjson.loads(orjson.dumps(answer).replace(ACCOUNT.encode(), OTHER.encode()))

    with Rewriter(sandbox.url, elsewhere) as proxy:
        work.url = proxy.url
        result = run(forks, work)
    assert result.code == 5
    assert "WrongAccount" in str(result.entries["k0"]["error"])


def test_a_role_that_leads_into_another_account(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    add_targets(sandbox, work, 1)
    work.accounts[ACCOUNT] = {"role": f"arn:aws:iam::{OTHER}:role/Importer"}
    assert run(forks, work).code in (3, 5)
    assert not imports(sandbox)


# --- two targets on one key
@pytest.mark.parametrize("spec", ["HMAC_256", "SYMMETRIC_DEFAULT"])
def test_two_targets_on_one_key_across_a_resume(sandbox: Sandbox, work: Workplace, forks: Forks, spec: str) -> None:
    """The first was well before the kill. The second must not find its key as wanted, with the first one's material."""
    sandbox.key(key_spec=spec, aliases=["alias/one", "alias/two"])
    work.key("alias/one", materials.make(spec), name="first")
    work.key("alias/two", materials.make(spec), name="second")
    killed = run(forks, work, "--quota", "GetParametersForImport=1", kill=Kill(12, "after"))
    assert killed.code == -9, killed.stderr
    result = run(forks, work, "--resume", "--quota", "GetParametersForImport=1")
    assert {name: (e["status"], e["error"] and e["error"]["code"]) for name, e in result.entries.items()} == {
        "first": ("imported", None), "second": ("failed", "DuplicateKey"),
    }  # fmt: skip
    assert result.code == 4


# --- time
def test_material_that_has_expired_since_is_not_well_by_a_resume(
    sandbox: Sandbox, work: Workplace, forks: Forks
) -> None:
    """The journal says that it was well. By now KMS has deleted it, and a resume would not look."""
    add_targets(sandbox, work, 2)
    work.key("alias/late", materials.make("HMAC_256"), name="late")
    assert run(forks, work).code == 4
    sandbox.key(key_spec="HMAC_256", alias="alias/late")
    journal = work.folder / "report.journal.jsonl"
    lines = [orjson.loads(line) for line in journal.read_bytes().splitlines()]
    [end] = [event for event in lines if is_end_of(event, "k1")]

    end["result"]["valid_to"] = "2020-01-01T00:00:00Z"
    journal.write_bytes(b"".join(forged(dict(event), event["seq"]) for event in lines))
    refused = run(forks, work, "--resume")
    assert (refused.code, "has expired" in refused.stderr) == (3, True), refused.stderr

    end["result"]["valid_to"] = "2999-01-01T00:00:00Z"
    journal.write_bytes(b"".join(forged(dict(event), event["seq"]) for event in lines))
    assert run(forks, work, "--resume").code == 0


def test_a_run_that_ended_well_is_not_resumed_for_ever(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """Its report was carried away, as pipelines do. Soon after its end that may be a kill before the report."""
    add_targets(sandbox, work, 1)
    assert run(forks, work).code == 0
    (work.folder / "report.json").unlink()
    journal = work.folder / "report.journal.jsonl"
    lines = [orjson.loads(line) for line in journal.read_bytes().splitlines()]
    lines[-1]["at"] = "2026-01-01T00:00:00.000000Z"
    journal.write_bytes(b"".join(forged(event, event["seq"]) for event in lines))
    refused = run(forks, work, "--resume")
    assert (refused.code, "nothing to resume" in refused.stderr) == (3, True), refused.stderr


# --- not AWS
def test_a_sandbox_left_in_the_environment(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """It is reported first and last, and is in the report."""
    add_targets(sandbox, work, 1)
    left = {"AWS_ENDPOINT_URL_KMS": sandbox.url, "AWS_ENDPOINT_URL_STS": sandbox.url, "BULK_IMPORT_ENDPOINT_URL": ""}
    result = run(forks, work, **left)
    said = [line for line in result.stderr.splitlines() if line.strip()]
    assert "Not AWS" in said[0]
    assert "not to AWS" in said[-1]
    assert result.report["run"]["environment"] == "sandbox"
    assert result.report["run"]["endpoints"]["kms"] == sandbox.url


# --- the report
def test_a_report_on_a_full_device(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    add_targets(sandbox, work, 1)
    result = run(forks, work, "--report", "/dev/full", "--journal", "j.jsonl")
    assert (result.code, result.report if (work.folder / "report.json").exists() else None) == (6, None)


def test_a_report_on_a_stdout_that_takes_nothing(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 1)
    work.write()
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            work.command("run", "manifest.json", *quick(()), "--report", "-"), cwd=work.folder, stdout=full,
            env=work.environment(), stderr=subprocess.PIPE, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 6, done.stderr
