"""A workplace at an empty sandbox, and the second, independent KMS."""

from __future__ import annotations

from tests.e2e.conftest import ministack, work

__all__ = ["ministack", "work"]
