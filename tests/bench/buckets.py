"""KMS's and STS's request quotas: a token bucket per account, Region and quota.

Each bucket holds max(1, rate) tokens at most, starts full and refills continuously; a request takes one on
arrival or is throttled. https://docs.aws.amazon.com/kms/latest/developerguide/throttling.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Scope = tuple[str, str, str]  # account, Region, quota

# Requests per second by quota. https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html
QUOTAS: dict[str, float] = {
    "GetParametersForImport": 1,
    "ImportKeyMaterial": 15,
    "ListKeyRotations": 100,
    "DescribeKey": 2000,
    "GetPublicKey": 2000,
    "CryptographicOperations": 10_000,  # symmetric and HMAC share one; the lowest of the Regions
    "STS": 600,  # charged to the account that calls
}
# Operations that share a quota; every other one has a quota of its own name.
QUOTA_OF = {"GenerateMac": "CryptographicOperations", "AssumeRole": "STS", "GetCallerIdentity": "STS"}

_WHOLE = 1 - 1e-9  # one token, less what float addition loses


class Bucket:
    """One quota of one account and Region. Times are seconds of one monotonic clock, never running back."""

    __slots__ = ("capacity", "rate", "stamp", "tokens")

    def __init__(self, rate: float, now: float, *, others: float = 0) -> None:
        """`others`: requests per second that other principals of the account steadily use up, below `rate`."""
        self.rate = max(0.0, rate - others)
        self.capacity = max(1.0, rate)
        self.tokens = self.capacity
        self.stamp = now

    def take(self, now: float) -> bool:
        """Whether a request that arrives at `now` is let in."""
        self.tokens = min(self.capacity, self.tokens + (now - self.stamp) * self.rate)
        self.stamp = now
        if self.tokens < _WHOLE:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Quotas:
    """All buckets, made when first asked for. `enforced` False lets everything in."""

    enforced: bool = True
    overrides: Mapping[str, float] = field(default_factory=dict)  # by operation or quota
    others: Mapping[Scope, float] = field(default_factory=dict)  # what other principals use of a rate
    _buckets: dict[Scope, Bucket] = field(default_factory=dict)

    def admit(self, account: str, region: str, operation: str, now: float) -> bool:
        """Whether the request that arrives at `now` stays within its quota."""
        if not self.enforced:
            return True
        quota = QUOTA_OF.get(operation, operation)
        scope = (account, region, quota)
        bucket = self._buckets.get(scope)
        if bucket is None:
            bucket = self._buckets[scope] = self._make(scope, operation, now)
        return bucket.take(now)

    def _make(self, scope: Scope, operation: str, now: float) -> Bucket:
        rate = self.overrides.get(operation, self.overrides.get(scope[2], QUOTAS[scope[2]]))
        return Bucket(rate, now, others=self.others.get(scope, 0))

    def reset(self) -> None:
        self._buckets.clear()
