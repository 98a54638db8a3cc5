"""A workplace at the sandbox, as the end-to-end tests have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, sandbox.url)
