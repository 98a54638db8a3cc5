"""Vendor errors become ours here, and only here: most specific first.

Common errors: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, the base of what is never a HTTPClientError
    HTTPClientError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from bulk_import.aws.wire.faults import NetworkFault
from bulk_import.codes import STALE_CREDENTIALS, THROTTLED
from bulk_import.errors import ServiceError

MOST_OF_A_PAGE = 200  # characters that a message quotes of an answer that is not AWS's
_UNSUPPORTED = "UnknownOperationException"  # the code of every answer that says so
_SKEWED = ("Signature expired", "Signature not yet current", "RequestTimeTooSkewed", "RequestExpired")
# How emulators and gateways say that there is no such operation: by a code, or by the status of a page.
_UNSUPPORTED_CODES = frozenset(
    {_UNSUPPORTED, "UnknownOperation", "InvalidAction", "NotImplemented", "NotImplementedException", "MethodNotAllowed"}
)
_UNSUPPORTED_STATUSES = frozenset({405, 501})


def translate(error: Exception, operation: str, region: str = "") -> ServiceError:
    """botocore's or aiohttp's exception as a ServiceError. It quotes the answer's message, never the request.

    `region`: whose endpoint was called; messages about the network name it.
    """
    if isinstance(error, ClientError):
        return _answered(error, operation)
    if isinstance(error, NetworkFault):
        named = not region or region in error.message
        return ServiceError(
            error.message if named else f"{error.message.rstrip('.')} (Region {region}).",
            code=error.code,
            operation=operation,
            retryable=error.retryable,
            outcome_unknown=error.sent,
            advice=error.advice,
        )
    # What follows comes from a body that is read piece by piece, or from a parser.
    if isinstance(error, ReadTimeoutError | TimeoutError):
        return _lost("No complete response came in time.", operation)
    if isinstance(error, HTTPClientError | ConnectionError | aiohttp.ClientError | OSError):
        return _lost(f"The connection broke ({type(error).__name__}).", operation)
    if isinstance(error, BotoCoreError) and not isinstance(error, ResponseParserError):
        return ServiceError(f"{type(error).__name__}: {error}", code="ClientFailure", operation=operation)
    # The parser's own exceptions: the request may have been carried out.
    return _lost(f"The response could not be read ({type(error).__name__}).", operation)


def _answered(error: ClientError, operation: str) -> ServiceError:
    answer = error.response.get("Error", {})
    meta = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    code = str(answer.get("Code") or f"HTTP{status}")
    message = str(answer.get("Message") or "").strip() or "(no message)"
    page = code in (str(status), f"HTTP{status}") and not meta.get("RequestId")
    if code in _UNSUPPORTED_CODES or status in _UNSUPPORTED_STATUSES or (page and status == 404):
        return ServiceError(
            f"The endpoint does not support {operation} (HTTP status {status}: {_short(message)}).",
            code=_UNSUPPORTED,
            operation=operation,
            outcome_unknown=page,  # somebody between may have passed the request on
            request_id=str(meta.get("RequestId", "")),
        )
    if 400 <= status < 500 and page:
        return _of_somebody_else(status, message, operation)
    if any(mark in message or mark in code for mark in _SKEWED):
        code = "ClockSkew"
    return ServiceError(
        message,
        code=code,
        operation=operation,
        retryable=code in THROTTLED or code in STALE_CREDENTIALS or status >= 500,
        outcome_unknown=status >= 500 and code not in THROTTLED,
        request_id=str(meta.get("RequestId", "")),
    )


def _of_somebody_else(status: int, text: str, operation: str) -> ServiceError:
    """A page of a proxy or a gateway: it may have passed the request on before it gave up."""
    return ServiceError(
        f"HTTP status {status}, not by AWS: {_short(text)}",
        code="MalformedAnswer",
        operation=operation,
        retryable=status in (408, 429),
        outcome_unknown=True,
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_OF_A_PAGE else f"{text[:MOST_OF_A_PAGE]}…"


def _lost(message: str, operation: str) -> ServiceError:
    return ServiceError(message, code="ConnectionFailed", operation=operation, retryable=True, outcome_unknown=True)
