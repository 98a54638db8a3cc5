"""TLS as the AWS CLI checks it, in every connection of this process's AWS clients.

aiobotocore takes its contexts from botocore, which makes them for urllib3: that compares the host's name with the
certificate by itself, and aiohttp does not. So a certificate of any name, by any CA that is trusted here, would pass
for KMS's. And to what is behind a proxy aiobotocore makes no context at all where the proxy needs none, and
nothing is checked. Anyone who answers for KMS gives the wrapping key and reads the material: both must hold everywhere,
also in the clients that the credential chain makes for itself (web identity, SSO), which no setting reaches.
"""

from __future__ import annotations

import ssl
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

_get_ssl_context = AIOHTTPSession._get_ssl_context  # noqa: SLF001 - there is no other way in; see above
_setup_proxy_ssl_context = AIOHTTPSession._setup_proxy_ssl_context  # noqa: SLF001


def _checking_the_name(session: Any) -> ssl.SSLContext:
    context: ssl.SSLContext = _get_ssl_context(session)
    context.check_hostname = True
    return context


def _checking_behind_a_proxy(session: Any, proxy_url: str) -> ssl.SSLContext:
    context: ssl.SSLContext | None = _setup_proxy_ssl_context(session, proxy_url)
    return context if context is not None else _checking_the_name(session)


def verify() -> None:
    """Once for all of aiobotocore's sessions; may be called again."""
    AIOHTTPSession._get_ssl_context = _checking_the_name  # noqa: SLF001
    AIOHTTPSession._setup_proxy_ssl_context = _checking_behind_a_proxy  # noqa: SLF001
