"""Keys that `discover` found: what a manifest of them can say."""

from __future__ import annotations

from dataclasses import dataclass, field

from bulk_import.model.kms import KeyRotation, KeyView
from bulk_import.model.target import Lane


@dataclass(frozen=True, slots=True)
class FoundKey:
    """One key of Origin EXTERNAL, as KMS shows it."""

    lane: Lane
    view: KeyView
    aliases: tuple[str, ...]  # in order of their names
    materials: tuple[KeyRotation, ...] = ()  # symmetric keys only; oldest first

    @property
    def key_id(self) -> str:
        return self.view.arn.rsplit("/", 1)[-1]

    @property
    def primary(self) -> bool:
        """Whether it is the primary key of a multi-Region key."""
        return self.view.multi_region and self.view.primary_region == self.lane.region


@dataclass(frozen=True, slots=True)
class NotRead:
    """A lane, or (`key_arn`) one key, that could not be read."""

    lane: Lane
    code: str
    message: str
    advice: str
    key_arn: str | None = None


@dataclass(slots=True)
class Inventory:
    """What one lane holds. `listed`: its keys of any kind."""

    lane: Lane
    listed: int = 0
    keys: list[FoundKey] = field(default_factory=list)
    not_read: list[NotRead] = field(default_factory=list)
    reached: bool = False  # its keys could be listed
