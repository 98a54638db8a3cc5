"""Request quotas: a token bucket per account, Region and quota, judged when the request arrives.

Capacity is one second's rate, at least 1, refilled continuously; a refused request takes nothing.
https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from bulk_import.sandbox.answers import AwsError

# quota → (requests per second, its code in Service Quotas; empty: not shown there)
DEFAULTS: dict[str, tuple[float, str]] = {
    "GetParametersForImport": (1, "L-515A0541"),
    "ImportKeyMaterial": (15, "L-99631835"),
    "DeleteImportedKeyMaterial": (15, "L-1233BF9B"),
    "CreateKey": (5, "L-32B67F4A"),
    "CreateAlias": (5, "L-F7504F73"),
    "UpdateAlias": (5, "L-DB3BF542"),
    "TagResource": (10, "L-7D6DE447"),
    "PutKeyPolicy": (15, "L-9DDDE6CA"),
    "ReplicateKey": (5, "L-E1C93865"),
    "RotateKeyOnDemand": (5, ""),
    "ListKeyRotations": (100, "L-171660E4"),
    "ListKeys": (500, "L-8A08DAEA"),
    "ListAliases": (500, "L-BF3F8F1D"),
    "DescribeKey": (2000, "L-FAE8F084"),
    "GetPublicKey": (2000, "L-E4FBCA5E"),
    "ListResourceTags": (2000, "L-FB6513A2"),
    "GetKeyPolicy": (1000, "L-A2A30EC6"),
    "GetKeyRotationStatus": (1000, "L-D7711EF4"),
    "ScheduleKeyDeletion": (15, "L-88313D4A"),
    "CancelKeyDeletion": (5, "L-635264CC"),
    "EnableKey": (5, "L-BD96F100"),
    "DisableKey": (5, "L-6B8C93BD"),
    "UpdatePrimaryRegion": (5, ""),
    "UpdateKeyDescription": (5, ""),
    "DeleteAlias": (15, ""),
    "UntagResource": (10, ""),
    "EnableKeyRotation": (15, ""),
    "DisableKeyRotation": (15, ""),
    "CreateGrant": (50, ""),
    "RevokeGrant": (30, ""),
    "RetireGrant": (30, ""),
    "ListGrants": (100, ""),
    "ListKeyPolicies": (100, ""),
    "cryptographic:symmetric": (10000, ""),
    "cryptographic:rsa": (1000, ""),
    "cryptographic:ecc": (1000, ""),
    "sts": (600, ""),
}
CRYPTOGRAPHIC = frozenset(
    [
        "Encrypt",
        "Decrypt",
        "ReEncrypt",
        "GenerateMac",
        "VerifyMac",
        "Sign",
        "Verify",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "DeriveSharedSecret",
        "GenerateRandom",
    ]
)
THROTTLED = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."


@dataclass(slots=True)
class Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class Quotas:
    """`enforce` False: nothing is throttled. `rates`: by quota, or more closely by (account, region, quota)."""

    enforce: bool = False
    rates: dict[str, float] = field(default_factory=dict)
    lane_rates: dict[tuple[str, str, str], float] = field(default_factory=dict)
    _buckets: dict[tuple[str, str, str], Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rate(self, account: str, region: str, quota: str) -> float | None:
        """Requests per second; None where no quota is known."""
        close = self.lane_rates.get((account, region, quota))
        if close is not None:
            return close
        return self.rates.get(quota, DEFAULTS[quota][0] if quota in DEFAULTS else None)

    def spend(self, account: str, region: str, quota: str, amount: float = 1.0) -> None:
        """Takes `amount` from the quota's bucket. Raises ThrottlingException."""
        rate = self.rate(account, region, quota) if self.enforce else None
        if rate is None:
            return
        capacity = max(1.0, rate, amount)
        now = time.monotonic()
        with self._lock:
            bucket = self._buckets.setdefault((account, region, quota), Bucket(capacity, now))
            bucket.tokens = min(capacity, bucket.tokens + (now - bucket.at) * rate)
            bucket.at = now
            if bucket.tokens < amount:
                if quota == "sts":
                    raise AwsError("Throttling", "Rate exceeded")
                raise AwsError("ThrottlingException", THROTTLED)
            bucket.tokens -= amount

    def configure(
        self,
        rates: dict[str, float],
        *,
        enforce: bool | None = None,
        account: str | None = None,
        region: str | None = None,
    ) -> None:
        """Sets rates, for one lane where account and Region are given. All buckets begin full again."""
        with self._lock:
            if enforce is not None:
                self.enforce = enforce
            if account and region:
                self.lane_rates |= {(account, region, quota): rate for quota, rate in rates.items()}
            else:
                self.rates |= rates
            self._buckets.clear()


def quota_of(operation: str, crypto_kind: str) -> str:
    """The quota that counts a KMS operation; `crypto_kind`: symmetric, rsa or ecc, by the key's spec."""
    return f"cryptographic:{crypto_kind}" if operation in CRYPTOGRAPHIC else operation
