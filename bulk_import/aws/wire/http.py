"""The HTTP sessions beneath the clients: connections shared by all Regions, and the time of sending.

aiobotocore makes a session, a connection pool and a TLS context for each client. Loading the CA bundle blocks the
event loop for 25 ms each time, which with ten Regions delayed the first permits by half a second; and pools that are
bounded each by themselves add up to more connections than a process may have.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from bulk_import.aws.wire import tls
from bulk_import.aws.wire.credentials import Call, current_call

tls.verify()


async def _note_sent(*_: Any) -> None:
    """The request's head is about to be written: after signing, after the connection was made.

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


def shared_session_class(*, timed: bool) -> type[AIOHTTPSession]:
    """For AioConfig's http_session_cls: all sessions of the class have one connection pool (for each proxy).

    `timed`: note when each request was sent. It costs 30 microseconds a call, and only scarce permits need it.
    """
    connectors: dict[str | None, aiohttp.TCPConnector] = {}
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_note_sent)
    trace.freeze()

    class SharedSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            limits: aiohttp.ClientTimeout = vars(self)["_timeout"]
            # aiobotocore's limits leave out what a proxy is asked for before TLS: one that takes the connection and
            # then says nothing would hold the call forever. Twice, for a proxy's own connection and the one behind.
            self._timeout = aiohttp.ClientTimeout(
                connect=2 * limits.sock_connect if limits.sock_connect else None,
                sock_connect=limits.sock_connect,
                sock_read=limits.sock_read,
            )

        def _create_connector(self, proxy_url: str | None) -> aiohttp.TCPConnector:
            connector = connectors.get(proxy_url)
            if connector is None:
                connector = connectors[proxy_url] = super()._create_connector(proxy_url)
            return connector

        async def _get_session(self, proxy_url: str | None) -> aiohttp.ClientSession:
            known = proxy_url in self._sessions
            session: aiohttp.ClientSession = await super()._get_session(proxy_url)
            if timed and not known:
                session.trace_configs.append(trace)
            return session

    return SharedSession
