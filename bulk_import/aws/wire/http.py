"""The one way to AWS: our own aiohttp sessions, for every client of a run.

All Regions share the connections of a pool, so that a run never has more of them than its process may open. TLS,
proxies, time limits and the size of a response are the same for all services, because they are configured here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse
from botocore.exceptions import EndpointConnectionError
from yarl import URL

from bulk_import.aws.wire.credentials import Call, current_call
from bulk_import.aws.wire.faults import NetworkFault, explain, too_large
from bulk_import.aws.wire.route import origin_of, proxy_for, refuse_plain_http
from bulk_import.aws.wire.tls import Trust, verifying

KEEP_ALIVE = 12.0  # seconds that an idle connection is kept, as aiobotocore keeps it
MOST_OF_A_RESPONSE = 4 << 20  # bytes; a page of 1,000 rotations has a tenth of it
_CHUNK = 1 << 18  # bytes of an upload that are read at once


class Way(NamedTuple):
    """How an origin is reached. `host`: with its port, for messages."""

    host: str
    proxy: URL | None


class Response(NamedTuple):
    """A complete response; header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def status_code(self) -> int:
        """As botocore calls it."""
        return self.status


class Pool:
    """At most `size` connections, over all hosts. Opened by its first request; `close` it."""

    def __init__(
        self, trust: Trust, *, size: int, connect_timeout: float, read_timeout: float, timed: bool = False,
        whole: bool = True, local: bool = False,
    ) -> None:  # fmt: skip
        """`timed`: note when each request was sent (it costs 30 microseconds, and only scarce permits need it).

        `whole`: `read_timeout` bounds the complete response, not only each wait for its next bytes.
        `local`: for the link-local addresses that give credentials to containers, which botocore itself checks: they
        are reached directly, and have no TLS.
        """
        self._trust = trust
        self._size = size
        self._timed = timed
        self._local = local
        self._ways: dict[str, Way] = {}
        self._session: aiohttp.ClientSession | None = None
        # Twice for connecting: a proxy's own connection, and the one behind it.
        connect = 2 * connect_timeout
        self.seconds = connect + read_timeout
        self._timeout = aiohttp.ClientTimeout(
            total=self.seconds if whole else None, connect=connect, sock_connect=connect_timeout, sock_read=read_timeout
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def way(self, url: str) -> Way:
        """Raises SettingsError where the URL may not be used (plain http), or its proxy cannot be."""
        origin = origin_of(url)
        known = self._ways.get(origin)
        if known is None:
            if not self._local:
                refuse_plain_http(origin)
            parts = URL(origin)
            known = self._ways[origin] = Way(f"{parts.host}:{parts.port}", None if self._local else proxy_for(origin))
        return known

    async def exchange(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Response:
        """Sends a request and reads its response. Redirects are not followed: what is signed goes to nobody else.

        Raises NetworkFault, SettingsError.
        """
        way = self.way(url)
        try:
            async with self._request(method, url, headers, body, way) as response:
                return Response(response.status, _noted(response), await _read(response, way.host))
        except (aiohttp.ClientError, OSError) as error:
            raise self._fault(error, way) from None

    async def stream(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> aiohttp.ClientResponse:
        """As `exchange`, but the body is not read yet: the caller reads and closes the response."""
        way = self.way(url)
        try:
            response: aiohttp.ClientResponse = await self._request(method, url, headers, body, way)
        except (aiohttp.ClientError, OSError) as error:
            raise self._fault(error, way) from None
        _noted(response)
        return response

    def _request(self, method: str, url: str, headers: Mapping[str, str], body: Any, way: Way) -> Any:
        session = self._session
        if session is None:
            session = self._session = self._open()
        return session.request(
            method,
            URL(url, encoded=True),
            headers={**headers, "Accept-Encoding": "identity"},
            data=body,
            proxy=way.proxy,
            allow_redirects=False,
        )

    def _open(self) -> aiohttp.ClientSession:
        traces = []
        if self._timed:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_note_sent)
            traces.append(trace)
        connector = aiohttp.TCPConnector(
            limit=self._size,
            ssl=verifying(self._trust.context),
            keepalive_timeout=KEEP_ALIVE,
            resolver=aiohttp.ThreadedResolver(),  # the system's, with its hosts file and its error numbers
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            skip_auto_headers={"Content-Type"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=traces,
        )

    def _fault(self, error: Exception, way: Way) -> NetworkFault:
        return explain(error, host=way.host, proxy=way.proxy, ca=self._trust.ca, seconds=self.seconds)


class _Whole:
    """A body that was read already, as AioAWSResponse wants it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body


def as_botocore(url: str, response: Response) -> Any:
    """The response as aiobotocore has it."""
    return AioAWSResponse(url, response.status, response.headers, _Whole(response.body))


def session_class(pool: Pool) -> type[Any]:
    """For AioConfig's `http_session_cls`: clients that botocore sends for, over the connections of `pool`."""

    class Session:
        """What aiobotocore asks of a session. The pool outlives it, and has the limits and proxies."""

        def __init__(self, verify: Any = True, **_botocores: Any) -> None:  # noqa: FBT002 - aiobotocore's signature
            if not verify:
                raise RuntimeError("TLS without verification")

        async def __aenter__(self) -> Session:
            return self

        async def __aexit__(self, *_: object) -> None:
            """The pool stays open."""

        async def close(self) -> None:
            """The pool stays open."""

        async def send(self, request: Any) -> Any:
            headers = {name: _text(value) for name, value in request.headers.items()}
            chunked = headers.pop("Transfer-Encoding", "").lower() == "chunked"
            body = _body(request.body, chunked=chunked)
            if not request.stream_output:
                return as_botocore(request.url, await pool.exchange(request.method, request.url, headers, body))
            raw = await pool.stream(request.method, request.url, headers, body)
            if raw.status < 300:
                return AioAWSResponse(request.url, raw.status, _headers(raw), raw)
            async with raw:  # an error's page is read like any other response
                found = Response(raw.status, _headers(raw), await _read(raw, raw.url.host or ""))
            return as_botocore(request.url, found)

    return Session


def metadata_session(pool: Pool) -> Any:
    """For botocore's fetchers of container and instance credentials, which know a network's faults by one class."""

    class Session(session_class(pool)):  # type: ignore[misc]  # made above, at run time
        def acquire(self) -> Session:
            return self

        async def send(self, request: Any) -> Any:
            try:
                return await super().send(request)
            except NetworkFault as error:
                raise EndpointConnectionError(endpoint_url=request.url, error=error.message) from None

    return Session()


async def _note_sent(*_: Any) -> None:
    """When the request of the call that is being made was written.

    uvloop writes at the end of its turn, and another target's work (an RSA key that is checked) can make that long: the
    request has left for sure when the next turn begins.
    """
    call = current_call.get(None)
    if call is not None:
        loop = asyncio.get_running_loop()
        call.sent_at = loop.time()
        loop.call_soon(_note_left, call, loop)


def _note_left(call: Call, loop: asyncio.AbstractEventLoop) -> None:
    call.sent_at = loop.time()


def _noted(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The response's headers; its status and request ID are kept with the call that is being made."""
    headers = _headers(response)
    call = current_call.get(None)
    if call is not None:
        call.status = response.status
        call.request_id = headers.get("x-amzn-requestid") or headers.get("x-amz-request-id") or ""
    return headers


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Bytes that are no UTF-8 are shown escaped: one header must not cost the call."""
    return {_lower(name): value.decode("utf-8", "backslashreplace") for name, value in response.raw_headers}


@lru_cache(maxsize=128)
def _lower(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace").lower()


async def _read(response: aiohttp.ClientResponse, host: str) -> bytes:
    """Raises NetworkFault where the body is too large to be an answer."""
    length = response.content_length
    if length is not None and length <= MOST_OF_A_RESPONSE:
        return await response.read()
    body = bytearray()
    if length is None:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MOST_OF_A_RESPONSE:
                break
        else:
            return bytes(body)
    raise too_large(host, MOST_OF_A_RESPONSE)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _body(body: Any, *, chunked: bool) -> Any:
    """A file is passed on piece by piece: aiohttp would close it, and botocore may send it again."""
    if hasattr(body, "read") or chunked:
        return _pieces(body)
    return body


async def _pieces(file: Any) -> AsyncIterator[bytes]:
    while True:
        piece = file.read(_CHUNK)
        if inspect.isawaitable(piece):
            piece = await piece
        if not piece:
            return
        yield piece
