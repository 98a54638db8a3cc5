"""Faults on order: countable rules that spoil chosen calls.

A rule matches by operation, account, Region and key; it skips its first `after` matches, then fires `times` times
(None: forever). The effects:

    error           answers `status`, `code`, `message` instead of acting
    deny            AccessDeniedException as KMS words it (AccessDenied of STS), instead of acting
    http500         KMSInternalException, HTTP 500, instead of acting
    act_then_http500  acts, then answers HTTP 500
    delay           waits `seconds`, then acts
    act_then_delay  acts, then waits `seconds` before it answers
    drop            resets the connection instead of acting
    act_then_drop   acts, then resets the connection: the import is done, and no response says so
    truncate        acts, announces the whole body, sends half of it and resets
    malformed       acts, then answers 200 with broken JSON
    become          puts the call's key into `state`, then acts
    advance         moves the sandbox's clock by `seconds`, then acts: tokens, sessions and material age
    revoke, expire  ends the sessions of the caller's account, then acts: the next call is refused
    act_then_become, act_then_advance, act_then_revoke, act_then_expire   the same, after acting
    hang            does not act and does not answer; resets after `seconds` (60)

A call that waits continues at once when its rule is removed. When the sandbox is reset, so is its connection.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any

TURNS = ("become", "advance", "revoke", "expire")  # what happens to the world next to the call
EFFECTS = frozenset(
    [
        "error",
        "deny",
        "http500",
        "act_then_http500",
        "delay",
        "act_then_delay",
        "drop",
        "act_then_drop",
        "truncate",
        "malformed",
        "hang",
        *TURNS,
        *(f"act_then_{turn}" for turn in TURNS),
    ]
)


@dataclass(slots=True)
class Fault:
    """One rule and its counters: `matched` calls, of which `fired` were spoilt."""

    effect: str
    operation: str | None = None
    account: str | None = None
    region: str | None = None
    key: str | None = None  # as the request names it, or the key's ID or ARN
    after: int = 0
    times: int | None = 1
    status: int = 400
    code: str = "KMSInternalException"
    message: str = ""
    seconds: float = 60.0
    state: str = "Disabled"
    id: int = 0
    matched: int = 0
    fired: int = 0
    # Of the rule, not of all rules: a call that was chosen before the rule was removed never waits for a later one.
    removed: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise ValueError(f"unknown effect {self.effect!r}: one of {', '.join(sorted(EFFECTS))}")

    def matches(self, operation: str, account: str, region: str, names: frozenset[str]) -> bool:
        return (
            self.operation in (None, operation)
            and self.account in (None, account)
            and self.region in (None, region)
            and (self.key is None or self.key in names)
        )


@dataclass(slots=True)
class Faults:
    """All rules, in the order they were given; the first that fires decides."""

    rules: list[Fault] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, **fields: Any) -> Fault:
        """Raises ValueError or TypeError for a rule that makes no sense."""
        fault = Fault(**fields)
        with self._lock:
            fault.id = next(self._ids)
            self.rules.append(fault)
        return fault

    def choose(self, operation: str, account: str, region: str, names: frozenset[str]) -> Fault | None:
        """The rule that spoils this call, if any; counts it."""
        if not self.rules:
            return None
        with self._lock:
            for fault in self.rules:
                if not fault.matches(operation, account, region, names):
                    continue
                fault.matched += 1
                if fault.matched > fault.after and (fault.times is None or fault.fired < fault.times):
                    fault.fired += 1
                    return fault
        return None

    def clear(self, ids: Collection[int] | None = None) -> None:
        """Removes all rules, or those of `ids`, and lets the calls go that wait because of them."""
        with self._lock:
            removed = [fault for fault in self.rules if ids is None or fault.id in ids]
            self.rules = [fault for fault in self.rules if fault not in removed]
        for fault in removed:
            fault.removed.set()

    def listed(self) -> list[dict[str, Any]]:
        names = [each.name for each in fields(Fault) if each.name != "removed"]
        return [{name: getattr(fault, name) for name in names} for fault in self.rules]
