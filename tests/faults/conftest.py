"""A workplace at an empty sandbox."""

from tests.e2e.conftest import work

__all__ = ["work"]
