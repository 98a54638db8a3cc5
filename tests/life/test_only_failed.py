"""`--only-failed REPORT`: the next run takes what the last one did not bring to its end."""

from __future__ import annotations

import json

import pytest

from tests.e2e import materials
from tests.e2e.support import REGION, Result, Workplace, quick
from tests.sandbox_client import Sandbox


def three(sandbox: Sandbox, work: Workplace) -> None:
    """One good key; one without material; one that is not attempted once the second has failed."""
    for name in ("good", "bad", "late"):
        work.key(sandbox.key(key_spec="HMAC_256")["key_id"], materials.make("HMAC_256"), name=name)
    (work.folder / "bad.key").rename(work.folder / "kept.key")


def plan(work: Workplace, *options: str) -> Result:
    return work.call("plan", "manifest.json", "--format", "json", *quick(options), *options)


def ids(result: Result) -> list[str]:
    return [target["id"] for target in json.loads(result.stdout)["targets"]]


def test_a_second_run_takes_what_failed(sandbox: Sandbox, work: Workplace) -> None:
    three(sandbox, work)
    first = work.run()
    assert first.code == 4, first.stderr
    left = ["bad"]
    run_id = first.report["run"]["run_id"]
    assert ids(plan(work, "--only-failed", "report.json")) == left
    assert ids(plan(work, "--only-failed", "report.json", "--only-id", "bad", "--only-region", REGION)) == ["bad"]
    validated = work.call("validate", "manifest.json", "--only-failed", "report.json")
    assert "1 of 3 targets selected" in validated.stderr
    stopped = work.run("--max-failures", "1", "--report", "stopped.json")
    document = json.loads((stopped.folder / "stopped.json").read_bytes())
    unfinished = [one["id"] for one in document["results"] if one["status"] in ("failed", "not_attempted")]
    assert {one["status"] for one in document["results"]} >= {"failed", "not_attempted"}
    assert ids(plan(work, "--only-failed", "stopped.json")) == unfinished
    (work.folder / "kept.key").rename(work.folder / "bad.key")
    second = work.run("--only-failed", "report.json")  # the report that it takes the place of
    assert second.code == 0, second.stderr
    assert list(second.entries) == left
    assert second.report["run"]["selection"] == {"accounts": [], "regions": [], "ids": [], "failed_in": [run_id]}
    assert (work.folder / f"report.{run_id}.json").exists()
    none = plan(work, "--only-failed", "report.json")
    assert none.code == 3
    assert "no target of this report failed" in none.stderr
    journal = next(work.folder.glob(f"*{run_id}*journal*"), None)
    if journal is not None:  # a journal serves as well: the run may have been killed before its report
        assert ids(plan(work, "--only-failed", str(journal))) == left


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("another manifest", "report of another manifest"),
        ("another AWS", "this run talked to"),
        ("no report", "does not exist"),
        ("no JSON", "this is not JSON"),
        ("a selection that matches none of them", "no target is selected"),
    ],
)
def test_what_is_refused(sandbox: Sandbox, work: Workplace, what: str, said: str) -> None:
    three(sandbox, work)
    assert work.run().code == 4
    calls = len(sandbox.calls())
    options = ["--only-failed", "report.json"]
    if what == "another manifest":
        work.keys.pop()
        work.write()
    elif what == "another AWS":
        options += ["--endpoint-url", work.url.replace("127.0.0.1", "localhost")]
    elif what == "no report":
        options[1] = "nowhere.json"
    elif what == "no JSON":
        (work.folder / "report.json").write_text("{")
    else:
        options += ["--only-id", "good"]
    result = plan(work, *options)
    assert result.code == 3, result.stderr
    assert said in result.stderr
    assert len(sandbox.calls()) == calls


def test_a_refused_report_leaves_no_older_result(sandbox: Sandbox, work: Workplace) -> None:
    """Nobody may take the older report for that of the run that was refused."""
    three(sandbox, work)
    assert work.run().code == 4
    result = work.call("run", "manifest.json", *quick(()), "--only-failed", "nowhere.json")
    assert result.code == 3
    assert not (work.folder / "report.json").exists()
