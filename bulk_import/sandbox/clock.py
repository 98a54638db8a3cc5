"""The sandbox's time, which a test can move forward."""

from __future__ import annotations

import time


class Clock:
    """Seconds since 1970, plus an offset. Import tokens, sessions and key material age by it."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds
