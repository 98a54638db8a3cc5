"""Who may talk to a sandbox: programs on this machine. No web page may, whether by DNS rebinding or across sites.

A browser sends the name of its page's server as Host, so a name that was rebound to 127.0.0.1 shows itself there; and
with a request to another site it sends Origin, Sec-Fetch-Site or, if it is old, Referer. AWS's clients send none of
them. Two Host headers, or one with anything around the name, are no browser's: they try to look like two servers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")  # RFC 9110, section 7.2: no user, no list


def refusal(headers: Mapping[str, str]) -> str | None:
    """Why a request with these headers is refused; None: it is not."""
    hosts = [value for name, value in headers.items() if name.lower() == "host"]
    host = ", ".join(hosts)
    if not _is_local(host):
        return f"this sandbox answers to loopback names only, not to {host[:100]!a}"
    origin = headers.get("Origin")
    if origin is not None and _server(origin) != host:
        return f"this sandbox answers no cross-site requests (Origin: {origin[:100]!a})"
    referer = headers.get("Referer")
    if referer is not None and _server(referer) != host:
        return f"this sandbox answers no cross-site requests (Referer: {referer[:100]!a})"
    site = headers.get("Sec-Fetch-Site", "none")
    if site not in ("none", "same-origin"):
        return f"this sandbox answers no cross-site requests (Sec-Fetch-Site: {site[:100]!a})"
    return None


def _server(url: str) -> str | None:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    """`host` as in a Host header. Every name under localhost is loopback too (RFC 6761), so buckets can be names."""
    if not _HOST.fullmatch(host):
        return False
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name in NAMES or name.endswith(".localhost")
