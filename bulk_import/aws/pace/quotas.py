"""`--quotas service-quotas`: how often a lane may call KMS, as Service Quotas says it of the lane's account and Region.

https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import structlog

from bulk_import.aws.pace.limiter import LaneLimiter
from bulk_import.aws.pace.places import Places
from bulk_import.aws.pace.retry import Retry
from bulk_import.aws.wire.trace import Traced
from bulk_import.aws.wire.translate import translate
from bulk_import.codes import STALE_CREDENTIALS
from bulk_import.errors import BulkImportError, ServiceError
from bulk_import.model import Lane

OPERATION = "GetServiceQuota"
# Only what sets a lane's pace is asked for, two calls a lane: it never comes near KMS's other quotas, which are a
# hundred times the scarce one or more. https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html
CODES = {"GetParametersForImport": "L-515A0541", "ImportKeyMaterial": "L-99631835"}
PATIENCE = 10.0  # seconds in which a failed read is repeated: the lane waits for it, and has the defaults without it

log = structlog.get_logger()


class AppliedQuotas:
    """One lane's quotas, read once. What cannot be read stays at the default, with one warning an account."""

    def __init__(
        self,
        lane: Lane,
        client: Any,
        *,
        limiter: LaneLimiter,
        gate: Places,
        retry_timeout: float,
        stated: Iterable[str],
        warned: set[str],
    ) -> None:
        """`limiter` is Service Quotas' own, which counts its calls by account and Region as well; `stated`: quotas
        that --quota sets, which are not asked for; `warned`: accounts that had their warning, shared by all lanes."""
        self._lane = lane
        self._client = client
        self._limiter = limiter
        self._gate = gate
        self._retry = Retry(min(PATIENCE, retry_timeout), 0.0)
        self._codes = {name: code for name, code in CODES.items() if name not in set(stated)}
        self._warned = warned
        self._lock = asyncio.Lock()

    async def tell(self, kms: LaneLimiter, credentials: Any, check_arn: Callable[[str, str | None], None]) -> None:
        """Sets the lane's limiter before its first call; costs nothing after that.

        A read that fails is no failure of the lane. Raises LaneError where the credentials turn out not to work, or
        where `check_arn` finds that the answer is another account's.
        """
        async with self._lock:
            while self._codes:
                name, code = next(iter(self._codes.items()))
                try:
                    quota = await self._retry(partial(self._ask, code, credentials))
                except ServiceError as error:
                    self._warn(error)
                    self._codes.clear()
                    return
                if quota.get("QuotaArn", "").split(":")[4:5] != [""]:  # a value that is everyone's names no account
                    check_arn(OPERATION, quota.get("QuotaArn"))
                kms.change(name, float(quota["Value"]))
                del self._codes[name]

    async def _ask(self, code: str, credentials: Any) -> dict[str, Any]:
        began = time.monotonic()
        await self._limiter.throttler(OPERATION).acquire()
        try:
            place = {"account": self._lane.account, "region": self._lane.region}
            with Traced(OPERATION, credentials, began=began, **place):
                answer = await self._client.get_service_quota(ServiceCode="kms", QuotaCode=code)
        except BulkImportError:
            raise  # ours already: a credentials refresh inside the signature failed
        except Exception as error:  # noqa: BLE001 - every vendor's exception is translated: none may fail the lane
            ours = translate(error, OPERATION, self._lane.region)
            if ours.code in STALE_CREDENTIALS:
                ours.retryable = False  # the same ones would be refused again; the lane's KMS calls make new ones
            raise ours from None
        finally:
            self._gate.release()
        quota: dict[str, Any] = answer.get("Quota") or {}
        if quota.get("QuotaCode", code) != code:
            found = f"The response is for the quota {quota['QuotaCode']}, not {code}."
            raise ServiceError(found, code="MalformedAnswer", operation=OPERATION)
        value = quota.get("Value")
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ServiceError(f"The response's Value is {value!r}.", code="MalformedAnswer", operation=OPERATION)
        return quota

    def _warn(self, error: ServiceError) -> None:
        if self._lane.account in self._warned:
            return
        self._warned.add(self._lane.account)
        log.warning(
            "the account's quotas cannot be read; KMS's defaults are kept to",
            account=self._lane.account,
            region=self._lane.region,
            code=error.code,
            error=error.message,
            advice="Allow servicequotas:GetServiceQuota to the role, or specify the rates with --quota.",
        )
