"""The expiry that the levels of a target add up to."""

from __future__ import annotations

from bulk_import.manifest import fields as check
from bulk_import.manifest.level import Level
from bulk_import.manifest.problems import Findings
from bulk_import.model import NEVER, Expiry

FIELDS = ("valid_to", "valid_for", "renew_before")


class Expiries:
    """Resolves levels, nearest first; equal expiries are one object.

    valid_to and valid_for are one setting: the nearest level that states either replaces both. renew_before inherits
    by itself; but where a nearer level says another expiry than valid_for, it goes with what was replaced.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._known: dict[tuple[str | None, ...], Expiry] = {}

    def resolve(self, *levels: Level) -> Expiry:
        if any(not level.broken.isdisjoint(FIELDS) for level in levels):
            return NEVER  # already reported
        last = len(levels)
        at = next((n for n, level in enumerate(levels) if {"valid_to", "valid_for"} & level.fields.keys()), last)
        renew_at = next((n for n, level in enumerate(levels) if "renew_before" in level.fields), last)
        stated = levels[at].fields if at < last else {}
        valid_to, valid_for = stated.get("valid_to"), stated.get("valid_for")
        renew = levels[renew_at].fields["renew_before"] if renew_at < last else None
        if renew is not None and valid_for is None:
            if renew_at <= at:
                advice = "Specify valid_for, or omit renew_before."
                levels[renew_at].report(self._findings, ("renew_before",), "needs valid_for", advice)
            renew = None
        known = self._known.get((valid_to, valid_for, renew))
        return known or self._make(levels[min(at, renew_at, last - 1)], valid_to, valid_for, renew)

    def _make(self, nearest: Level, valid_to: str | None, valid_for: str | None, renew: str | None) -> Expiry:
        expiry = NEVER
        if valid_for is not None:
            lasts = check.duration(valid_for)
            before = None if renew is None else check.duration(renew)
            if before is not None and before >= lasts:
                field = "renew_before" if "renew_before" in nearest.fields else "valid_for"
                message = f"renew_before {renew} is not smaller than valid_for {valid_for}"
                nearest.report(self._findings, (field,), message, "Specify a smaller renew_before there.")
                return NEVER
            expiry = Expiry(valid_for=lasts, renew_before=before)
        elif valid_to is not None and valid_to != "never":
            expiry = Expiry(valid_to=check.instant(valid_to))
        self._known[valid_to, valid_for, renew] = expiry
        return expiry
