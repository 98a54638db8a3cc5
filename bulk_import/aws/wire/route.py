"""Where requests may go, and how they get there: directly, or through the proxy that the environment names.

Proxies are those of the AWS CLI: https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html
With one exception: a loopback endpoint is never reached through a proxy. A proxy could read the requests to it, and
replace the wrapping key in its responses.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies
from yarl import URL

from bulk_import.errors import Problem, SettingsError

_NUMBERS = re.compile(r"[0-9A-Fa-fXx.]+")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its name or address alone. RFC 6761 section 6.3, RFC 6890."""
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost") or _is_loopback_address(host)


def _is_loopback_address(host: str) -> bool:
    address = _address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return any(known is not None and known.is_loopback for known in (address, mapped))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for a name. Only an IPv6 address has a zone: 127.0.0.1%25x.example is a name that somebody can have."""
    try:
        return ipaddress.ip_address(host.partition("%")[0] if ":" in host else host)
    except ValueError:
        pass  # there are more forms than this module reads
    if not _NUMBERS.fullmatch(host):  # inet_aton ignores what follows a blank
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f.1, 2130706433
    except OSError:
        return None


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, as one text."""
    return "/".join(url.split("/", 3)[:3])


def refuse_plain_http(endpoint: str) -> None:
    """Key material never leaves the machine without TLS. Raises SettingsError."""
    if "@" in endpoint:  # also where the URL is malformed, so that a password would be a part of the host
        problem = "the endpoint's URL holds a user or a password, which would be written down with it."
        raise SettingsError([Problem("settings", 0, "--endpoint-url", problem, "Omit them.")])
    if "{" in endpoint:
        raise SettingsError(
            [Problem("settings", 0, "--endpoint-url", f"{endpoint}: an unknown placeholder.", "There is {region}.")]
        )
    url = urlsplit(endpoint)
    host = url.hostname or ""
    # Of names, `localhost` alone: others, also with a dot at the end, may be asked of a DNS server.
    here = host == "localhost" or _is_loopback_address(host)
    if url.scheme == "https" or (url.scheme == "http" and here):
        return
    raise SettingsError(
        [Problem("settings", 0, "--endpoint-url", f"{endpoint}: only loopback endpoints may use http://.",
                 "Use https://, or unset AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_KMS/_STS/_S3/_SERVICE_QUOTAS.")]
    )  # fmt: skip


def proxy_for(url: str, environment: Mapping[str, str] = os.environ) -> URL | None:
    """The proxy that requests to `url` go through; None: they go directly.

    Raises SettingsError where the proxy's URL cannot be used. The message never quotes it: it may hold a password.
    """
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return None
    proxies = get_environ_proxies(url)
    named = proxies.get(parts.scheme)
    if not named:
        return None
    small = f"{parts.scheme}_proxy"
    variable = small if environment.get(small) else small.upper()
    try:
        proxy = URL(ProxyConfiguration(proxies=proxies).proxy_url_for(url))  # without a scheme it is http://
        usable = proxy.scheme in ("http", "https") and bool(proxy.host) and proxy.port is not None
    except ValueError:
        usable = False
    scheme, given, _ = named.partition("://")
    other = bool(given) and scheme.lower() not in ("http", "https")
    if other or not usable:
        what = "only http:// and https:// proxies are supported" if other else "it is not a proxy's URL"
        raise SettingsError(
            [Problem("environment", 0, variable, f"{what}.", "Write http://HOST:PORT, or unset the variable.")]
        )
    return proxy


def shown(proxy: URL) -> str:
    """The proxy's URL for messages: without user and password."""
    return str(proxy.with_user(None).origin())
