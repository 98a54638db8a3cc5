"""Eventual consistency: which moment of a key's history a read sees.

Two causes, both repeatable: a lag of some seconds on a share of the hosts (each read draws its host from a seeded
generator), and a written pattern of good and stale reads for one key.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

from bulk_import.sandbox.kms.keys import SandboxKey, Snapshot

READS = frozenset({"DescribeKey", "ListKeyRotations", "GetPublicKey"})
USES = frozenset({"Encrypt", "Decrypt", "GenerateMac", "VerifyMac", "Sign", "Verify"})
LAGGING = READS | USES | {"GetParametersForImport"}  # of the last one only whether the key is known yet


@dataclass(slots=True)
class StaleReads:
    """`pattern`: True is a stale read. It begins with the first change of the key, or at once."""

    pattern: list[bool]
    operations: frozenset[str]
    begun_at: int | None  # the number of changes that the key had when the pattern was set; None: begin at once
    served: int = 0


@dataclass(slots=True)
class Lag:
    """`seconds`: how far behind a slow host is; `share`: of the reads that reach one; `seed`: which ones do."""

    seconds: float = 0.0
    share: float = 0.5
    seed: int = 1
    patterns: dict[str, StaleReads] = field(default_factory=dict)  # key ARN →
    _draw: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - repeatable, no secret
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, seconds: float, share: float = 0.5, seed: int = 1) -> None:
        self.seconds, self.share, self.seed = seconds, share, seed
        self._draw = random.Random(seed)  # noqa: S311 - repeatable, no secret

    def stale_reads(self, key: SandboxKey, pattern: list[bool], operations: frozenset[str], *, at_once: bool) -> None:
        begun_at = None if at_once else key.changes
        self.patterns[key.arn] = StaleReads(pattern, operations, begun_at)

    def view(self, key: SandboxKey, operation: str) -> Snapshot | None:
        """What this read sees. None: the host does not know the key yet."""
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
            slow = self.seconds > 0 and operation in LAGGING and self._draw.random() < self.share
        return key.as_of(key.clock.now() - self.seconds) if slow else key.now()
