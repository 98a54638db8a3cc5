"""No report, merge, rendering or older file looks better than the run: through the real command line."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree

from tests.e2e.support import ACCOUNT, Workplace
from tests.faults.support import add_targets
from tests.journal import journals
from tests.no_wrong_green.conftest import Run
from tests.no_wrong_green.made_reports import Document, good, offline, report, shards, work
from tests.sandbox_client import Sandbox

__all__ = ["offline", "work"]  # fixtures


def killed(document: Document) -> None:
    document["run"] |= {"finished_at": None, "exit_code": None, "outcome": "interrupted"}
    document["results"][0] |= {"status": "not_attempted", "changed": False, "verification": None,
                               "error": {"code": "Stopped", "operation": None, "message": "m", "retryable": True,
                                         "advice": "a"}}  # fmt: skip


def nothing_well(document: Document) -> None:
    killed(document)
    for result in document["results"]:
        own = {name: result[name] for name in ("index", "id", "account", "region")}
        result.update(copy.deepcopy(document["results"][0]) | own)


CODES: dict[str, tuple[Callable[[list[Document]], Any], int]] = {
    "all well": (lambda made: None, 0),
    "a shard missing": (lambda made: made.pop(1), 4),
    "one killed": (lambda made: killed(made[1]), 4),
    "all killed, none well": (lambda made: [nothing_well(one) for one in made], 5),
    "one stopped by a signal": (lambda made: (killed(made[1]), made[1]["run"].update(exit_code=143)), 143),
    "a report elsewhere": (lambda made: made[2]["run"].update(exit_code=6), 6),
    "an internal error beside a deadline": (
        lambda made: (made[0]["run"].update(exit_code=7), made[1]["run"].update(exit_code=1)),
        1,
    ),
    "a summary that claims success": (lambda made: killed(made[0]) or made[0]["run"].update(
        finished_at="2026-03-02T04:31:00Z", exit_code=0, outcome="succeeded"), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CODES)
def test_report_ends_with_the_code_of_what_it_shows(name: str, offline: Workplace) -> None:
    change, expected = CODES[name]
    made = shards()
    change(made)
    assert report(offline, made, "--format", "junit").code == expected


def test_one_report_ends_with_its_own_code(offline: Workplace) -> None:
    one = good()
    assert report(offline, [one]).code == 0
    one["run"]["exit_code"] = 7
    assert report(offline, [one]).code == 7
    killed(one)
    assert report(offline, [one]).code == 4
    nothing_well(one)
    assert report(offline, [one]).code == 5


def failed_in_place(document: Document) -> None:
    """Its status alone says that it is OK."""
    document["results"][0]["error"] = {"code": "X", "operation": None, "message": "m", "retryable": False,
                                       "advice": "a"}  # fmt: skip


def test_a_run_that_has_no_end_or_ended_by_an_error_is_no_success(offline: Workplace) -> None:
    """Its exit code does not count."""
    error = {"code": "X", "message": "m", "advice": "a"}
    for change in ({"finished_at": None}, {"error": error}, {"outcome": "interrupted"}, {"outcome": "failed"}):
        one = good()
        one["run"] |= change
        assert report(offline, [one]).code == 4, change
        made = shards()
        made[1]["run"] |= change
        assert report(offline, made).code == 4, change


REFUSED: dict[str, tuple[Callable[[list[Document]], Any], str]] = {
    "last month's shard": (lambda made: made[1]["run"].update(started_at="2026-02-02T04:30:00Z"), "--allow-stale"),
    "a day and a minute": (lambda made: made[2]["run"].update(started_at="2026-03-03T04:31:00Z"), "--allow-stale"),
    "another selection": (
        lambda made: made[1]["run"]["selection"].update(ids=["payments-00001"]), "has another selection"),
    "another manifest": (lambda made: made[2]["run"]["manifest"].update(sha256="0" * 64), "has another manifest"),
    "another environment": (lambda made: made[1]["run"].update(environment="sandbox"), "has another environment"),
    "another sandbox": (
        lambda made: [one["run"].update(environment="sandbox", endpoints={"kms": f"http://127.0.0.1:{at}"})
                      for at, one in enumerate(made)], "has another environment"),
    "another division": (lambda made: made[1]["run"].update(shard="2/4"), "has another number of shards"),
    "a result that was removed": (lambda made: made[0]["results"].pop(), "some are missing"),
    "a result of another run": (lambda made: made[0]["results"].append(made[1]["results"][-1]), "part-0.json too"),
    "an index twice": (lambda made: made[1]["results"][0].update(index=0), "has index 0 too"),
    "an index beyond the selection": (lambda made: made[2]["results"][-1].update(index=10**9), "only 12 were selected"),
    "shard 1/999999999": (lambda made: made[0]["run"].update(shard="1/999999999"), "run.shard"),
    "shard 9/3": (lambda made: made[0]["run"].update(shard="9/3"), "run.shard"),
    "lanes of text": (lambda made: made[0].update(lanes=["x"]), "lanes.0"),
    "runs in runs": (lambda made: made[1]["run"].update(runs=[{"runs": []}]), "run.runs.0"),
    "a verification that is a list": (lambda made: made[1]["results"][0].update(verification=[1]), "verification"),
    "an instant that is none": (lambda made: made[1]["run"].update(started_at="2026-99-01T00:00:00Z"), "started_at"),
    "an instant without an offset": (
        lambda made: made[1]["results"][0].update(started_at="2026-03-02T04:30:00"), "started_at"),
    "a huge number": (lambda made: made[1]["run"].update(duration_seconds=1e300), "duration_seconds"),
    "a huge count": (lambda made: made[1]["results"][0].update(attempts=2**60), "attempts"),
    "an error of a target that is OK": (lambda made: failed_in_place(made[1]), "it has an error"),
    "a target that is OK but not verified": (
        lambda made: made[2]["results"][0]["verification"].update(verified=False), "it was not verified"),
    "a target that is OK without a verification": (
        lambda made: made[1]["results"][0].update(verification=None), "it was not verified"),
    "a target that is OK after no read": (
        lambda made: made[1]["results"][0]["verification"].update(reads=0, consecutive=0), "it was not verified"),
    "a status that no version has": (lambda made: made[1]["results"][0].update(status="ok"), "status"),
    "a field with another name": (
        lambda made: made[1]["results"][0].update(state=made[1]["results"][0].pop("status")), "status: Field required"),
    "a report of another version": (lambda made: made[1].update(schema_version=2), "reads version 1"),
    "an exit code that is a text": (lambda made: made[1]["run"].update(exit_code="0"), "exit_code"),
    "a deletion among runs": (lambda made: made[1]["run"].update(command="delete"), "another command"),
    "deep nesting": (lambda made: made[1]["run"].update(labels=_nested(300)), "part-1.json"),
}  # fmt: skip


def _nested(depth: int) -> Document:
    found: Document = {}
    for _ in range(depth):
        found = {"a": found}
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_one_run_is_refused(name: str, offline: Workplace) -> None:
    change, says = REFUSED[name]
    made = shards()
    change(made)
    result = report(offline, made, "--format", "json")
    assert (result.code, result.stdout) == (3, b""), result.stderr
    assert says in result.stderr
    assert "part-" in result.stderr


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_report_of_one_shard_with_results_removed_is_refused(left: int, offline: Workplace) -> None:
    """How many targets the shard had, its lanes say."""
    one = shards()[0]
    assert report(offline, [one]).code == 0
    del one["results"][left:]
    result = report(offline, [one], "--format", "junit")
    assert (result.code, result.stdout) == (3, b""), result.stderr
    assert f"part-0.json: results of {left} targets in" in result.stderr
    assert "some are missing" in result.stderr


def test_old_results_may_be_allowed(offline: Workplace) -> None:
    made = shards()
    made[1]["run"]["started_at"] = "2026-02-02T04:30:00Z"
    assert report(offline, made, "--allow-stale", "--format", "json").code == 0


DOUBLED: dict[str, tuple[str, str]] = {
    "the status": ('"status":"imported"', '"status":"failed","status":"imported"'),
    "the other way round": ('"status":"imported"', '"status":"imported","status":"failed"'),
    "a verification": ('"verified":true', '"verified":false,"verified":true'),
    "an escaped name": ('"status":"imported"', '"stat\\u0075s":"failed","status":"imported"'),
    "the exit code": ('"exit_code":0', '"exit_code":5,"exit_code":0'),
    "all results": ("\n]\n}\n", '\n],\n"results":[]\n}\n'),
    "the summary": ("\n]\n}\n", '\n],\n"summary":{}\n}\n'),
    "a second document": ("\n]\n}\n", "\n]\n}\n{}\n"),
    "a comma too few": ('"error":null},\n', '"error":null}\n'),
    "results in the line of their name": ('"results":[\n', '"results":[ {"status":"failed"} ,\n'),
}


@pytest.mark.parametrize("name", DOUBLED)
@pytest.mark.parametrize("indented", [False, True])
def test_a_report_that_readers_understand_differently_is_refused(
    name: str, offline: Workplace, *, indented: bool
) -> None:
    """Which of two values with one name counts, RFC 8259 does not say."""
    made = report(offline, [good()], "--format", "json", "--output", "written.json")
    assert made.code == 0, made.stderr
    text = (offline.folder / "written.json").read_text()
    found, instead = DOUBLED[name]
    assert found in text
    text = text.replace(found, instead, 1)
    (offline.folder / "doubled.json").write_text(f" {text}" if indented else text)
    result = offline.call("report", "doubled.json", "--format", "json")
    assert result.code == 3, result.stdout[:500]
    assert "doubled.json" in result.stderr


ODD: dict[str, tuple[int, Document]] = {
    "no instant": (1, {"at": None}),
    "an instant without an offset": (-1, {"at": "2026-03-02T04:30:00"}),
    "a start without an offset": (0, {"started_at": "2026-03-02T04:30:00"}),
    "an end without an offset": (-1, {"finished_at": "2026-03-02T04:31:00"}),
    "no selection": (0, {"selection": None}),
    "a selection that lacks a part": (0, {"selection": {"accounts": []}}),
    "a selection of something else": (0, {"selection": {"accounts": [], "regions": [], "ids": [], "a": 1}}),
    "calls that are a list": (-2, {"calls": [None]}),
    "throttled calls that are a text": (-2, {"throttled": "x"}),
    "a failure that says nothing": (-1, {"failure": {"exit_code": 5}}),
    "a failure that is a list": (-1, {"failure": [1]}),
    "a failure without its code": (-1, {"failure": {"message": "m", "exit_code": 5}}),
}


@pytest.mark.parametrize("name", ODD)
def test_a_journal_that_no_run_wrote_is_refused(name: str, offline: Workplace) -> None:
    """Its checksums are right, and a value has another shape."""
    path = journals.make_run(offline.folder / "j.jsonl", 1, journals.ended(0), journals.lane_ended(),
                             journals.run_ended())  # fmt: skip
    assert offline.call("report", "j.jsonl").code == 0
    at, change = ODD[name]
    lines = path.read_bytes().splitlines()
    event = json.loads(lines[at]) | change
    del event["crc"]
    body = json.dumps(event, separators=(",", ":")).encode()[:-1]
    lines[at] = body + b',"crc":"%08x"}' % zlib.crc32(body)
    path.write_bytes(b"\n".join([*lines, b""]))
    result = offline.call("report", "j.jsonl")
    assert (result.code, result.stdout) == (3, b""), result.stderr
    assert "j.jsonl" in result.stderr


@pytest.mark.parametrize("run_id", ["a/b", "../x", "x" * 300, ""])
def test_a_run_id_that_is_no_name_of_a_file(run_id: str, offline: Workplace) -> None:
    one = good()
    one["run"]["run_id"] = run_id
    result = report(offline, [one], "--format", "json", "--output", "out.json")
    assert (result.code, (offline.folder / "out.json").is_file()) == (0, True), result.stderr


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema_version":1,"run":' + "9" * 500 + "}", "{}", "\0" * 64])
def test_a_file_that_is_no_report_is_refused(text: str, offline: Workplace) -> None:
    (offline.folder / "hostile.json").write_text(text)
    result = offline.call("report", "hostile.json")
    assert (result.code, "hostile.json" in result.stderr) == (3, True), result.stderr


@pytest.mark.parametrize("lanes", ["in turn", "one after the other", "at random"])
def test_shards_are_merged_in_manifest_order(lanes: str, offline: Workplace) -> None:
    made = shards()
    results = [entry for one in made for entry in one["results"]]
    if lanes != "in turn":  # which target is of which lane, the manifest decides
        order = list(range(12)) if lanes == "one after the other" else [7, 0, 11, 3, 9, 1, 5, 10, 2, 8, 4, 6]
        for index, entry in zip(order, results, strict=True):
            entry["index"] = index
        for one in made:
            one["results"].sort(key=lambda entry: entry["index"])
    result = report(offline, [made[2], made[0], made[1]], "--format", "json")
    assert [entry["index"] for entry in json.loads(result.stdout)["results"]] == list(range(12))


@pytest.mark.parametrize("name", ["a shard missing", "one killed"])
def test_junit_has_an_error_of_its_own_for_the_run(name: str, offline: Workplace) -> None:
    made = shards()
    CODES[name][0](made)
    suites = etree.fromstring(report(offline, made, "--format", "junit").stdout)
    assert int(suites.get("errors")) == len(suites.findall(".//error")) >= 1
    assert int(suites.get("tests")) == len(suites.findall(".//testcase"))


# --- shards without targets


@pytest.mark.parametrize("shard", ["2/2", "9/12", "9999/9999"])
def test_a_shard_without_targets_is_done(shard: str, sandbox: Sandbox, work: Workplace, run: Run) -> None:
    add_targets(sandbox, work, 1)
    result = run("--shard", shard, "--render", "junit=junit.xml")
    assert result.code == 0, result.stderr
    assert (result.report["summary"]["total"], result.report["run"]["selected"]) == (0, 1)
    assert (result.report["run"]["outcome"], result.report["run"]["shard"]) == ("succeeded", shard)
    assert f"shard {shard} has no target" in result.stderr
    for command in (["plan", "manifest.json", "--shard", shard], ["validate", "manifest.json", "--shard", shard]):
        assert work.call(*command).code == 0
    assert work.call("report", "report.json").code == 0


@pytest.mark.parametrize("written", [("01/02", "2/2"), ("001/0002", "02/2")])
def test_a_shard_with_leading_zeros_is_the_same_shard(
    written: tuple[str, str], sandbox: Sandbox, work: Workplace, run: Run
) -> None:
    add_targets(sandbox, work, 2)
    for number, shard in enumerate(written, 1):
        assert run("--shard", shard, "--report", f"r{number}.json").code == 0
    result = work.call("report", "r1.json", "r2.json", "--format", "json")
    document = json.loads(result.stdout)
    assert (result.code, [each["shard"] for each in document["run"]["runs"]]) == (0, ["1/2", "2/2"]), result.stderr


def test_leading_zeros_in_reports_of_earlier_versions(offline: Workplace) -> None:
    made = shards()
    for number, one in enumerate(made, 1):
        one["run"]["shard"] = f"0{number}/{'3' if number == 1 else '03'}"
    assert report(offline, made).code == 0
    assert "There is no report of shard 2/3." in report(offline, [made[0], made[2]]).stderr


def test_an_empty_shard_is_merged_with_the_others(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    add_targets(sandbox, work, 1)
    for number in (1, 2):
        run("--shard", f"{number}/2", "--report", f"r{number}.json")
    result = work.call("report", "r1.json", "r2.json", "--format", "json")
    assert (result.code, json.loads(result.stdout)["summary"]["total"]) == (0, 1)
    assert ACCOUNT in json.dumps(json.loads(result.stdout)["lanes"])
