"""A workplace at the sandbox, and the real servers and tokens that sources are tested with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import ministack, work
from tests.sources.bao import Bao

__all__ = ["ministack", "work"]


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with Bao(tmp_path_factory.mktemp("bao")) as server:
        yield server
