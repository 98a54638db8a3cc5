"""Killed at every event of its journal, and resumed: as if it had never been killed.

Compared with an undisturbed run: KMS's final state, the report, and the imports that KMS carried out. The only
differences allowed: a repeated GetParametersForImport for a target that was in flight, and a repeated import, of the
same material, where stale reads hid the first one.
"""

from __future__ import annotations

import signal
from collections import Counter
from typing import Any

import pytest

from tests.e2e.support import Result, Workplace, quick
from tests.faults.forks import Forks, Kill
from tests.faults.support import add_targets, assert_holds, assert_truthful, events, imports
from tests.sandbox_client import Sandbox

# run_started, 3 targets, caller; for each target pinned, intent, answered, ended; lane_ended, run_ended.
EVENTS = 1 + 3 + 1 + 3 * 4 + 2
NO_ANSWER = "import_answer_lost"


def run(forks: Forks, work: Workplace, *options: str, kill: Kill | None = None) -> Result:
    work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly
    work.write()
    result = forks.run(work.folder, work.environment(), ["run", "manifest.json", *quick(options), *options], kill=kill)
    if kill is not None:
        assert result.code == -signal.SIGKILL, result.stderr
    return result


def what_counts(result: Result) -> dict[str, Any]:
    """The report without what differs from run to run: instants, IDs, how often was read and asked."""
    kept = (
        "id", "status", "changed", "key_spec", "key_state", "expiration_model", "valid_to", "wrapping_algorithm",
        "wrapping_key_spec", "error",
    )  # fmt: skip
    entries = [
        {name: entry[name] for name in kept}
        | {name: entry["verification"][name] for name in ("verified", "consecutive", "proof", "round_trip", "detail")}
        for entry in result.report["results"]
    ]
    run = result.report["run"]
    return {
        "results": entries,
        "summary": result.report["summary"],
        "outcome": run["outcome"],
        "exit_code": run["exit_code"],
        "error": run["error"],
        "targets": [lane["targets"] for lane in result.report["lanes"]],
        "code": result.code,
    }


UNDISTURBED = {
    "results": [
        {
            "id": name, "status": "imported", "changed": True, "key_spec": spec, "key_state": "Enabled",
            "expiration_model": "KEY_MATERIAL_DOES_NOT_EXPIRE", "valid_to": None,
            "wrapping_algorithm": algorithm, "wrapping_key_spec": "RSA_2048", "error": None, "verified": True,
            "consecutive": 3, "proof": proof, "round_trip": None, "detail": "",
        }
        for name, spec, algorithm, proof in (
            ("k0", "HMAC_256", "RSAES_OAEP_SHA_256", "hmac"),
            ("k1", "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256", "material_id"),
            ("k2", "ECC_NIST_P256", "RSA_AES_KEY_WRAP_SHA_256", "public_key"),
        )
    ],
    "summary": {
        "total": 3, "imported": 3, "reimported": 0, "unchanged": 0, "corrected": 0, "deleted": 0, "failed": 0,
        "not_attempted": 0, "unproved": 0,
    },
    "outcome": "succeeded", "exit_code": 0, "error": None, "targets": [3], "code": 0,
}  # fmt: skip


def assert_undisturbed(sandbox: Sandbox, work: Workplace, result: Result, *, kills: int, repeats: int = 0) -> None:
    assert result.code == 0, result.stderr
    found = what_counts(result)
    symmetric = found["results"][1]
    if kills and symmetric["proof"] == "none":
        # The kill took the answer, and with it the KeyMaterialId that would have proved it: the report says so.
        assert symmetric["detail"] == NO_ANSWER
        assert found["summary"]["unproved"] == 1
        symmetric |= {"proof": "material_id", "detail": ""}
        found["summary"]["unproved"] = 0
    assert found == UNDISTURBED
    assert_truthful(sandbox, result)
    assert_holds(sandbox, work)
    done = imports(sandbox)
    assert len(done) == 3
    assert max(done.values()) <= 1 + repeats
    tokens = Counter(call["key"] for call in sandbox.calls(operation="GetParametersForImport"))
    assert max(tokens.values()) <= 1 + kills + repeats


def test_an_undisturbed_run(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    add_targets(sandbox, work)
    result = run(forks, work)
    assert_undisturbed(sandbox, work, result, kills=0)
    assert len(events(work)) == EVENTS


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("seq", range(1, EVENTS + 1))
def test_one_kill(sandbox: Sandbox, work: Workplace, forks: Forks, seq: int, how: str) -> None:
    add_targets(sandbox, work)
    run(forks, work, kill=Kill(seq, how))
    result = run(forks, work, "--resume")
    if (seq, how) == (1, "before"):
        assert (result.code, "holds no run" in result.stderr) == (3, True), result.stderr
        result = run(forks, work)
    assert_undisturbed(sandbox, work, result, kills=1)


@pytest.mark.parametrize("seq", [1, 3, 8, 12, EVENTS])
def test_a_torn_line(sandbox: Sandbox, work: Workplace, forks: Forks, seq: int) -> None:
    add_targets(sandbox, work)
    run(forks, work, kill=Kill(seq, "torn"))
    result = run(forks, work, "--resume")
    if seq == 1:
        assert (result.code, "holds no run" in result.stderr) == (3, True), result.stderr
        result = run(forks, work)
    assert_undisturbed(sandbox, work, result, kills=1)


@pytest.mark.parametrize(("first", "second"), [(3, 6), (6, 9), (7, 12), (9, 13), (12, 15), (15, 20), (19, 20)])
def test_two_kills(sandbox: Sandbox, work: Workplace, forks: Forks, first: int, second: int) -> None:
    add_targets(sandbox, work)
    run(forks, work, kill=Kill(first, "before"))
    run(forks, work, "--resume", kill=Kill(second, "before"))
    assert_undisturbed(sandbox, work, run(forks, work, "--resume"), kills=2)


@pytest.mark.parametrize("seq", [9, 11, 13])
def test_a_kill_whose_import_no_read_shows_yet(sandbox: Sandbox, work: Workplace, forks: Forks, seq: int) -> None:
    """Then, and only then, the same material may be imported once more."""
    for key in add_targets(sandbox, work):
        where = {"account": key["account"], "region": key["region"], "key": key["key_id"]}
        sandbox.post("stale_reads", **where, pattern=",".join(["stale"] * 6 + ["good"]))
    run(forks, work, kill=Kill(seq, "before"))
    assert_undisturbed(sandbox, work, run(forks, work, "--resume"), kills=1, repeats=1)


@pytest.mark.parametrize("seq", [8, 12, 16])
def test_a_kill_and_a_run_without_resume(sandbox: Sandbox, work: Workplace, forks: Forks, seq: int) -> None:
    """KMS's own state is what it goes by: what was imported is as wanted, and proved where that is possible."""
    add_targets(sandbox, work)
    run(forks, work, kill=Kill(seq, "before"))
    result = run(forks, work)
    assert result.code == 0, result.stderr
    assert {entry["status"] for entry in result.report["results"]} <= {"imported", "unchanged"}
    assert_holds(sandbox, work)
    assert max(imports(sandbox).values()) == 1


def test_a_report_of_what_a_killed_run_left(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """Made from the journal alone: nothing is OK without its end, and what was sent is reported."""
    add_targets(sandbox, work)
    run(forks, work, kill=Kill(12, "before"))
    result = work.call("report", "report.journal.jsonl", "--format", "json")
    assert b'"succeeded"' not in result.stdout, result.stderr
    ended = [event["result"]["id"] for event in events(work) if event["event"] == "ended"]
    intents = [event["index"] for event in events(work) if event["event"] == "intent"]
    assert intents
    assert b"NotVerified" in result.stdout or b"OutcomeUnknown" in result.stdout or len(ended) == 3
