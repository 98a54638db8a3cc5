"""What a report says of the ceremony that its run was the last step of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bulk_import.model.fields import AccountId, Count, Instant, Sha256, about


@dataclass(frozen=True, slots=True, kw_only=True)
class CeremonyFile:
    """One file of a ceremony, and what vouched for it."""

    file: Annotated[str, about("As it was named.")]
    sha256: Annotated[Sha256, about("Its fingerprint.")]
    signed_by: Annotated[str | None, about("File of the public key that verified it. null: a fingerprint was given.")]
    made_at: Annotated[Instant, about("When it was begun.")]
    manifest_sha256: Annotated[Sha256, about("The manifest that its maker used.")]
    targets: Annotated[Count, about("Targets in it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CeremonyFacts:
    """Who prepared and sealed what was submitted."""

    bundle: Annotated[CeremonyFile, about("What `prepare` wrote.")]
    prepared_by_account: Annotated[AccountId, about("Account of the caller who prepared it.")]
    prepared_by: Annotated[str, about("ARN of the caller who prepared it.")]
    standby: Annotated[bool, about("Whether it was prepared for every target, as wanted or not.")]
    sealed: Annotated[list[CeremonyFile], about("What the custodians wrote with `seal`.")]
