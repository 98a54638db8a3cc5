"""`--log-level debug`: one line for each call to AWS. Never a body or a header: they hold material and credentials."""

from __future__ import annotations

import logging
import time
from typing import Any

import structlog

from bulk_import.aws.wire.credentials import SigningAs

log = structlog.get_logger()


class Traced(SigningAs):
    """A call made inside this context is signed with these credentials, and written down when it ends.

    `began`: when it began to wait for its permit (time.monotonic); `place`: the lane's account and region, or service.
    """

    __slots__ = ("_began", "_operation", "_permitted", "_place")

    def __init__(self, operation: str, credentials: Any, *, began: float | None = None, **place: str) -> None:
        super().__init__(credentials)
        self._operation = operation
        self._place = place
        self._permitted = time.monotonic()
        self._began = self._permitted if began is None else began

    def __exit__(self, *_exc: object) -> None:
        super().__exit__()
        # Configured by the command line, or by a program that uses the library.
        if structlog.is_configured() and log.is_enabled_for(logging.DEBUG):
            log.debug(
                "call",
                operation=self._operation,
                permit_ms=round((self._permitted - self._began) * 1000, 1),
                network_ms=round((time.monotonic() - self._permitted) * 1000, 1),
                status=self._call.status or "none",
                request_id=self._call.request_id or "none",
                **self._place,
            )
