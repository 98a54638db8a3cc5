"""The workplace of the end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    """A folder of its own, with an empty sandbox as its AWS."""
    return Workplace(tmp_path, sandbox.url)
