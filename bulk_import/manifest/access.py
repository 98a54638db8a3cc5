"""How each account is entered: from the manifest, from its rows, or from --role and --external-id."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bulk_import.errors import ManifestError
from bulk_import.manifest import fields as check
from bulk_import.manifest.level import Level
from bulk_import.manifest.models import FIELDS_OF_ACCESS
from bulk_import.manifest.problems import Findings, problem
from bulk_import.model import AccountAccess, Expiry, Lane

ACCESS = frozenset(FIELDS_OF_ACCESS)


@dataclass(slots=True)
class Account:
    """What the manifest says of one account, for all of its targets."""

    id: str
    levels: tuple[Level, ...]  # nearest first: its own, defaults
    named_by: Level  # the entry that names it first
    named_at: tuple[str | int, ...]  # and the field there
    base: dict[str, Any]  # what its keys inherit
    regions: tuple[str, ...]
    expiry: Expiry
    rows: dict[str, tuple[Any, Level]] = field(default_factory=dict)  # its fields in rows, each with its first row
    broken_in_rows: set[str] = field(default_factory=set)  # its fields in rows that have a mistake
    lanes: dict[str, tuple[Lane, dict[str, int]]] = field(default_factory=dict)  # by Region; ids there → their lines

    def agree(self, row: Level, findings: Findings) -> None:
        """Takes the account's fields of a row. A row may leave them out; what it states must agree."""
        for name in FIELDS_OF_ACCESS:
            if name in row.fields:
                value = row.fields[name]
                known, first = self.rows.setdefault(name, (value, row))
                if known != value:
                    message = f"is not what line {first.line} states for account {self.id}"
                    row.report(findings, (name,), message, "Specify the same on all lines of an account.")

    def stated(self, name: str) -> tuple[Any, Level] | None:
        """The nearest statement of an access field, and where it stands."""
        if name in self.rows:
            return self.rows[name]
        return next(((level.fields[name], level) for level in self.levels if name in level.fields), None)

    def broken(self, name: str) -> bool:
        return name in self.broken_in_rows or any(name in level.broken for level in self.levels)

    def access(self, findings: Findings, partition: str, role: str | None, external_id: str | None) -> AccountAccess:
        """`role` and `external_id` serve where the manifest states none; a stated null stays null."""
        stated = self.stated("role")
        if stated is None and role is None and not self.broken("role"):
            advice = "Specify a role for it (null: the caller's own credentials), or use --role."
            self.named_by.report(findings, self.named_at, f"account {self.id} has no role", advice)
        text = stated[0] if stated else role
        arn = None if text is None else check.role_arn(text, partition, self.id)
        if arn is not None and (said := check.role_fits(arn, partition, self.id)):
            if stated is None:
                findings.problems.append(problem("--role", 0, "", *said))
            elif "role" not in stated[1].said:
                stated[1].said |= {"role"}
                stated[1].report(findings, ("role",), *said)
        outside = self.stated("external_id")
        if stated and outside and stated[0] is None and outside[0] is not None and outside[1] is stated[1]:
            message = "has no effect without a role"
            outside[1].report(findings, ("external_id",), message, "Omit it, or specify the role.")
        duration = self.stated("session_duration")
        return AccountAccess(
            account=self.id,
            role_arn=arn,
            external_id=None if arn is None else outside[0] if outside else external_id,
            session_duration=(duration and duration[0]) or 3600,
        )


def check_options(role: str | None, external_id: str | None) -> None:
    """Raises ManifestError where --role or --external-id is not one."""
    if role is not None and (said := check.role(role)):
        raise ManifestError([problem("--role", 0, "", *said)])
    if external_id is not None and (said := check.external_id(external_id)):
        raise ManifestError([problem("--external-id", 0, "", *said)])
