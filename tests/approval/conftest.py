"""Fixtures of the tests of saved plans."""

from __future__ import annotations

from tests.e2e.conftest import work

__all__ = ["work"]
