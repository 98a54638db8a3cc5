"""The template on a real Slurm: an array with `--shard auto`, and a merge that depends on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk_import.templates import template
from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.faults.support import assert_holds, has_event
from tests.sandbox_client import Sandbox
from tests.shards import slurm as engine
from tests.shards.slurm import Slurm

pytestmark = pytest.mark.skipif(bool(engine.missing()), reason="no Slurm: tests/left_out.py says so")
REGIONS = ("us-east-1", "eu-west-1", "eu-west-3", "ap-southeast-2")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with Slurm(tmp_path_factory.mktemp("slurm"), cores=len(REGIONS) + 1) as running:
        yield running


class Fleet:
    """Two keys in each of four lanes, submitted as an array of four tasks; eu-west-1 hangs in its first import."""

    def __init__(self, slurm: Slurm, sandbox: Sandbox, folder: Path) -> None:
        self.slurm, self.sandbox = slurm, sandbox
        self.work = Workplace(folder, sandbox.url)
        for number in range(2 * len(REGIONS)):
            region, spec = REGIONS[number // 2], ("HMAC_256", "SYMMETRIC_DEFAULT")[number % 2]
            key = sandbox.key(region=region, key_spec=spec)
            self.work.key(key["key_id"], materials.make(spec), name=f"key-{number}", region=region)
        self.work.write()
        sandbox.fault("hang", operation="ImportKeyMaterial", region="eu-west-1", times=1, seconds=600)
        program = folder / "slurm.sh"
        program.write_text(template("slurm"))
        program.chmod(0o755)
        told = self._submit(program)
        self.merge = told.split()[-1]
        slurm.wait(lambda: sandbox.faults()[0]["fired"])
        [self.folder] = folder.glob("fleet-*")
        [self.hanging] = [path.parent.name for path in self.folder.glob("*/*.journal.jsonl")
                          if b'"eu-west-1"' in path.read_bytes()]  # fmt: skip
        listed = slurm.call("squeue", "--noheader", "--array", "--format=%F %K")
        [self.array] = {job for job, index in map(str.split, listed.splitlines()) if index.isdigit()}

    def _submit(self, program: Path) -> str:
        own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "BULK_IMPORT_READ_INTERVAL": "20ms",
               "BULK_IMPORT_QUOTA": "GetParametersForImport=50", "BULK_IMPORT_CONSISTENCY_TIMEOUT": "0"}  # fmt: skip
        environment = self.work.environment(**own) | self.slurm.environment
        done = subprocess.run(
            [program, "submit", str(len(REGIONS)), "manifest.json"], cwd=self.work.folder, env=environment,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def task(self) -> str:
        return f"{self.array}_{self.hanging}"

    def merged(self) -> tuple[dict[str, str], dict[str, Any]]:
        """What Slurm says of the job of the merge after its end, and the report of the fleet."""
        self.slurm.wait(lambda: self.slurm.job(self.merge)["JobState"] in ("COMPLETED", "FAILED"))
        return self.slurm.job(self.merge), json.loads((self.folder / "report.json").read_bytes())


def test_an_array_of_which_one_task_is_killed_and_requeued(slurm: Slurm, sandbox: Sandbox, tmp_path: Path) -> None:
    fleet = Fleet(slurm, sandbox, tmp_path)
    sandbox.post("faults/clear")
    slurm.call("scontrol", "requeue", fleet.task)

    job, report = fleet.merged()

    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0")
    assert slurm.job(fleet.task)["Restarts"] == "1"
    assert report["summary"]["total"] == report["run"]["selected"] == 2 * len(REGIONS)
    assert [result["index"] for result in report["results"]] == list(range(2 * len(REGIONS)))
    assert [run["shard"] for run in report["run"]["runs"]] == ["1/4", "2/4", "3/4", "4/4"]
    assert {result["status"] for result in report["results"]} <= {"imported", "unchanged"}
    assert_holds(sandbox, fleet.work)
    for fields in fleet.work.keys:  # by a client of its own
        kms = sandbox.client(region=fields["region"])
        assert kms.describe_key(KeyId=fields["key_id"])["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_task_that_never_comes_back_is_named_by_the_merge(slurm: Slurm, sandbox: Sandbox, tmp_path: Path) -> None:
    """The report of a task that is cancelled too late to write one: the code of the merge is that of the fleet."""
    fleet = Fleet(slurm, sandbox, tmp_path)
    slurm.call("scancel", "--signal=KILL", "--full", fleet.task)

    job, report = fleet.merged()

    assert (job["JobState"], job["ExitCode"]) == ("FAILED", "4:0")
    shard = f"{int(fleet.hanging) + 1}/4"
    assert shard in report["run"]["error"]["message"]
    assert shard in (fleet.folder / "merge.log").read_text()
    assert not has_event(fleet.work, "run_ended", name=f"{fleet.folder.name}/{fleet.hanging}/report.journal.jsonl")
    others = {f"key-{number}" for number in range(8) if REGIONS[number // 2] != "eu-west-1"}
    assert {result["id"] for result in report["results"]} == others
    assert_holds(sandbox, fleet.work, *others)
