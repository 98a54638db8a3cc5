"""Secrets Manager, Parameter Store and S3 as sources of key material: the port Stores.

Asked as the caller, or as a role that the operator allows (--allow-source-role); never as a lane.
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from bulk_import.aws.answers import account_of_session
from bulk_import.aws.limits import SessionLimit
from bulk_import.aws.object_errors import CALLERS
from bulk_import.aws.wire.clients import Clients
from bulk_import.aws.wire.credentials import AccountCredentials, SigningAs, refreshed
from bulk_import.aws.wire.translate import translate
from bulk_import.codes import CODES, ENDS_ALL, STALE_CREDENTIALS, THROTTLED
from bulk_import.errors import (
    BulkImportError,
    CallerError,
    CallerFault,
    LaneError,
    MaterialError,
    ServiceError,
    SettingsError,
)
from bulk_import.material.sources.patience import Throttled
from bulk_import.model import SessionPolicy
from bulk_import.settings import Settings

_METHODS: Final = {
    "GetSecretValue": ("secretsmanager", "get_secret_value"),
    "GetParameter": ("ssm", "get_parameter"),
    "GetObject": ("s3", "get_object"),
}
_MISSING: Final = frozenset(
    ["ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound", "NoSuchKey", "NoSuchBucket",
     "NoSuchVersion"]
)  # fmt: skip
_DENIED: Final = frozenset(["AccessDeniedException", "AccessDenied"])
# What S3 and the query protocol say of credentials that are not valid there.
_NOT_ACCEPTED: Final = STALE_CREDENTIALS | CALLERS | {"InvalidSignatureException", "IncompleteSignature"}
_SECONDS: Final = 3600  # of a session; role chaining allows no more

Call = Callable[[], Awaitable[dict[str, Any]]]


class AwsStores:
    """Makes its clients when they are first needed. Close it at the end."""

    def __init__(self, settings: Settings, partition: str, policies: Mapping[str, Sequence[SessionPolicy]]) -> None:
        """`policies`: by the ARN of a role, what its sessions are limited to."""
        self._policies = policies
        self._settings = settings
        self._partition = partition
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._clients: Clients | None = None
        self._callers: Any = None
        self._roles: dict[str, AccountCredentials] = {}

    async def close(self) -> None:
        await self._stack.aclose()

    async def get(
        self, operation: str, request: Mapping[str, Any], *, region: str | None, role: str | None, limit: int
    ) -> Mapping[str, Any]:
        """One request, repeated only where the session of `role` is not valid any more. `region` None: the order of
        --sts-region. S3's `Body` is read, up to one byte more than `limit`. Raises MaterialError; `retryable` if a
        repeat can succeed.
        """
        try:
            clients = await self._made()
            region = region or clients.region
            service, method = _METHODS[operation]
            call = partial(getattr(await clients.store(service, region), method), **request)
            credentials = await self._credentials(role)
            try:
                return await self._once(operation, call, credentials, region, limit)
            except ServiceError as error:
                if role is None or error.code not in STALE_CREDENTIALS:
                    raise
                await self._of(role).renew(credentials)
            return await self._once(operation, call, await self._credentials(role), region, limit)
        except (CallerError, CallerFault) as error:
            raise MaterialError(error.message, code="SourceDenied", advice=error.advice) from None
        except LaneError as error:
            raise MaterialError(
                f"{role} cannot be assumed: {error.message}",
                code="SourceDenied",
                advice=error.advice if error.code in ENDS_ALL else "Check the role's trust policy.",
            ) from None
        except ServiceError as error:
            raise _translated(error) from None
        except SettingsError as error:
            said = "; ".join(f"{problem.field}: {problem.message.rstrip('.')}" for problem in error.problems)
            raise MaterialError(said, code="SourceFailed", advice=error.problems[0].advice) from None

    async def _credentials(self, role: str | None) -> Any:
        return await self._of(role).get() if role else self._callers

    async def _once(self, operation: str, call: Call, credentials: Any, region: str, limit: int) -> Mapping[str, Any]:
        try:
            with SigningAs(credentials):
                return await self._whole(call, limit + 1)
        except BulkImportError:
            raise
        except Exception as error:  # noqa: BLE001 - every vendor's exception is translated: parsers have their own
            raise translate(error, operation, region) from None

    async def _whole(self, call: Call, most: int) -> dict[str, Any]:
        """The response with its body. A time limit for each piece alone would let a trickle hold the run for hours."""
        seconds = 2 * self._settings.connect_timeout + self._settings.read_timeout
        try:
            async with asyncio.timeout(seconds):
                answer = await call()
                if "Body" in answer:
                    body = answer["Body"]
                    async with body:  # what this gives is not the body, which alone reads a part
                        answer["Body"] = await body.read(most)
                return answer
        except TimeoutError:
            raise MaterialError(
                f"no complete response came within {seconds:g} s", code="SourceUnavailable", retryable=True
            ) from None

    async def _made(self) -> Clients:
        async with self._lock:
            if self._clients is None:
                clients = await self._stack.enter_async_context(Clients(self._settings, "sources", self._partition))
                self._callers = await clients.caller_credentials()
                self._clients = clients
            return self._clients

    def _of(self, role: str) -> AccountCredentials:
        if role not in self._roles:
            limit = SessionLimit(role, self._policies.get(role, ()))
            self._roles[role] = AccountCredentials(partial(self._assume, role, limit), _SECONDS)
        return self._roles[role]

    async def _assume(self, role: str, limit: SessionLimit) -> dict[str, str]:
        clients = await self._made()
        client = await clients.store("sts", clients.region)

        async def call(policy: Mapping[str, str]) -> Any:
            try:
                with SigningAs(self._callers):
                    return await client.assume_role(RoleArn=role, RoleSessionName="bulk-import-source", **policy)
            except Exception as error:  # noqa: BLE001 - as above
                raise translate(error, "AssumeRole") from None

        try:
            answer = await limit.assume(call)
            assumed = account_of_session(answer)
        except ServiceError as error:
            if error.retryable:
                raise _translated(error) from None
            raise LaneError(error.message, code=error.code, operation="AssumeRole") from None
        if assumed != role.split(":")[4]:
            raise LaneError(f"it led into account {assumed}.", code="WrongAccount", operation="AssumeRole")
        return refreshed(answer)


def _translated(error: ServiceError) -> MaterialError:
    said = f"{error.message.rstrip('.')} ({error.operation}: {error.code})"
    if error.code in _MISSING:
        return MaterialError(said, code="MaterialNotFound", advice="Check name, version, Region and account.")
    if error.code in _DENIED:
        return MaterialError(
            said, code="SourceDenied",
            advice=f"Grant {error.operation} and, if a customer managed key encrypts it, kms:Decrypt: "
            "`bulk-import iam` prints the policy.",
        )  # fmt: skip
    if error.code in _NOT_ACCEPTED:  # a repeat with the same ones gets the same answer
        return MaterialError(
            f"the credentials are not accepted: {said}", code="SourceDenied",
            advice=CODES[error.code].advice
            if error.code in CODES
            else "Check the credentials that this program was started with, and the role of the source.",
        )  # fmt: skip
    if error.code in THROTTLED or error.code == "SlowDown":  # the latter is S3's
        return Throttled(said)
    if error.retryable:
        return MaterialError(said, code="SourceUnavailable", retryable=True)
    return MaterialError(said, code="SourceFailed")
