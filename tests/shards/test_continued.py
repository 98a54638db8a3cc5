"""A shard that loses its machine: it continues on another one, and until then the merge names it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.e2e import materials
from tests.e2e.support import QUICK, Result, Workplace
from tests.faults.support import assert_holds, imports
from tests.s3.support import Bucket
from tests.s3.test_checkpoint import events, kill
from tests.sandbox_client import Sandbox

REGIONS = ("us-east-1", "us-east-1", "us-east-1", "eu-west-1", "eu-west-1", "eu-west-3")
SHARDS = 3


def batch(index: int) -> dict[str, str]:
    return {"AWS_BATCH_JOB_ARRAY_INDEX": str(index), "AWS_BATCH_JOB_ARRAY_SIZE": str(SHARDS)}


def options(index: int) -> tuple[str, ...]:
    return ("--shard", "auto", "--report", f"s3://artefacts/fleet/{index}.json",
            "--checkpoint", f"s3://artefacts/fleet/{index}.journal.jsonl", "--checkpoint-interval", "50ms")  # fmt: skip


def merged(work: Workplace, s3: Bucket) -> tuple[Result, dict[str, Any]]:
    """What the job of the merge sees: the reports that are there."""
    there = [s3.uri(f"fleet/{index}.json") for index in range(SHARDS) if f"fleet/{index}.json" in s3.names()]
    result = work.call("report", *there, "--format", "json")
    return result, json.loads(result.stdout)


def test_a_killed_shard_continues_elsewhere_and_the_merge_names_what_is_missing(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    s3 = Bucket(sandbox.client("s3", account=None), "artefacts")
    s3.client.create_bucket(Bucket=s3.name)
    machines = [Workplace(tmp_path / f"machine{number}", sandbox.url) for number in range(2)]
    first, second = machines
    first.folder.mkdir()
    for number, region in enumerate(REGIONS):
        key = sandbox.key(region=region, key_spec="HMAC_256")
        first.key(key["key_id"], materials.make("HMAC_256"), name=f"k{number}", region=region)
    first.write()
    shutil.copytree(first.folder, second.folder)
    second.keys = first.keys

    # Shard 1 of 3 has the largest lane. It is killed between its first and its second import.
    sandbox.fault("hang", operation="ImportKeyMaterial", region="us-east-1", after=1, times=None, seconds=600)
    process = first.start(*options(0), **batch(0))
    journal = "fleet/0.journal.jsonl"
    while journal not in s3.names() or "ended" not in [event["event"] for event in events(s3.get(journal))]:
        assert process.poll() is None, process.communicate()
    kill(process)
    sandbox.post("faults/clear")
    for index in (1, 2):
        done = first.call("run", "manifest.json", *QUICK, *options(index), **batch(index))
        assert done.code == 0, done.stderr

    result, report = merged(second, s3)
    assert (result.code, report["run"]["error"]["code"]) == (4, "ShardMissing")
    assert "There is no report of shard 1/3." in report["run"]["error"]["message"]
    assert "There is no report of shard 1/3." in result.stderr
    assert {entry["region"] for entry in report["results"]} == {"eu-west-1", "eu-west-3"}

    # The engine starts it again, on a machine that has nothing of the first attempt.
    again = second.call("run", "manifest.json", *QUICK, *options(0), "--resume", **batch(0))
    assert again.code == 0, again.stderr
    assert "fetched from its checkpoint" in again.stderr
    result, report = merged(second, s3)
    assert result.code == 0, result.stderr
    assert [entry["id"] for entry in report["results"]] == [f"k{number}" for number in range(len(REGIONS))]
    assert report["run"]["error"] is None
    assert_holds(sandbox, first)
    assert set(imports(sandbox).values()) == {1}  # nothing was imported twice
