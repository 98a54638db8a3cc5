"""A value with its past, so that a host that has not seen the last change can be asked too."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
KEPT = 64  # changes


class Timeline(Generic[T]):
    """The values of one attribute, oldest first, each with the moment (seconds since 1970) it was set."""

    def __init__(self, value: T, since: float) -> None:
        self._values = [(since, value)]  # a list, not a deque: there are several per key, and most never change

    @property
    def now(self) -> T:
        return self._values[-1][1]

    @property
    def changed_at(self) -> float:
        return self._values[-1][0]

    @property
    def begun_at(self) -> float:
        """When it first got a value other than None."""
        return next((since for since, value in self._values if value is not None), self._values[0][0])

    def set(self, value: T, since: float) -> None:
        self._values = [*self._values[1 - KEPT :], (since, value)]

    def at(self, moment: float | None) -> T:
        """The value at `moment`; None: now. Before the first value: the first."""
        if moment is None:
            return self.now
        for since, value in reversed(self._values):
            if since <= moment:
                return value
        return self._values[0][1]
