"""KMS's calls from botocore's serializer to its parser, by the shortest way.

In between, botocore copies each request several times and walks nine hooks: for streams, checksum trailers, retries,
other signers, other endpoints. KMS's calls have none of them, and together they are half of what a call costs
(tests/bench/warm_client.py). The hook `before-call` may answer a call itself: here the request is signed by
botocore's own signer, sent over our own connections, and its response read by botocore's own parser.

https://botocore.amazonaws.com/v1/documentation/api/latest/topics/events.html
Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aiobotocore.parsers import AioJSONParser
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from bulk_import.aws.wire.credentials import current_call
from bulk_import.aws.wire.http import Pool, Response
from bulk_import.aws.wire.incoming import moment


@dataclass(slots=True)
class _Request:
    """What botocore's signer reads and changes of its AWSRequest, which keeps its headers as those of an e-mail."""

    url: str
    headers: dict[str, str]
    data: bytes
    method: str = "POST"
    params: None = None
    context: dict[str, Any] = field(default_factory=dict)


class _Signer(SigV4Auth):
    """Signs one request with botocore's signer, whose slowest parts have a shorter way to the same text here.

    The body is bytes, and all headers are signed, Host among them.
    """

    def __init__(self, credentials: Any, service: str, region: str) -> None:
        super().__init__(credentials, service, region)
        self._used_for = (region, service)
        self._collected: dict[str, str] | None = None

    def headers_to_sign(self, request: Any) -> Any:
        """By name, in order. botocore asks twice for what is the same."""
        if self._collected is None:
            self._collected = {name.lower(): value for name, value in sorted(request.headers.items(), key=_name)}
        return self._collected

    def canonical_headers(self, headers_to_sign: Any) -> str:
        return "\n".join([f"{name}:{' '.join(value.split())}" for name, value in headers_to_sign.items()])

    def signed_headers(self, headers_to_sign: Any) -> str:
        return ";".join(headers_to_sign)

    def payload(self, request: Any) -> str:
        """botocore prepares the complete request for it, which is sent by another way here."""
        return hashlib.sha256(request.data or b"").hexdigest()

    def signature(self, string_to_sign: str, request: Any) -> str:
        day = request.context["timestamp"][:8]
        key = _signing_key(self.credentials.secret_key, day, *self._used_for)
        return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


@lru_cache(maxsize=4096)
def _signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """Derived once for each session of an account and Region, not for each call; AWS accepts it for seven days."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _name(header: tuple[str, str]) -> str:
    return header[0].lower()


class Shortcut:
    """A handler of `before-call` of one client of a JSON service. `service`, `region`: what requests are signed for."""

    def __init__(self, pool: Pool, *, service: str, region: str) -> None:
        self._pool = pool
        self._service = service
        self._region = region
        self._parser = AioJSONParser(timestamp_parser=moment)
        self._hosts: dict[str, str] = {}  # URL → Host

    async def __call__(self, *, model: Any, params: dict[str, Any], **_event: Any) -> tuple[Response, Any]:
        """The HTTP response, of which botocore reads the status, and the parsed one.

        `params`: the serialized request with its URL.
        Raises NetworkFault, SettingsError, and the exceptions of botocore's parser.
        """
        credentials = await current_call.get().credentials.get_frozen_credentials()
        url = params["url"]
        headers = dict(params["headers"])
        user_agent = headers.pop("User-Agent", "")  # it is not signed: proxies may change it
        headers["Host"] = self._hosts.get(url) or self._hosts.setdefault(url, _host(url))
        request: Any = _Request(url, headers, params["body"])
        _Signer(credentials, self._service, self._region).add_auth(request)
        headers["User-Agent"] = user_agent
        response = await self._pool.exchange("POST", url, headers, params["body"])
        parsed = await self._parser.parse(
            {
                "headers": response.headers,
                "status_code": response.status,
                "body": response.body,
                "context": {"operation_name": model.name},
            },
            model.output_shape,
        )
        return response, parsed


def _host(url: str) -> str:
    """The header Host of requests to this URL, as botocore's signer finds it."""
    nobody: Any = None
    return str(SigV4Auth(nobody, "", "").headers_to_sign(AWSRequest("POST", url))["host"])
