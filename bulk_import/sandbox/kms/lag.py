"""Eventual consistency: which moment of a key's history a read sees.

Two causes, both repeatable: a lag of some seconds on a share of the hosts (each request draws its host from a seeded
generator), and a written pattern of good and stale reads for one key. A slow host does not know the latest keys,
aliases, tags, key policies and grants either. A change is always judged by the true state, once its key is found.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

from bulk_import.sandbox.kms.keys import SandboxKey, Snapshot

READS = frozenset({"DescribeKey", "ListKeyRotations", "GetPublicKey"})


@dataclass(slots=True)
class StaleReads:
    """`pattern`: True is a stale read. It begins with the first change of the key, or at once."""

    pattern: list[bool]
    operations: frozenset[str]
    begun_at: int | None  # the number of changes that the key had when the pattern was set; None: begin at once
    served: int = 0


@dataclass(slots=True)
class Lag:
    """`seconds`: how far behind a slow host is; `share`: of the requests that reach one; `seed`: which ones do.

    `authorization`: for how many seconds new aliases, tags, key policies and grants count for no permission, at any
    host (https://docs.aws.amazon.com/kms/latest/developerguide/abac.html: up to five minutes).
    """

    seconds: float = 0.0
    authorization: float = 0.0
    share: float = 0.5
    seed: int = 1
    patterns: dict[str, StaleReads] = field(default_factory=dict)  # key ARN →
    _draw: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - repeatable, no secret
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, seconds: float, share: float = 0.5, seed: int = 1, authorization: float = 0.0) -> None:
        self.seconds, self.share, self.seed, self.authorization = seconds, share, seed, authorization
        self._draw = random.Random(seed)  # noqa: S311 - repeatable, no secret

    def stale_reads(self, key: SandboxKey, pattern: list[bool], operations: frozenset[str], *, at_once: bool) -> None:
        begun_at = None if at_once else key.changes
        self.patterns[key.arn] = StaleReads(pattern, operations, begun_at)

    def draw(self, now: float) -> float | None:
        """Which host answers a request: the moment whose state a slow one knows; None: it knows everything."""
        with self._lock:
            slow = self.seconds > 0 and self._draw.random() < self.share
        return now - self.seconds if slow else None

    def view(self, key: SandboxKey, operation: str, at: float | None) -> Snapshot | None:
        """What a read of a key's state sees at a host of draw(). None: the host does not know the key yet."""
        with self._lock:
            rule = self.patterns.get(key.arn)
            if rule and operation in rule.operations and rule.begun_at != key.changes:
                rule.begun_at = None
                rule.served += 1
                if rule.served <= len(rule.pattern) and rule.pattern[rule.served - 1]:
                    return key.before_last_change()
                if rule.served >= len(rule.pattern):
                    del self.patterns[key.arn]
                return key.now()
        return key.now() if at is None else key.as_of(at)
