"""Vendor errors become ours here, and only here: most specific first.

Common errors: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientHttpProxyError,
    ClientPayloadError,
    ClientProxyConnectionError,
    ClientSSLError,
    ConnectionTimeoutError,
)
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, the base of what is never a HTTPClientError
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from bulk_import.codes import STALE_CREDENTIALS, THROTTLED
from bulk_import.errors import ServiceError

MOST_OF_A_PAGE = 200  # characters that a message quotes of an answer that is not AWS's
_SKEWED = ("Signature expired", "Signature not yet current", "RequestTimeTooSkewed", "RequestExpired")


def translate(error: Exception, operation: str) -> ServiceError:
    """botocore's or aiohttp's exception as a ServiceError. It quotes the answer's message, never the request."""
    if isinstance(error, ClientError):
        return _answered(error, operation)
    if isinstance(error, NoCredentialsError):
        return ServiceError("There are no credentials.", code="CallerCredentialsMissing", operation=operation)
    if isinstance(error, CredentialRetrievalError):
        # Not its text: that may quote what a credential process wrote.
        return ServiceError(
            "The credentials could not be renewed.", code="ExpiredTokenException", operation=operation, retryable=True
        )
    if isinstance(error, ConnectTimeoutError | ProxyConnectionError | SSLError):
        return _lost(f"No connection ({type(error).__name__}).", operation, sent=False)
    if isinstance(error, ConnectionTimeoutError | ClientConnectorError | ClientHttpProxyError | ClientSSLError):
        # Only a connection that was never made proves that nothing was sent.
        return _lost(f"No connection ({type(error).__name__}).", operation, sent=False)
    if isinstance(error, ReadTimeoutError | TimeoutError):
        return _lost("No response arrived in time.", operation, sent=True)
    if isinstance(error, ResponseParserError):
        return _lost("The response could not be read.", operation, sent=True)
    if isinstance(error, HTTPClientError | ConnectionError):
        cause = error.kwargs.get("error")
        never_sent = isinstance(cause, ClientConnectorError | ClientProxyConnectionError)
        reason = type(cause).__name__ if cause is not None else type(error).__name__
        return _lost(f"The connection failed ({reason}).", operation, sent=not never_sent)
    if isinstance(error, BotoCoreError):
        return ServiceError(f"{type(error).__name__}: {error}", code="ClientFailure", operation=operation)
    if isinstance(error, ClientConnectionError | ClientPayloadError | OSError):
        return _lost(f"The connection failed ({type(error).__name__}).", operation, sent=True)
    # The parser's own exceptions: the request may have been carried out.
    return _lost(f"The response could not be read ({type(error).__name__}).", operation, sent=True)


def _answered(error: ClientError, operation: str) -> ServiceError:
    answer = error.response.get("Error", {})
    meta = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    code = str(answer.get("Code") or f"HTTP{status}")
    message = str(answer.get("Message") or "").strip() or "(no message)"
    if 400 <= status < 500 and code == str(status) and not meta.get("RequestId"):
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
    text = " ".join(text.split())
    shown = text if len(text) <= MOST_OF_A_PAGE else f"{text[:MOST_OF_A_PAGE]}…"
    return ServiceError(
        f"HTTP status {status}, not by AWS: {shown}",
        code="MalformedAnswer",
        operation=operation,
        retryable=status in (408, 429),
        outcome_unknown=True,
    )


def _lost(message: str, operation: str, *, sent: bool) -> ServiceError:
    return ServiceError(message, code="ConnectionFailed", operation=operation, retryable=True, outcome_unknown=sent)
