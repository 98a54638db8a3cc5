"""What a failed request to Vault means: a MaterialError that says what to do, and whether a repeat can help.

Two kinds are never repeated: what cannot become right by itself (a name that does not exist, a refused certificate),
and what does harm when repeated (a proxy that refuses the password may lock the account). No request is quoted.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import requests
from hvac import exceptions

from bulk_import.errors import MaterialError
from bulk_import.material.sources.patience import Throttled
from bulk_import.material.sources.vault_settings import is_loopback
from bulk_import.shown import shown

_SHOWN: Final = 300  # characters of a server's message
# What Vault and OpenBao say (HTTP status 500) instead of a fault of their own, for example while they revoke a token.
# A plugin that refuses a request may answer 500 too, with a reason.
_OWN_FAULT: Final = "internal error"
_REFUSED: Final = re.compile(r"Tunnel connection failed: (\d{3})")  # http.client's words
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
# https://man7.org/linux/man-pages/man3/getaddrinfo.3.html
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_PROXY: Final = "Check HTTPS_PROXY and NO_PROXY, and that the proxy allows the server's address."
_LOCKS: Final = (
    "The proxy wants a user and a password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, with special characters "
    "percent-encoded. The call is not repeated: the proxy could lock the account."
)


@contextmanager
def translated(address: str) -> Iterator[None]:
    """hvac's and requests' exceptions as MaterialError, most specific first."""
    try:
        yield
    except exceptions.VaultDown as error:
        said = said_by(error)
        if "sealed" in said.lower():
            raise MaterialError(
                f"the server at {address} is sealed", code="SourceUnavailable",
                advice="Unseal it (`vault operator unseal` or `bao operator unseal`), then run again.",
            ) from None  # fmt: skip
        raise unavailable(address, f"is down: {said}") from None
    except exceptions.RateLimitExceeded as error:
        raise Throttled(f"the server at {address} was asked too often: {said_by(error)}") from None
    except (exceptions.BadGateway, exceptions.PreconditionFailed) as error:
        raise unavailable(address, f"answers {type(error).__name__}: {said_by(error)}") from None
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise MaterialError(
            f"the server at {address} refuses: {said_by(error)}", code="SourceDenied",
            advice="The token was revoked, has expired, or its policy does not allow this path: `bulk-import iam "
            "--format vault-policy` prints the policy.",
        ) from None  # fmt: skip
    except exceptions.InvalidPath as error:
        raise MaterialError(f"there is nothing there: {said_by(error)}", code="MaterialNotFound") from None
    except exceptions.VaultError as error:
        if isinstance(error, exceptions.InternalServerError) and said_by(error).endswith(_OWN_FAULT):
            raise unavailable(address, f"answers {type(error).__name__}: {said_by(error)}") from None
        raise MaterialError(
            f"the server at {address} answers {type(error).__name__}: {said_by(error)}", code="SourceFailed",
            advice="Read the server's log and audit log.",
        ) from None  # fmt: skip
    except requests.exceptions.RequestException as error:
        raise _without_an_answer(error, address) from None


def said_by(error: exceptions.VaultError) -> str:
    """The server's own words, cleaned and shortened."""
    text = shown(" ".join("; ".join(str(part) for part in error.errors or ()).split())) or "no reason given"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def unavailable(address: str, what: str) -> MaterialError:
    return MaterialError(f"the server at {address} {what}", code="SourceUnavailable", retryable=True)


def _without_an_answer(error: requests.exceptions.RequestException, address: str) -> MaterialError:
    causes = list(_causes(error))
    if isinstance(error, requests.exceptions.SSLError):
        return _no_tls(causes, address)
    if isinstance(error, ValueError):
        return not_sent(error, address)
    proxy = _proxy(address)
    way = f"{address} (through the proxy {proxy})" if proxy else address
    if isinstance(error, requests.exceptions.ProxyError):
        refused = next((match for cause in causes if (match := _REFUSED.search(str(cause)))), None)
        if refused is not None:
            status = int(refused[1])
            return MaterialError(
                f"the proxy {proxy} refused the connection to {address}: HTTP status {status}",
                code="SourceUnavailable", retryable=status in _PASSING, advice=_LOCKS if status == 407 else _PROXY,
            )  # fmt: skip
    if any(isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_NAME for cause in causes):
        place, advice = (f"the proxy {proxy}", _PROXY) if proxy else (f"the server at {address}", "Check VAULT_ADDR.")
        return MaterialError(
            f"no connection to {place}: the name does not exist in DNS", code="SourceUnavailable", advice=advice
        )
    why = next(filter(None, map(_reason, causes)), type(error).__name__)
    return MaterialError(
        f"the server at {way} gives no answer ({why})", code="SourceUnavailable", retryable=True,
        advice=_PROXY if isinstance(error, requests.exceptions.ProxyError) else None,
    )  # fmt: skip


def _reason(cause: BaseException) -> str | None:
    """The system's own words, if it is an error of the system."""
    if isinstance(cause, OSError) and (cause.errno or 0) > 0:
        return os.strerror(cause.errno or 0)
    return None


def _no_tls(causes: list[BaseException], address: str) -> MaterialError:
    refused = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    why = f": {refused.verify_message.rstrip('.')}" if refused is not None else ""
    named = () if is_loopback(address) else ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # by requests
    authority = next(filter(None, map(os.environ.get, ("VAULT_CACERT", *named))), requests.utils.DEFAULT_CA_BUNDLE_PATH)
    ended = any(isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) for cause in causes)
    what = f"the certificate of {address} is not trusted{why}" if refused is not None else f"no TLS with {address}"
    return MaterialError(
        f"{what}. CA file: {authority}", code="SourceUnavailable", retryable=ended,
        advice="Check VAULT_ADDR and VAULT_CACERT.",
    )  # fmt: skip


def not_sent(error: Exception, address: str) -> MaterialError:
    """A URL or a header that cannot be sent."""
    return MaterialError(
        f"no request to {address} could be made ({type(error).__name__})", code="SourceFailed",
        advice="Check VAULT_ADDR and HTTPS_PROXY.",
    )  # fmt: skip


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all below it: requests and urllib3 keep them as arguments and reasons."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        below = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
        waiting += [cause for cause in below if isinstance(cause, BaseException)]


def _proxy(address: str) -> str | None:
    """The proxy that requests to the address go through, without user and password."""
    if is_loopback(address):
        return None
    named = requests.utils.select_proxy(address, requests.utils.get_environ_proxies(address))
    if not named:
        return None
    url = urlsplit(named if "://" in named else f"http://{named}")
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
