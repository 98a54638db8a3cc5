"""Selection and guards: which targets of a manifest are meant, and whether it may name what it names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from bulk_import.manifest.access import Account
from bulk_import.manifest.problems import Findings, nearest, problem
from bulk_import.model import FailedTargets, Lane

_NEAR = 20_000  # names that are searched for the nearest: a hint is not worth minutes


@dataclass(frozen=True, slots=True)
class Selection:
    """`or` within accounts, Regions and ids; `and` between them. Empty: all."""

    accounts: Sequence[str] = ()
    regions: Sequence[str] = ()
    ids: Sequence[str] = ()
    failed: FailedTargets | None = None  # of an earlier run

    def predicate(self) -> Callable[[str, Lane], bool] | None:
        """(id, lane) → whether it is meant; None where everything is."""
        accounts, regions, ids = frozenset(self.accounts), frozenset(self.regions), frozenset(self.ids)
        failed = None if self.failed is None else self.failed.targets
        if failed is None and not (accounts or regions or ids):
            return None
        return lambda key, lane: (
            (failed is None or (key, lane.account, lane.region) in failed)
            and (not accounts or lane.account in accounts)
            and (not regions or lane.region in regions)
            and (not ids or key in ids)
        )

    def check(self, accounts: Iterable[Account], selected: int, findings: Findings) -> None:
        """Reports each value that matches nothing of the manifest, and a selection that comes out empty."""
        there = list(accounts)
        lanes = [lane for account in there for lane in account.lanes.values()]
        before = len(findings.problems)
        _match("--only-account", self.accounts, {account.id for account in there}, findings)
        _match("--only-region", self.regions, {lane.region for lane, _ in lanes}, findings)
        if self.ids:
            _match("--only-id", self.ids, {key for _, ids in lanes for key in ids}, findings)
        if self.failed is not None and not self.failed.targets:
            message = "no target of this report failed or was not attempted: there is nothing to select"
            findings.problems.append(problem(self.failed.name, 0, "--only-failed", message, "Omit --only-failed."))
        if not selected and len(findings.problems) == before:
            message = "no target is selected: each --only-… matches something, but no target matches all"
            findings.add(0, "", message, "Loosen the selection.")


def _match(option: str, wanted: Sequence[str], known: Collection[str], findings: Findings) -> None:
    for value in wanted:
        if value not in known:
            advice = nearest(value, islice(known, _NEAR)) or "Nothing in the manifest is near it."
            findings.problems.append(problem(option, 0, "", f"{value} matches nothing", advice))


def guard(
    accounts: Iterable[Account], also: Iterable[tuple[str, int]], allowed: Sequence[str], findings: Findings
) -> None:
    """--allow-account: reports every account that the manifest names and no one allowed. `also`: with their lines."""
    if not allowed:
        return
    advice = "Remove it from the manifest, or allow it with --allow-account."
    reported = set(allowed)
    for account in accounts:
        if account.id not in reported:
            reported.add(account.id)
            account.named_by.report(findings, account.named_at, f"account {account.id} is not allowed", advice)
    for name, line in also:
        if name not in reported:
            findings.add(line, f"accounts.{name}", f"account {name} is not allowed", advice)
