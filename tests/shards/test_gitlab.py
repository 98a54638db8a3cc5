"""The GitLab matrix on gitlab-ci-local: four jobs of `parallel` at once, and the merge that needs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bulk_import.templates import template
from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.faults.support import assert_holds
from tests.sandbox_client import Sandbox
from tests.shards import engines

pytestmark = pytest.mark.skipif(bool(engines.gitlab_missing()), reason="tests/left_out.py says so")
REGIONS = ("us-east-1", "us-east-1", "eu-west-1", "eu-west-3", "ap-southeast-2")
SHARDS = 4


def pipeline(work: Workplace) -> subprocess.CompletedProcess[str]:
    """The pipeline of the default branch, with its manual jobs started."""
    work.write("keys.yaml")
    (work.folder / ".gitlab-ci.yml").write_text(template("gitlab-matrix"))
    git = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.com")
    for command in (("init", "--quiet", "--initial-branch", "main"), ("add", "--all"), ("commit", "--quiet", "-m", "x"),
                    ("remote", "add", "origin", "git@gitlab.example.com:acme/keys.git")):  # fmt: skip
        subprocess.run([*git, *command], cwd=work.folder, check=True, timeout=60)
    manual = [text for number in range(SHARDS) for text in ("--manual", f"import: [{number + 1}/{SHARDS}]")]
    token = ("--variable", f"AWS_WEB_IDENTITY_TOKEN_FILE={work.folder / 'token'}")
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(work.folder),
           "BULK_IMPORT_READ_INTERVAL": "20ms", "BULK_IMPORT_QUOTA": "GetParametersForImport=50",
           "BULK_IMPORT_CONSISTENCY_TIMEOUT": "0"}  # fmt: skip
    program = engines.gitlab_ci_local()
    assert program
    return subprocess.run(
        [program, "--force-shell-executor", "--shell-isolation", "--color=false", *token, *manual],
        cwd=work.folder, env=work.environment(**own), capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    made = Workplace(tmp_path, sandbox.url)
    for number, region in enumerate(REGIONS):
        key = sandbox.key(region=region, key_spec="HMAC_256")
        made.key(key["key_id"], materials.make("HMAC_256"), name=f"k{number}", region=region)
    return made


def test_four_jobs_import_and_the_merge_has_all(sandbox: Sandbox, work: Workplace) -> None:
    done = pipeline(work)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((work.folder / "out" / "report.json").read_bytes())
    assert [run["shard"] for run in report["run"]["runs"]] == ["1/4", "2/4", "3/4", "4/4"]
    assert [result["id"] for result in report["results"]] == ["k0", "k1", "k2", "k3", "k4"]
    assert report["summary"]["imported"] == len(REGIONS)
    assert (work.folder / "out" / "report.html").exists()
    assert "<testsuite" in (work.folder / "out" / "junit.xml").read_text()
    assert_holds(sandbox, work)


def test_a_shard_with_a_failed_key_is_a_warning_and_the_merge_fails_the_pipeline(
    sandbox: Sandbox, work: Workplace
) -> None:
    sandbox.fault("deny", operation="ImportKeyMaterial", region="us-east-1", times=1)
    done = pipeline(work)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAIL  merge" in done.stdout + done.stderr
    assert "WARN  import: [1/4]" in done.stdout + done.stderr
    report = json.loads((work.folder / "out" / "report.json").read_bytes())
    assert (report["run"]["exit_code"], report["summary"]["failed"], report["summary"]["imported"]) == (4, 1, 4)
