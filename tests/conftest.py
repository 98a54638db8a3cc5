"""A hermetic AWS environment, and what one worker has: a sandbox, emptied before each test, and quick processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.e2e.support import Workplace
from tests.faults.forks import Forks
from tests.sandbox_client import Sandbox, clean_environment

pytest_plugins = ["tests.left_out"]

clean_environment()
# An example may take as long as it takes: how busy a machine is decides no test.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: many tests wait for a poll or for a server most of their time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: Sandbox) -> Sandbox:
    """An empty local AWS: no keys, every role may be assumed, no quotas, no lag, no faults."""
    sandbox_process.reset()
    return sandbox_process


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[Forks]:
    """The command line in processes that start at once; one a worker."""
    with Forks() as running:
        Workplace.forks = running
        yield running
        Workplace.forks = None
