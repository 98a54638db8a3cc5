"""A workplace at an empty sandbox, and processes that start quickly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.support import Result, Workplace, quick
from tests.faults.forks import Forks
from tests.sandbox_client import Sandbox

Run = Callable[..., Result]


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, sandbox.url)


@pytest.fixture
def run(forks: Forks, work: Workplace) -> Run:
    """`bulk-import run manifest.json` with the options, as a process of its own."""

    def go(*options: str, **environment: str) -> Result:
        work.write()
        arguments = ["run", "manifest.json", *quick(options), *options]
        return forks.run(work.folder, work.environment(**environment), arguments)

    return go
