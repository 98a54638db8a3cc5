"""KMS's calls from botocore's serializer to its parser, by the shortest way.

In between, botocore makes an object of each request and another of that, copies its headers five times through an
e-mail parser, and walks nine hooks: for streams, checksum trailers, retries, other signers, other endpoints. KMS's
calls have none of them, and all of it together is more than half of what a call costs (tests/bench/warm_client.py).
The hook `before-call` may answer a call itself; this answer is signed and sent here, and read by botocore's own
parser, so that errors and results are what they would be.

Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit

from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.parsers import AioJSONParser
from botocore.utils import normalize_url_path, parse_timestamp
from yarl import URL

from bulk_import.aws.wire.credentials import current_call

# Others may change these on the way, so they are not signed; as botocore has it.
_UNSIGNED = frozenset({"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class OneEndpoint:
    """In the place of botocore's endpoint rules: their answer for KMS in one Region, which no call changes."""

    def __init__(self, rules: Any, answer: Any) -> None:
        self._answer = answer
        self.auth_schemes_to_signing_ctx = rules.auth_schemes_to_signing_ctx

    async def construct_endpoint(self, **_call: Any) -> Any:
        return self._answer


class Shortcut:
    """A handler of `before-call.kms` of one client. `service`, `region`: what its requests are signed for."""

    def __init__(self, http: AIOHTTPSession, url: str, *, service: str, region: str) -> None:
        """`http`: the client's own, for its connections, proxies and TLS. `url`: that all requests go to."""
        self._http = http
        self._service = service
        self._region = region
        self._parser = AioJSONParser(timestamp_parser=_timestamp)
        self._proxy = http._proxy_config.proxy_url_for(url)  # noqa: SLF001 - asked again for each request there
        self._proxy_headers = http._proxy_config.proxy_headers_for(url)  # noqa: SLF001

    async def __call__(self, *, model: Any, params: dict[str, Any], **_event: Any) -> tuple[Any, Any]:
        """botocore's pair of HTTP answer and parsed answer. `params`: the serialized request, its URL in it.

        Raises aiohttp's exceptions, and those of botocore's parser.
        """
        credentials = await current_call.get().credentials.get_frozen_credentials()
        headers = signed(
            params["headers"],
            url=params["url"],
            body=params["body"],
            credentials=credentials,
            service=self._service,
            region=self._region,
            now=datetime.now(UTC),
        )
        session = await self._http._get_session(self._proxy)  # noqa: SLF001
        async with session.post(
            URL(params["url"], encoded=True),
            headers=headers | {"Accept-Encoding": "identity"},
            data=params["body"],
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
            allow_redirects=False,  # KMS sends nobody elsewhere; what was signed for it goes to nobody else
        ) as response:
            body = await response.read()
        lowered = {name.lower(): value for name, value in response.headers.items()}
        answer = {
            "headers": lowered,
            "status_code": response.status,
            "body": body,
            "context": {"operation_name": model.name},
        }
        parsed = await self._parser.parse(answer, model.output_shape)
        return AioAWSResponse(params["url"], response.status, lowered, response), parsed


def signed(
    headers: Mapping[str, str], *, url: str, body: bytes, credentials: Any, service: str, region: str, now: datetime
) -> dict[str, str]:
    """`headers` of a POST without a query, and those that sign it. `credentials`: botocore's frozen ones."""
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    date = stamp[:8]
    host, path = _host_and_path(url)
    sent = {**headers, "X-Amz-Date": stamp}
    if credentials.token:
        sent["X-Amz-Security-Token"] = credentials.token
    covered = {name.lower(): " ".join(value.split()) for name, value in sent.items()} | {"host": host}
    names = sorted(covered.keys() - _UNSIGNED)
    listed = ";".join(names)
    lines = "".join([f"{name}:{covered[name]}\n" for name in names])
    canonical = f"POST\n{path}\n\n{lines}\n{listed}\n{sha256(body).hexdigest()}"
    scope = f"{date}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
    )
    return sent


@lru_cache(maxsize=256)
def _host_and_path(url: str) -> tuple[str, str]:
    """As they are signed: the port left out where it is the scheme's own, the path normalised."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{parts.port}"
    return host, quote(normalize_url_path(parts.path), safe="/~")


def _timestamp(value: Any) -> datetime:
    """KMS's JSON has seconds since 1970; botocore's parser makes a time zone of the machine's for each of them."""
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else parse_timestamp(value)
