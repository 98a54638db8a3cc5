"""Who may talk to a sandbox: programs on this machine. No web page may, whether by DNS rebinding or across sites.

A browser sends the name of its page's server as Host, so a name that was rebound to 127.0.0.1 shows itself there; and
with a request to another site it sends Origin and Sec-Fetch-Site. AWS's clients send neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def refusal(headers: Mapping[str, str]) -> str | None:
    """Why a request with these headers is refused; None: it is not."""
    host = headers.get("Host", "")
    if not _is_local(host):
        return f"this sandbox answers to loopback names only, not to {host[:100]!a}"
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return f"this sandbox answers no cross-site requests (Origin: {origin[:100]!a})"
    site = headers.get("Sec-Fetch-Site", "none")
    if site not in ("none", "same-origin"):
        return f"this sandbox answers no cross-site requests (Sec-Fetch-Site: {site[:100]!a})"
    return None


def _is_local(host: str) -> bool:
    """`host` as in a Host header. Every name under localhost is loopback too (RFC 6761), so buckets can be names."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name in NAMES or name.endswith(".localhost")
