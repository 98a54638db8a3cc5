"""Quotas: how often each lane may call each operation, and what was counted at them.

Quotas are KMS's defaults per account and Region:
https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from bulk_import.aws.pace.pacing import Clock, PacedThrottler, Quickest, Sleep
from bulk_import.aws.pace.places import Places
from bulk_import.errors import Problem, SettingsError

SCARCE = "GetParametersForImport"  # it sets the pace of every lane

# Requests per second by quota. Operations that share a quota share its name (see QUOTA_OF).
DEFAULT_QUOTAS: dict[str, float] = {
    SCARCE: 1,
    "ImportKeyMaterial": 15,
    "DescribeKey": 2000,
    "GetPublicKey": 2000,
    "ListKeyRotations": 100,
    "CryptographicOperationsSymmetric": 10_000,  # 10,000 to 100,000 by Region; shared by symmetric and HMAC keys
    "CreateKey": 5,
    "CreateAlias": 5,
    "ReplicateKey": 5,  # counted in the primary's Region, and twice as CreateKey in the replica's
    "RotateKeyOnDemand": 5,
    "ListAliases": 500,
    "UpdateKeyDescription": 5,
    "TagResource": 10,
    "PutKeyPolicy": 15,
    "DeleteImportedKeyMaterial": 15,
    "GetKeyPolicy": 1000,
    "ListKeys": 500,
    "ListResourceTags": 2000,
    # https://docs.aws.amazon.com/tag-editor/latest/userguide/reference.html
    "GetResources": 15,
    "AssumeRole": 600,  # of the calling account; all STS operations share it
    # https://docs.aws.amazon.com/servicequotas/latest/userguide/reference_limits.html (it takes 5 more in a burst)
    "GetServiceQuota": 5,
}
OF_THE_CALLER = ("AssumeRole",)  # counted in the caller's account, not in the lane's
QUOTA_OF: dict[str, str] = {
    "Encrypt": "CryptographicOperationsSymmetric",
    "Decrypt": "CryptographicOperationsSymmetric",
    "GenerateMac": "CryptographicOperationsSymmetric",
    "VerifyMac": "CryptographicOperationsSymmetric",
    "GetCallerIdentity": "AssumeRole",
}


class LaneLimiter:
    """The throttlers of one lane, made when first needed, and what was counted at them."""

    def __init__(
        self,
        quotas: Mapping[str, float],
        *,
        margin: float,
        gate: Places,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
        quickest: dict[str, Quickest] | None = None,
    ) -> None:
        """`quickest`: by quota; shared with the lanes whose calls go the same way."""
        self._quotas = quotas
        self._quickest = {} if quickest is None else quickest
        self._margin = margin
        self._gate = gate
        self._clock = clock or asyncio.get_running_loop().time
        self._sleep = sleep
        self._throttlers: dict[str, PacedThrottler] = {}
        self.calls: Counter[str] = Counter()
        self.throttles: Counter[str] = Counter()

    def throttler(self, operation: str) -> PacedThrottler:
        """The throttler of the operation's quota."""
        quota = quota_of(operation)
        throttler = self._throttlers.get(quota)
        if throttler is None:
            throttler = self._throttlers[quota] = PacedThrottler(
                self._quotas[quota],
                margin=self._margin,
                clock=self._clock,
                sleep=self._sleep,
                gate=self._gate,
                quickest=self._quickest.setdefault(quota, Quickest()),
                scarce=quota == SCARCE,
            )
        return throttler

    def quota(self, operation: str) -> float:
        """Requests per second."""
        return self._quotas[quota_of(operation)]

    def change(self, quota: str, rate: float) -> None:
        """Another rate than the default's; before the first permit of that quota."""
        self._quotas = {**self._quotas, quota: rate}

    def quotas_used(self) -> dict[str, float]:
        """Quota of every operation that was called."""
        return {operation: self.quota(operation) for operation in sorted(self.calls)}

    def effective_rates(self) -> dict[str, float]:
        """Where throttling made an operation slower than its quota: the lowest rate that it came to."""
        return {
            quota: round(throttler.lowest_rate, 3)
            for quota, throttler in sorted(self._throttlers.items())
            if throttler.lowest_rate < throttler.rate / (1 + self._margin) * 0.999
        }


def quota_of(operation: str) -> str:
    """The name of the quota that counts this operation."""
    return QUOTA_OF.get(operation, operation)


def merge_quotas(changes: Mapping[str, float], *, shares: int = 1) -> dict[str, float]:
    """The defaults with --quota's changes. Raises SettingsError for an operation that no lane calls.

    `shares`: how many shards run at once. A quota that counts in the caller's account is divided among them; those of
    KMS count per lane, and a lane belongs to one shard.
    """
    unknown = [name for name in changes if quota_of(name) not in DEFAULT_QUOTAS]
    if unknown:
        names = ", ".join(sorted({*DEFAULT_QUOTAS, *QUOTA_OF}))
        raise SettingsError(
            [Problem("settings", 0, "--quota", f"{unknown[0]} is none of: {names}.", "Name one of them.")]
        )
    merged = DEFAULT_QUOTAS | {quota_of(name): rate for name, rate in changes.items()}
    return merged | {name: merged[name] / shares for name in OF_THE_CALLER}
