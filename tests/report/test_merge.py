"""Several reports as one: what must be common, what adds up, and that nothing becomes well by merging."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from bulk_import import kept
from bulk_import.errors import InputError
from bulk_import.report import document
from bulk_import.report.formats import FORMATS
from bulk_import.report.merge import merge
from bulk_import.report.recount import Part
from bulk_import.report.reread import Report, read_report
from bulk_import.report.schema import report_schema
from tests.formats.make_report import make_report

SHARDS = 3


def whole(found: Report) -> dict[str, Any]:
    return {**found.head, "results": list(found.results)}


def part(name: str, document: dict[str, Any]) -> Part:
    results = document["results"]
    return Part(name, Report({key: value for key, value in document.items() if key != "results"}, results))


def shards(n: int = 60) -> list[dict[str, Any]]:
    """One report in three, lane by lane, as --shard does it."""
    full = make_report(n, lanes=6)
    full["run"] |= {"stopped_by": [], "error": None, "command": "run"}
    made = []
    for number in range(SHARDS):
        one = copy.deepcopy(full)
        one["lanes"] = one["lanes"][number::SHARDS]
        mine = {(lane["account"], lane["region"]) for lane in one["lanes"]}
        one["results"] = [r for r in one["results"] if (r["account"], r["region"]) in mine]
        for lane in one["lanes"]:
            lane.setdefault("effective_rate", {})
            lane.setdefault("session_policy", None)
        counts = {status: sum(r["status"] == status for r in one["results"]) for status in full["summary"]}
        unproved = sum(bool(r["verification"]) and r["verification"]["proof"] == "none" for r in one["results"])
        one["summary"] = {**counts, "total": len(one["results"]), "unproved": unproved}
        one["run"] |= {"run_id": f"run-{number}", "shard": f"{number + 1}/{SHARDS}"}
        made.append(one)
    return made


def merged(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return whole(merge([part(f"r{number}.json", one) for number, one in enumerate(documents)]).report)


def test_the_whole_is_in_manifest_order() -> None:
    made = shards()
    found = merged([made[2], made[0], made[1]])["results"]
    assert [result["index"] for result in found] == list(range(60))
    assert found == make_report(60, lanes=6)["results"]


def test_all_shards_make_a_report_that_fits_the_schema_and_adds_up() -> None:
    made = shards()
    found = merged([made[2], made[0], made[1]])
    jsonschema.validate(found, report_schema())
    summary = found["summary"]
    assert summary["total"] == len(found["results"]) == 60
    assert sum(summary[name] for name in ("imported", "reimported", "unchanged", "failed", "not_attempted")) == 60
    assert len(found["lanes"]) == 6
    assert [run["run_id"] for run in found["run"]["runs"]] == ["run-0", "run-1", "run-2"]


def test_one_report_stays_as_it_is() -> None:
    one = shards()[0]
    assert merged([one]) == one


def test_a_merged_one_can_be_merged_again() -> None:
    made = shards()
    found = merged([merged(made[:2]), made[2]])
    jsonschema.validate(found, report_schema())
    assert [run["shard"] for run in found["run"]["runs"]] == ["1/3", "2/3", "3/3"]
    assert found["run"]["error"] is None


def test_a_missing_shard_is_no_success() -> None:
    made = shards()
    [verified, *_] = [each["verification"] for one in made for each in one["results"] if each["verification"]]
    for one in made:
        for result in one["results"]:
            result |= {"status": "imported", "error": None, "verification": verified}
        n = len(one["results"])
        one["summary"] = {"total": n, "imported": n, **dict.fromkeys(
            ("reimported", "unchanged", "failed", "not_attempted", "unproved"), 0)}  # fmt: skip
        one["run"] |= {"outcome": "succeeded", "exit_code": 0}
    every, two = merged(made)["run"], merged(made[:2])["run"]
    assert (every["outcome"], every["exit_code"], every["error"]) == ("succeeded", 0, None)
    assert (two["outcome"], two["exit_code"]) == ("interrupted", 4)
    assert two["error"]["code"] == "ShardMissing"
    assert "3/3" in two["error"]["message"]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 0, 4), 4), ((5, 0, 0), 4), ((4, 6, 1), 1), ((7, 6, 0), 6), ((4, 143, 1), 143), ((0, None, 0), None)],
)
def test_exit_codes(codes: tuple[int | None, ...], expected: int | None) -> None:
    made = shards()
    for one, code in zip(made, codes, strict=True):
        one["run"] |= {"exit_code": code}
    assert merged(made)["run"]["exit_code"] == expected


def test_a_killed_part_has_no_end() -> None:
    made = shards()
    made[1]["run"] |= {"finished_at": None, "exit_code": None, "outcome": "interrupted"}
    run = merged(made)["run"]
    jsonschema.validate(merged(made), report_schema())
    assert (run["finished_at"], run["outcome"]) == (None, "interrupted")


def test_runs_against_different_aws_are_refused() -> None:
    made = shards()
    made[1]["run"]["environment"] = "sandbox"
    with pytest.raises(InputError, match=r"r1\.json: it has another environment than r0\.json"):
        merged(made)
    made = shards()
    for number, one in enumerate(made):
        one["run"] |= {"environment": "custom", "endpoints": {"kms": f"https://kms{number % 2}.example"}}
    with pytest.raises(InputError, match=r"r1\.json: it has another environment"):
        merged(made)


def test_a_shard_that_made_no_call_may_be_merged() -> None:
    made = shards()
    made[1]["run"] |= {"environment": None, "endpoints": {}, "caller": None}
    run = merged(made)["run"]
    assert (run["environment"], run["caller"]) == ("aws", made[0]["run"]["caller"])


def test_what_only_some_parts_say_is_not_said_of_all() -> None:
    made = shards()
    made[0]["run"]["labels"] = {"team": "payments", "job": "1"}
    made[1]["run"]["labels"] = made[2]["run"]["labels"] = {"team": "payments", "job": "2"}
    made[1]["run"]["caller"] = {"account": "999988887777", "arn": "arn:aws:iam::999988887777:role/another"}
    run = merged(made)["run"]
    assert (run["labels"], run["caller"]) == ({"team": "payments"}, None)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"selection": {"accounts": ["1"], "regions": [], "ids": []}}, "selection"),
        ({"partition": "aws-cn"}, "partition"),
        ({"selected": 61}, "number of selected targets"),
        ({"shard": "2/4"}, "number of shards"),
        ({"shard": None}, "number of shards"),
    ],
)
def test_what_is_not_of_one_run_is_refused(change: dict[str, Any], what: str) -> None:
    made = shards()
    made[1]["run"] |= change
    with pytest.raises(InputError, match=rf"r1\.json: it has another {what} than r0\.json"):
        merged(made)


def test_the_counts_are_those_of_the_results() -> None:
    """A summary, a lane or a run that claims more than the results is not believed."""
    made = shards()
    expected = merged(made)
    for one in made:
        one["summary"] |= {"imported": one["summary"]["total"], "failed": 0, "unproved": 0}
        one["run"] |= {"outcome": "succeeded", "exit_code": 0}
        one["lanes"][0]["targets"] = 1
    found = merged(made)
    assert (found["summary"], found["lanes"]) == (expected["summary"], expected["lanes"])
    assert (found["run"]["outcome"], found["run"]["exit_code"]) == ("partial", 4)
    alone = merged([made[0]])["run"]
    assert (alone["outcome"], alone["exit_code"]) == ("partial", 4)


def test_results_that_are_missing_are_noticed() -> None:
    made = shards()
    made[1]["results"].pop()
    with pytest.raises(InputError, match="results of 59 targets, but 60 were selected"):
        merged(made)
    full = make_report(10)
    del full["results"][3]
    with pytest.raises(InputError, match="results of 9 targets, but 10 were selected"):
        merged([full])


def test_an_index_or_target_that_comes_twice_is_noticed() -> None:
    made = shards()
    made[1]["results"][0]["index"] = made[0]["results"][0]["index"]
    with pytest.raises(InputError, match=r"r1\.json: .* r0\.json has index 0 too"):
        merged(made)
    full = make_report(10)
    full["results"][4]["index"] = 3
    with pytest.raises(InputError, match="index 3 follows index 3"):
        merged([full])
    full = make_report(10)
    full["results"][4] = {**full["results"][3], "index": 4}
    with pytest.raises(InputError, match="a target occurs twice"):
        merged([full])


def test_results_of_different_days_are_not_one_run() -> None:
    made = shards()
    made[1]["run"]["started_at"] = "2026-02-28T04:29:59Z"
    with pytest.raises(InputError, match=r"r1\.json: its run began at 2026-02-28T04:29:59Z, more than a day before"):
        merged(made)
    allowed = merge([part(f"r{number}.json", one) for number, one in enumerate(made)], allow_stale=True)
    assert allowed.report.head["run"]["started_at"] == "2026-02-28T04:29:59Z"


def test_another_manifest_is_refused_by_name() -> None:
    made = shards()
    made[1]["run"]["manifest"]["sha256"] = "f" * 64
    with pytest.raises(InputError, match=r"r1\.json: it has another manifest than r0\.json"):
        merged(made)


def test_a_target_in_two_parts_is_refused_by_name() -> None:
    made = shards()
    made[2]["results"].append(made[0]["results"][0])
    with pytest.raises(InputError, match=r"r2\.json: .* is in r0\.json too"):
        merged(made)


@pytest.mark.parametrize("name", FORMATS)
def test_every_rendering_takes_a_merged_report(name: str, tmp_path: Path) -> None:
    from bulk_import.report import formats  # noqa: PLC0415 - its module's name is this test's parameter, else

    found = merge([part("a", shards()[0]), part("b", shards()[1])]).report
    formats.render(name, found.whole(), tmp_path / "out")
    assert "3/3" in (tmp_path / "out").read_text("utf-8") or name == "csv"


def test_written_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "merged.json"
    found = merge([part(str(number), one) for number, one in enumerate(shards())]).report
    kept.replace(path, document.gathered_chunks(found.head, map(orjson.dumps, found.results)), "merged")
    assert whole(read_report(path)) == whole(found) == json.loads(path.read_bytes())


def test_more_shards_than_a_process_may_open_files(tmp_path: Path) -> None:
    """80 reports, and 48 files at once: a fleet of 9,999 shards is merged where 1,024 are allowed."""
    full = make_report(80, lanes=80)
    full["run"] |= {"stopped_by": [], "error": None, "command": "run"}
    for number, (result, lane) in enumerate(zip(full["results"], full["lanes"], strict=True)):
        run = full["run"] | {"run_id": f"run-{number}", "shard": f"{number + 1}/80"}
        head = {**full, "run": run, "lanes": [lane]}
        del head["results"]
        (tmp_path / f"{number}.json").write_bytes(b"".join(document.gathered_chunks(head, [orjson.dumps(result)])))
    program = f"ulimit -n 48; exec {sys.executable} -m bulk_import report *.json --format json"
    done = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, check=False, timeout=100)
    assert done.returncode == 4, done.stderr
    assert [result["index"] for result in orjson.loads(done.stdout)["results"]] == list(range(80))
