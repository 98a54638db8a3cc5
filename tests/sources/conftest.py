"""A workplace at the sandbox, for tests of sources through the real command line."""

from __future__ import annotations

from tests.e2e.conftest import work

__all__ = ["work"]
