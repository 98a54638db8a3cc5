"""A small limit of open files: a run has fewer connections, and no target fails for it."""

from __future__ import annotations

import resource
import subprocess

import pytest

from tests.e2e import materials
from tests.e2e.support import Workplace, quick
from tests.sandbox_client import Sandbox

LANES = 240
REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2")
MATERIAL = materials.make("HMAC_256")


def add_lanes(sandbox: Sandbox, work: Workplace, lanes: int) -> None:
    accounts = [f"{100000000000 + number}" for number in range(lanes // len(REGIONS))]
    form = {"regions": {region: {"keys": [{"key_spec": "HMAC_256"}]} for region in REGIONS}}
    for number, key in enumerate(sandbox.seed({"accounts": dict.fromkeys(accounts, form)})):
        work.key(key["key_id"], MATERIAL, name=f"k{number}", account=key["account"], region=key["region"])


@pytest.mark.parametrize("files", [30, 64, 100, 512])
def test_all_lanes_end_well(sandbox: Sandbox, work: Workplace, files: int) -> None:
    add_lanes(sandbox, work, LANES)
    work.write()
    options = ("--prove", "none", "--reads", "1")
    done = subprocess.run(
        work.command("run", "manifest.json", *quick(options), *options), cwd=work.folder, env=work.environment(),
        capture_output=True, timeout=110, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )  # fmt: skip
    stderr = done.stderr.decode()
    assert done.returncode == 0, stderr
    assert "open files" in stderr


def test_the_soft_limit_is_raised(sandbox: Sandbox, work: Workplace) -> None:
    """As far as the hard one allows: no run has fewer connections only because a shell gives 64 files."""
    add_lanes(sandbox, work, 9)
    work.write()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run(
        work.command("run", "manifest.json", *quick(())), cwd=work.folder, env=work.environment(),
        capture_output=True, timeout=110, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert "open files" not in done.stderr.decode()
