"""Other people's programs against the sandbox, each in the virtual environment that the Makefile makes for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sandbox_client import Sandbox

AWSCLI = Path(sys.prefix) / "awscli" / "bin"
CLIENTS = Path(sys.prefix) / "clients" / "bin"
ACCOUNT = "111122223333"
Command = Callable[..., str]


def environment(sandbox: Sandbox) -> dict[str, str]:
    """A session of a role in ACCOUNT, and the sandbox as AWS."""
    given = sandbox.credentials(ACCOUNT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_ACCESS_KEY_ID": given["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": given["aws_secret_access_key"],
        "AWS_SESSION_TOKEN": given["aws_session_token"],
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": sandbox.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_PAGER": "",
        "SOPS_DISABLE_VERSION_CHECK": "1",
    }


@pytest.fixture
def shell(sandbox: Sandbox, tmp_path: Path) -> Command:
    """Runs a bash script in a folder of its own, with the AWS CLI and the clients on PATH; returns its stdout."""

    def run(script: str, **variables: str) -> str:
        path = f"{AWSCLI}:{CLIENTS}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
            env=environment(sandbox) | variables | {"PATH": path}, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
