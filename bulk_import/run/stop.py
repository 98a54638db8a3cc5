"""Why a run stops before its end, said once and heard by all."""

from __future__ import annotations

import asyncio


class Stop:
    """The first reason counts. A second signal makes it urgent: no grace is given any more."""

    def __init__(self) -> None:
        self.reason = ""
        self.requested = asyncio.Event()
        self.urgent = asyncio.Event()

    def request(self, reason: str) -> None:
        """`reason`: SIGINT, SIGTERM, deadline or max_failures."""
        if self.requested.is_set():
            return
        self.reason = reason
        self.requested.set()

    def why(self) -> str:
        """Empty while nothing stops the run."""
        return self.reason
