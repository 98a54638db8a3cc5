"""A workplace at the sandbox, and the real servers and tokens that sources are tested with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import ministack, work
from tests.sources.bao import Bao
from tests.sources.tokens import Nss, SoftHsm

__all__ = ["ministack", "work"]


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with Bao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return SoftHsm(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture(scope="session")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Nss:
    return Nss(tmp_path_factory.mktemp("nss"))
