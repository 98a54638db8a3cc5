"""Fixtures of the end-to-end tests: a workplace at the sandbox, and one at the second, independent KMS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.ministack import Ministack
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    """A folder of its own, with an empty sandbox as its AWS."""
    return Workplace(tmp_path, sandbox.url)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ministack]:
    with Ministack(tmp_path_factory.mktemp("ministack") / "log") as server:
        yield server
