"""A workplace at an empty sandbox, and quick starts of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import work
from tests.faults.forks import Forks

__all__ = ["forks", "work"]


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running
