"""What a failed exchange means: whether the request left, whether a repeat can help, and what a person should do.

Two kinds are never repeated: what cannot become right by itself (a name that does not exist, a refused certificate),
and what does harm when repeated (a proxy that refuses the password may lock the account).
"""

from __future__ import annotations

import errno
import os
import socket
import ssl

import aiohttp
from botocore.exceptions import BotoCoreError
from yarl import URL

from bulk_import import open_files
from bulk_import.aws.wire.route import shown

# https://man7.org/linux/man-pages/man3/getaddrinfo.3.html
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
# A proxy's statuses that may be different a moment later. https://www.rfc-editor.org/rfc/rfc9110#section-15
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

_DNS = "Check the endpoint, the Region and this machine's DNS (a VPC endpoint needs private DNS names)."
_CERTIFICATE = (
    "If a proxy or firewall of your organisation opens TLS, name its CA file in AWS_CA_BUNDLE. "
    "Otherwise check the endpoint: somebody else may respond for it."
)
_PROXY = "Check HTTPS_PROXY and NO_PROXY, and that the proxy allows the endpoint."
_UNAUTHENTICATED = (
    "The proxy wants a user and a password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, with special characters "
    "percent-encoded. The call is not repeated: the proxy could lock the account."
)


class NetworkFault(BotoCoreError):
    """No response of use came. `sent`: the request may have arrived; `retryable`: a repeat can help."""

    fmt = "{message}"

    def __init__(
        self,
        message: str,
        *,
        sent: bool,
        retryable: bool = True,
        advice: str | None = None,
        code: str = "ConnectionFailed",
    ) -> None:
        super().__init__(message=message)
        self.message = message
        self.sent = sent
        self.retryable = retryable
        self.advice = advice
        self.code = code


def explain(error: Exception, *, host: str, proxy: URL | None, ca: str, seconds: float) -> NetworkFault:
    """aiohttp's exception as a NetworkFault. `host`: the endpoint's, with its port; `seconds`: the time limit."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _proxy_refused(error, host, proxy)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        reason = getattr(cause, "verify_message", "") or str(cause)
        return NetworkFault(
            f"The TLS certificate of {error.host}:{error.port} is not accepted: {reason.rstrip('.')}. CA file: {ca}.",
            sent=False,
            retryable=False,
            advice=_CERTIFICATE,
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return _not_connected(error, host, proxy, ca)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return NetworkFault(f"No connection to {_way(host, proxy)} in time.", sent=False)
    if isinstance(error, TimeoutError):
        return NetworkFault(f"No complete response from {_way(host, proxy)} within {seconds:g} s.", sent=True)
    if isinstance(error, aiohttp.InvalidURL):
        return NetworkFault(f"The URL of {host} is not valid.", sent=False, retryable=False)
    if open_files.is_shortage(error):
        return _too_many_files(host, error)
    if isinstance(error, aiohttp.ClientResponseError):
        return NetworkFault(f"The response of {_way(host, proxy)} is not HTTP.", sent=True)
    return NetworkFault(f"The connection to {_way(host, proxy)} broke ({_reason(error)}).", sent=True)


def too_large(host: str, limit: int) -> NetworkFault:
    return NetworkFault(
        f"The response of {host} is larger than {limit >> 20} MiB.", sent=True, retryable=False, code="MalformedAnswer"
    )


def _not_connected(error: aiohttp.ClientConnectorError, host: str, proxy: URL | None, ca: str) -> NetworkFault:
    cause = error.os_error
    at_proxy = isinstance(error, aiohttp.ClientProxyConnectionError) and proxy is not None
    place = f"the proxy {shown(proxy)}" if at_proxy and proxy is not None else host
    if open_files.is_shortage(cause):
        return _too_many_files(place, cause)
    if isinstance(cause, socket.gaierror):
        if cause.errno in _NO_SUCH_NAME:
            return NetworkFault(
                f"No connection to {place}: the name does not exist in DNS.",
                sent=False,
                retryable=False,
                advice=_PROXY if at_proxy else _DNS,
            )
        return NetworkFault(
            f"No connection to {place}: DNS gave no answer ({cause.strerror}).",
            sent=False,
            advice=_PROXY if at_proxy else _DNS,
        )
    if isinstance(cause, ssl.SSLError) or isinstance(error, aiohttp.ClientSSLError):
        ended = isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)
        reason = str(getattr(cause, "reason", "") or _reason(cause)).replace("_", " ").lower()
        return NetworkFault(
            f"No TLS with {place}: {reason}. CA file: {ca}.", sent=False, retryable=ended, advice=_CERTIFICATE
        )
    return NetworkFault(f"No connection to {place}: {_reason(cause)}.", sent=False, advice=_PROXY if at_proxy else None)


def _proxy_refused(error: aiohttp.ClientHttpProxyError, host: str, proxy: URL | None) -> NetworkFault:
    place = shown(proxy) if proxy is not None else "between"
    return NetworkFault(
        f"The proxy {place} refused the connection to {host}: HTTP status {error.status}.",
        sent=False,
        retryable=error.status in _PASSING,
        advice=_UNAUTHENTICATED if error.status == 407 else _PROXY,
    )


def _too_many_files(place: str, error: OSError) -> NetworkFault:
    name = errno.errorcode.get(error.errno or 0, "EMFILE")
    return NetworkFault(
        f"No connection to {place}: too many open files ({name}).", sent=False, advice=open_files.ADVICE
    )


def _way(host: str, proxy: URL | None) -> str:
    return host if proxy is None else f"{host} (through the proxy {shown(proxy)})"


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return type(error).__name__
