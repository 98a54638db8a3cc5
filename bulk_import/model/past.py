"""What an earlier run, or an earlier part of this one, has left behind of a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bulk_import.model.result import Change


@dataclass(frozen=True, slots=True)
class KnownMaterial:
    """What an earlier report proves of a symmetric key: the ID that KMS gave the source's material."""

    key_material_id: str
    material_check: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What an earlier part of the same run is known to have sent of one kind of change of one target."""

    attempts: int = 0  # requests that were sent, or may have been
    accepted: bool = False  # one was answered with 200
    in_doubt: bool = False  # one got no clear answer


@dataclass(frozen=True, slots=True)
class Past:
    """What an earlier part of the same run, before it was killed or stopped, is known to have done with a target."""

    key_arn: str  # that key_id was resolved to; it must still be. Empty: no key was found or created yet
    key_state: str  # as found before the first change; empty as above
    expiration_model: str | None
    valid_to: datetime | None
    sent: Mapping[str, Sent] = field(default_factory=dict)  # by operation, in order of the first intent
    key_material_id: str | None = None  # that KMS answered
    key_spec: str | None = None  # as found; it never changes
    ended_as: str | None = None  # the Status with which the target ended OK, if it ever did
    rechecks: bool = False  # it did last: it is only read again
    changed: bool = False  # a change took effect and was verified
    changes: tuple[Change, ...] = ()  # which ones, as the result said
    ended_state: str | None = None  # the key's state then
    asked_valid_to: datetime | None = None  # of the last import: not always the one that the run fixed at its start
    material_ids: Mapping[str, str] = field(default_factory=dict)  # of `materials`: by name, what KMS answered

    def of(self, operation: str) -> Sent:
        return self.sent.get(operation, Sent())
