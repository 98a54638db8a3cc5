"""The division among machines: it partitions, it agrees with itself, it is balanced, and engines are read with care."""

from __future__ import annotations

import json
import random
import shlex
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_import import shards
from bulk_import.aws.pace.limiter import merge_quotas
from bulk_import.errors import UsageError
from bulk_import.model import AccountAccess, Lane, Manifest, Target
from tests import pages
from tests.e2e import materials
from tests.e2e.support import QUICK, Workplace
from tests.sandbox_client import Sandbox

LANES = [Lane("aws", f"{account:012d}", region) for account in range(8) for region in ("eu-west-1", "us-east-1")]


def targets(lanes: list[Lane]) -> list[Target]:
    return [Target(index, f"key-{index}", lane, f"alias/{index}", "file:k") for index, lane in enumerate(lanes)]


def manifest(lanes: list[Lane]) -> Manifest:
    accounts = {lane.account: AccountAccess(lane.account, None) for lane in lanes}
    return Manifest("keys.yaml", "0" * 64, tuple(targets(lanes)), accounts, len(lanes), "aws", None)


NAMED = st.lists(st.sampled_from(LANES), min_size=1, max_size=60)
LINKS = st.lists(st.tuples(st.sampled_from(LANES), st.sampled_from(LANES)), max_size=6)


@given(lanes=NAMED, of=st.integers(1, 20), links=LINKS)
def test_shards_partition_any_manifest(lanes: list[Lane], of: int, links: list[tuple[Lane, Lane]]) -> None:
    whole = manifest(lanes)
    parts = [shards.take(whole, f"{number}/{of}", links) for number in range(1, of + 1)]
    found = sorted(target.reported_index for part in parts for target in part.targets)
    assert found == list(range(len(lanes)))
    homes = {target.lane: number for number, part in enumerate(parts) for target in part.targets}
    for part in parts:
        assert [target.index for target in part.targets] == list(range(len(part.targets)))
        indexes = [target.reported_index for target in part.targets]
        assert indexes == sorted(indexes)
        assert part.selected == len(lanes)
        assert part.accounts.keys() == {target.lane.account for target in part.targets}
    assert sum(len({t.lane for t in part.targets}) for part in parts) == len(homes)  # a lane is never split
    assert all(homes[one] == homes[other] for one, other in links if one in homes and other in homes)


@given(lanes=NAMED, of=st.integers(1, 20), seed=st.integers())
def test_all_agree_whatever_the_order_of_the_manifest(lanes: list[Lane], of: int, seed: int) -> None:
    mixed = random.Random(seed).sample(lanes, len(lanes))  # noqa: S311 - no secret
    assert shards.divide(targets(lanes), of) == shards.divide(targets(mixed), of)


@given(lanes=NAMED, of=st.integers(1, 20))
def test_the_division_is_balanced(lanes: list[Lane], of: int) -> None:
    """Greedy: the fullest shard without its last lane is not fuller than any other."""
    parts = shards.divide(targets(lanes), of)
    sizes = [part.targets for part in parts]
    for part in parts:
        if part.lanes:
            assert part.targets - list(part.lanes.values())[-1] <= min(sizes)


@given(lanes=NAMED, limit=st.integers(1, 30))
def test_the_smallest_number_of_shards_is_that(lanes: list[Lane], limit: int) -> None:
    found = shards.smallest(targets(lanes), lambda shard: shard.targets <= limit)
    most = len(set(lanes))
    assert found <= most
    if found < most:
        assert max(part.targets for part in shards.divide(targets(lanes), found)) <= limit


def test_a_million_targets_are_divided_at_once() -> None:
    lanes = [Lane("aws", f"{account:012d}", f"eu-{region}") for account in range(1000) for region in range(4)]
    many = [target for target in targets(lanes) for _ in range(250)]
    before = time.process_time()
    parts = shards.divide(many, 64)
    # About 0.15 s on the machine of the tests; CPU time, so that a busy machine does not matter.
    assert time.process_time() - before < 1
    assert {part.targets for part in parts} == {1_000_000 // 64 // 250 * 250, (1_000_000 // 64 // 250 + 1) * 250}


# --- --shard auto


BATCH = {"AWS_BATCH_JOB_ARRAY_INDEX": "2", "AWS_BATCH_JOB_ARRAY_SIZE": "5"}
KUBERNETES = {"JOB_COMPLETION_INDEX": "0", "BULK_IMPORT_SHARDS": "4"}
GITLAB = {"CI_NODE_INDEX": "3", "CI_NODE_TOTAL": "3"}
SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "0",
         "SLURM_ARRAY_TASK_MAX": "7", "SLURM_ARRAY_TASK_STEP": "1"}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (BATCH, "3/5"),
        (KUBERNETES, "1/4"),
        (GITLAB, "3/3"),
        (SLURM, "8/8"),
        ({**SLURM, "CI_NODE_TOTAL": "1"}, "8/8"),  # set by GitLab in every job
    ],
)
def test_an_engine_says_which_shard(variables: dict[str, str], expected: str) -> None:
    assert shards.from_environment(variables) == expected


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "was not started by an array"),
        ({"CI_NODE_TOTAL": "1"}, "was not started by an array"),
        ({"AWS_BATCH_JOB_ARRAY_SIZE": "4"}, "was not started by an array"),
        (BATCH | GITLAB, "AWS Batch (AWS_BATCH_JOB_ARRAY_INDEX) and GitLab (CI_NODE_INDEX)"),
        (KUBERNETES | SLURM, "only one can be right"),
        ({"JOB_COMPLETION_INDEX": "0"}, "BULK_IMPORT_SHARDS is not set"),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0"}, "AWS_BATCH_JOB_ARRAY_SIZE is not set"),
        ({"CI_NODE_INDEX": "1"}, "CI_NODE_TOTAL is not set"),
        (BATCH | {"AWS_BATCH_JOB_ARRAY_INDEX": "5"}, "shard 6 of 5"),
        (GITLAB | {"CI_NODE_INDEX": "0"}, "shard 0 of 3"),
        (GITLAB | {"CI_NODE_INDEX": "x"}, "is not a number"),
        (SLURM | {"SLURM_ARRAY_TASK_MIN": "1"}, "only a complete array"),
        (SLURM | {"SLURM_ARRAY_TASK_STEP": "2"}, "only a complete array"),
        (SLURM | {"SLURM_ARRAY_TASK_COUNT": "3"}, "only a complete array"),
        (BATCH | {"AWS_BATCH_JOB_ARRAY_SIZE": "10001"}, "at most 9,999"),
    ],
)
def test_what_does_not_describe_a_complete_array_is_refused(variables: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match="--shard auto") as caught:
        shards.from_environment(variables)
    assert says in caught.value.message


@pytest.fixture
def offline(tmp_path: Path) -> Workplace:
    work = Workplace(tmp_path, "http://127.0.0.1:9")
    for number, region in enumerate(("us-east-1", "eu-west-1", "eu-west-1")):
        work.key(f"alias/{number}", materials.make("HMAC_256"), name=f"key-{number}", region=region)
    work.write()
    return work


def test_auto_through_the_command_line(offline: Workplace) -> None:
    taken = offline.call("validate", "manifest.json", "--shard", "auto", **BATCH | {"AWS_BATCH_JOB_ARRAY_INDEX": "0"})
    assert (taken.code, "2 of 3 targets" in taken.stderr) == (0, True), taken.stderr
    for variables in ({}, BATCH | GITLAB):
        for command in ("validate", "plan", "run"):
            assert offline.call(command, "manifest.json", "--shard", "auto", **variables).code == 2
    plain = offline.call("validate", "manifest.json", **BATCH)
    assert (plain.code, "3 of 3 targets" in plain.stderr) == (0, True)  # nothing is automatic


def test_validate_shows_the_division(offline: Workplace) -> None:
    shown = offline.call("validate", "manifest.json", "--shards", "3")
    assert shown.code == 0, shown.stderr
    lines = [line.split() for line in shown.stdout.decode().splitlines()]
    assert lines[0][:3] == ["SHARD", "LANES", "TARGETS"]
    assert [line[:3] for line in lines[1:4]] == [["1/3", "1", "2"], ["2/3", "1", "1"], ["3/3", "0", "0"]]
    assert "From 1 shard on" in shown.stdout.decode()


# --- a fleet


def fleet(sandbox: Sandbox, work: Workplace) -> list[dict[str, Any]]:
    regions = ("us-east-1", "eu-west-1", "us-east-1", "eu-west-3", "us-east-1", "eu-west-1")
    made = []
    for number, region in enumerate(regions):
        spec = "HMAC_256" if number % 2 else "SYMMETRIC_DEFAULT"
        key = sandbox.key(region=region, key_spec=spec)
        work.key(key["key_id"], materials.make(spec), name=f"key-{number}", region=region)
        made.append(key)
    return made


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    """What a fleet and a single run must agree on."""
    run = {name: report["run"][name] for name in (
        "outcome", "exit_code", "manifest", "selection", "selected", "caller", "partition", "environment", "endpoints",
        "labels", "shard", "stopped_by", "error")}  # fmt: skip
    lanes = [{name: lane[name] for name in ("account", "region", "targets", "calls")} for lane in report["lanes"]]
    varying = {
        "request_ids",
        "started_at",
        "finished_at",
        "verification",
        "key_material_id",
        "key_arn",
        "key_id",
        "material_check",
    }
    results = [{name: value for name, value in r.items() if name not in varying} for r in report["results"]]
    return {"run": run, "summary": report["summary"], "lanes": lanes, "results": results}


def test_the_command_line_of_the_page_imports_as_one_run_does(sandbox: Sandbox, tmp_path: Path) -> None:
    """Four processes by xargs, merged, against one process on keys of the same kind."""
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    one, many = (Workplace(tmp_path / name, sandbox.url) for name in ("one", "many"))
    fleet(sandbox, one)
    keys = fleet(sandbox, many)
    assert one.run().code == 0

    page = (Path(pages.ROOT) / "bulk_import" / "templates" / "README.md").read_text("utf-8")
    lines = page.split("On one machine with four cores:")[1].split("```sh\n")[1].split("```")[0]
    program = " ".join(map(shlex.quote, many.command()))
    text = lines.replace("bulk-import run keys.yaml", f"{program} run manifest.json {shlex.join(QUICK)}")
    many.write()
    done = subprocess.run(
        ["bash", "-c", text.replace("bulk-import report", f"{program} report")],
        cwd=many.folder, env=many.environment(), capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    merged = json.loads((many.folder / "out" / "report.json").read_bytes())
    single = json.loads((one.folder / "report.json").read_bytes())
    merged["run"]["manifest"]["sha256"] = single["run"]["manifest"]["sha256"]  # other key IDs
    assert without_times(merged) == without_times(single)
    assert [before["index"] < after["index"] for before, after in pairwise(merged["results"])] == [True] * 5
    for key in keys:
        client = sandbox.client(region=key["arn"].split(":")[3])
        assert client.describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_shard_takes_its_part_of_the_callers_quota() -> None:
    assert merge_quotas({}, shares=4)["AssumeRole"] == 150
    assert merge_quotas({"AssumeRole": 100.0}, shares=4)["AssumeRole"] == 25
    assert merge_quotas({}, shares=4)["GetParametersForImport"] == 1
    assert shards.shares("2/8") == 8
    assert shards.shares(None) == 1
