"""Who the caller is, and the roles it assumes: one AssumeRole per account.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from bulk_import.aws.answers import account_of_session
from bulk_import.aws.limits import SessionLimit
from bulk_import.aws.pace.limiter import LaneLimiter
from bulk_import.aws.pace.places import Places
from bulk_import.aws.pace.retry import Retry
from bulk_import.aws.wire.credentials import AccountCredentials, refreshed
from bulk_import.aws.wire.trace import Traced
from bulk_import.aws.wire.translate import translate
from bulk_import.codes import STALE_CREDENTIALS, UNSUPPORTED
from bulk_import.errors import BulkImportError, CallerError, CallerFault, LaneError, ServiceError
from bulk_import.model import AccountAccess
from bulk_import.shown import shown

FIRST_CALL_PATIENCE = 30.0  # seconds
_NEEDED = {
    "GetCallerIdentity": frozenset({"Account", "Arn"}),
    "AssumeRole": frozenset({"AssumedRoleUser", "Credentials"}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who started the run. `server`: the Server header of the answer, which shows a sandbox."""

    account: str
    arn: str
    server: str = ""


class Sts:
    """STS for a whole run: its quota is the calling account's, also for roles of other accounts."""

    def __init__(
        self, client: Any, credentials: Any, *, limiter: LaneLimiter, gate: Places, run_id: str,
        retry: Retry,
    ) -> None:  # fmt: skip
        self._client = client
        self._credentials = credentials
        self._limiter = limiter
        self._gate = gate
        self._session_name = f"bulk-import-{run_id}"  # CloudTrail shows it: it joins the trail to the report
        self._retry = retry

    async def caller(self) -> Caller:
        """Raises CallerError: without working credentials nothing can be done for any target."""
        try:
            # The run's first call: a wrong endpoint or a closed network must be reported at once, not after minutes.
            patience = replace(self._retry, timeout=min(self._retry.timeout, FIRST_CALL_PATIENCE))
            answer = await patience(lambda: self._call("GetCallerIdentity", {}))
        except CallerFault as error:
            raise CallerError(error.message, code=error.code, advice=error.advice) from None
        except ServiceError as error:
            # Otherwise no one looked at the credentials.
            reached = error.code not in {"ConnectionFailed", "MalformedAnswer", *UNSUPPORTED}
            raise CallerError(
                f"{'The credentials of the caller do not work' if reached else 'STS cannot be reached'}: "
                f"{error.message} (GetCallerIdentity)",
                code=error.code,
                advice=error.advice,
            ) from None
        headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
        return Caller(str(answer["Account"]), str(answer["Arn"]), str(headers.get("server", "")))

    def account(
        self, access: AccountAccess, caller: Caller, limit: SessionLimit
    ) -> AccountCredentials | OwnCredentials:
        """The credentials of one account, not yet asked for. `limit`: of the sessions of its role."""
        if access.role_arn is None:
            return OwnCredentials(self._credentials, access.account, caller)
        return AccountCredentials(self._assume(access, limit), access.session_duration)

    def _assume(self, access: AccountAccess, limit: SessionLimit) -> Callable[[], Awaitable[dict[str, str]]]:
        request: dict[str, Any] = {
            "RoleArn": access.role_arn,
            "RoleSessionName": self._session_name,
            "DurationSeconds": access.session_duration,
        }
        if access.external_id is not None:
            request["ExternalId"] = access.external_id

        async def assume() -> dict[str, str]:
            try:
                answer = await limit.assume(
                    lambda policy: self._retry(lambda: self._call("AssumeRole", {**request, **policy}))
                )
            except ServiceError as error:
                raise LaneError(
                    shown(f"The role {access.role_arn} cannot be assumed: {error.message}"),
                    code=error.code,
                    operation="AssumeRole",
                    retryable=error.retryable,
                    advice=error.advice,
                ) from None
            assumed = account_of_session(answer)
            if assumed != access.account:
                raise LaneError(
                    f"The role {shown(access.role_arn or '')} led into account {assumed}, not {access.account}.",
                    code="WrongAccount",
                    operation="AssumeRole",
                )
            return refreshed(answer)

        return assume

    async def _call(self, operation: str, request: dict[str, Any]) -> Any:
        began = time.monotonic()
        await self._limiter.throttler(operation).acquire()
        self._limiter.calls[operation] += 1
        region = str(self._client.meta.region_name)
        try:
            with Traced(operation, self._credentials, began=began, service="sts", region=region):
                method = {"AssumeRole": "assume_role", "GetCallerIdentity": "get_caller_identity"}[operation]
                answer = await getattr(self._client, method)(**request)
        except BulkImportError:
            raise
        except Exception as error:  # noqa: BLE001 - every vendor's exception is translated: parsers have their own
            ours = translate(error, operation, region)
            if ours.code in STALE_CREDENTIALS:
                ours.retryable = False  # they are the caller's own: asking again makes no others
            raise ours from None
        finally:
            self._gate.release()
        if not _NEEDED[operation] <= answer.keys():
            raise ServiceError("The response is empty.", code="MalformedAnswer", operation=operation, retryable=True)
        if operation == "AssumeRole":
            account_of_session(answer)  # here, where it is asked for again
        return answer


class OwnCredentials:
    """`role: null`: the caller's own credentials, which serve the caller's own account only."""

    def __init__(self, credentials: Any, account: str, caller: Caller) -> None:
        self._credentials = credentials
        self._account = account
        self._caller = caller

    async def get(self) -> Any:
        """Raises LaneError where the account is not the caller's."""
        if self._account != self._caller.account:
            raise LaneError(
                f"Account {self._account} has role: null, but the caller's credentials are of account "
                f"{self._caller.account}.",
                code="WrongAccount",
                operation="GetCallerIdentity",
                advice="Specify a role for the account, or start the run with that account's credentials.",
            )
        return self._credentials

    async def renew(self, used: Any) -> None:  # noqa: ARG002 - as AccountCredentials has it
        """The caller's credentials refresh themselves, or not at all. Raises LaneError: no role can be assumed."""
        raise LaneError(
            "The caller's own credentials have expired or were revoked.",
            code="ExpiredTokenException",
            operation="AssumeRole",
            advice="Give the run credentials that outlive it or refresh themselves, and continue with --resume.",
        )
