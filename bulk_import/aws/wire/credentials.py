"""One assumed role per account, refreshed before it expires, chosen per call by the lane that calls.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials

from bulk_import.errors import LaneError

_CLOCKS = "Set this machine's clock (NTP). If it is right, the endpoint for STS has a wrong one."


@dataclass(slots=True)
class Call:
    """A call that is being made: who signs it, and when it was sent (the event loop's time; None: not yet).

    `status`, `request_id`: of its response; 0 and empty where none came.
    """

    credentials: AioCredentials
    sent_at: float | None = None
    status: int = 0
    request_id: str = ""


# It has no default: a call outside a lane raises LookupError instead of going, silently, to the caller's own account.
current_call: ContextVar[Call] = ContextVar("the call being made")


class SigningAs:
    """A call made inside this context is signed with these credentials. A class, for a generator costs 3 µs more."""

    __slots__ = ("_call", "_outer")

    def __init__(self, credentials: AioCredentials) -> None:
        self._call = Call(credentials)

    def __enter__(self) -> Call:
        self._outer = current_call.set(self._call)
        return self._call

    def __exit__(self, *_exc: object) -> None:
        current_call.reset(self._outer)


class CurrentCredentials(AioCredentials):  # type: ignore[misc]  # aiobotocore has no types
    """What every client holds: it signs with the credentials of the lane that calls."""

    def __init__(self) -> None:
        super().__init__("chosen-per-call", "chosen-per-call", method="bulk-import-lane")

    async def get_frozen_credentials(self) -> Any:
        return await current_call.get().credentials.get_frozen_credentials()

    async def get_account_id(self) -> None:
        """None: endpoints are not made from account IDs, since a client serves many accounts."""


class CurrentCredentialsProvider:
    """The botocore component that hands CurrentCredentials to every client of the session."""

    def __init__(self) -> None:
        self._credentials = CurrentCredentials()

    async def load_credentials(self) -> CurrentCredentials:
        return self._credentials


def _now() -> datetime:
    return datetime.now(UTC)


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


class AccountCredentials:
    """An account's credentials: one AssumeRole when first asked for, also if several lanes ask at the same time.

    `assume` answers botocore's metadata (access_key, secret_key, token, expiry_time) or raises. A refusal is
    remembered, so that an account whose role is denied costs one call, and every target of it the same error.
    """

    def __init__(self, assume: Callable[[], Awaitable[dict[str, str]]], session_duration: int) -> None:
        self._assume = assume
        self._duration = session_duration
        self._credentials: AioRefreshableCredentials | None = None
        self._refusal: LaneError | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> AioCredentials:
        """Raises LaneError where the role cannot be assumed."""
        if self._credentials is not None:
            return self._credentials
        async with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._credentials is None:
                try:
                    metadata = await self._unexpired()
                except LaneError as error:
                    self._refusal = error
                    raise
                # botocore's windows (15 and 10 minutes) would refresh a 900 s session at nearly every signature.
                self._credentials = AioRefreshableCredentials(
                    metadata["access_key"],
                    metadata["secret_key"],
                    metadata["token"],
                    datetime.fromisoformat(metadata["expiry_time"]),
                    refresh_using=self._unexpired,
                    time_fetcher=_now,  # botocore's asks for the machine's time zone, at every signature
                    method="assume-role",
                    advisory_timeout=self._duration // 4,
                    mandatory_timeout=self._duration // 6,
                )
            return self._credentials

    async def _unexpired(self) -> dict[str, str]:
        """Raises LaneError where a session has ended before it began: one of the two clocks is wrong."""
        metadata = await self._assume()
        expiry, now = datetime.fromisoformat(metadata["expiry_time"]), _now()
        if expiry <= now:
            raise LaneError(
                f"The session that STS has just begun ended at {_text(expiry)}, and it is {_text(now)} by this "
                "machine's clock.",
                code="ClockSkew",
                operation="AssumeRole",
                advice=_CLOCKS,
            )
        return metadata

    async def renew(self, used: AioCredentials) -> None:
        """Forgets credentials that AWS called expired or unknown, unless another call has done so already."""
        async with self._lock:
            if self._credentials is used:
                self._credentials = None


def refreshed(answer: Any) -> dict[str, str]:
    """AssumeRole's response as botocore's metadata of refreshable credentials."""
    found = answer["Credentials"]
    return {
        "access_key": found["AccessKeyId"],
        "secret_key": found["SecretAccessKey"],
        "token": found["SessionToken"],
        "expiry_time": found["Expiration"].isoformat(),
    }
