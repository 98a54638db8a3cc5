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
from datetime import UTC, datetime
from typing import Any

from aiobotocore.parsers import AioJSONParser
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.utils import parse_timestamp

from bulk_import.aws.wire.credentials import current_call
from bulk_import.aws.wire.http import Pool, as_botocore


class _Signer(SigV4Auth):
    """Signs one request, whose body is bytes. botocore collects the headers to sign twice; they are the same."""

    _collected: Any = None

    def headers_to_sign(self, request: AWSRequest) -> Any:
        if self._collected is None:
            self._collected = super().headers_to_sign(request)
        return self._collected

    def payload(self, request: AWSRequest) -> str:
        """botocore prepares the complete request for it, which is sent by another way here."""
        return hashlib.sha256(request.data or b"").hexdigest()


class Shortcut:
    """A handler of `before-call` of one client of a JSON service. `service`, `region`: what requests are signed for."""

    def __init__(self, pool: Pool, *, service: str, region: str) -> None:
        self._pool = pool
        self._service = service
        self._region = region
        self._parser = AioJSONParser(timestamp_parser=_timestamp)
        self._hosts: dict[str, str] = {}  # URL → Host, as the signer found it

    async def __call__(self, *, model: Any, params: dict[str, Any], **_event: Any) -> tuple[Any, Any]:
        """botocore's pair of HTTP response and parsed response. `params`: the serialized request with its URL.

        Raises NetworkFault, SettingsError, and the exceptions of botocore's parser.
        """
        credentials = await current_call.get().credentials.get_frozen_credentials()
        url = params["url"]
        headers = dict(params["headers"])
        unsigned = {"User-Agent": headers.pop("User-Agent", "")}  # the signer would leave it out
        if url in self._hosts:
            headers["Host"] = self._hosts[url]
        request = AWSRequest("POST", url, headers=headers, data=params["body"])
        signer = _Signer(credentials, self._service, self._region)
        signer.add_auth(request)
        self._hosts.setdefault(url, signer.headers_to_sign(request)["Host"])
        response = await self._pool.exchange("POST", url, dict(request.headers.items()) | unsigned, params["body"])
        parsed = await self._parser.parse(
            {
                "headers": response.headers,
                "status_code": response.status,
                "body": response.body,
                "context": {"operation_name": model.name},
            },
            model.output_shape,
        )
        return as_botocore(url, response), parsed


def _timestamp(value: Any) -> datetime:
    """KMS's JSON has seconds since 1970; botocore's parser makes a time zone of the machine's for each of them."""
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else parse_timestamp(value)
