"""`--log-level debug`: one line for each call to AWS. Never a body or a header: they hold material and credentials."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from bulk_import.aws.wire.credentials import Call, signing_as

log = structlog.get_logger()


@contextmanager
def traced(operation: str, credentials: Any, *, began: float | None = None, **place: str) -> Iterator[Call]:
    """A call made inside is signed with these credentials, and written down when it ends.

    `began`: when it began to wait for its permit (time.monotonic); `place`: the lane's account and region, or service.
    """
    permitted = time.monotonic()
    with signing_as(credentials) as call:
        try:
            yield call
        finally:
            if structlog.is_configured():  # by the command line; a program that uses the library may configure it too
                log.debug(
                    "call",
                    operation=operation,
                    permit_ms=round((permitted - (began or permitted)) * 1000, 1),
                    network_ms=round((time.monotonic() - permitted) * 1000, 1),
                    status=call.status or "none",
                    request_id=call.request_id or "none",
                    **place,
                )
