"""Fixtures of the tests with S3: a workplace at the sandbox, and its bucket as an independent client sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support import Workplace
from tests.s3.support import Bucket
from tests.sandbox_client import Sandbox


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    folder = tmp_path / "here"
    folder.mkdir()
    return Workplace(folder, sandbox.url)


@pytest.fixture
def bucket(sandbox: Sandbox) -> Bucket:
    """Made, and empty, in the caller's own account."""
    made = Bucket(sandbox.client("s3", account=None), "artefacts")
    made.client.create_bucket(Bucket=made.name)
    return made
