"""The result of a target that has no `ended` in the journal: what is known of it, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bulk_import.codes import advice_for
from bulk_import.model import Change, Failure, Outcome, Request, Status, WrappingAlgorithm, WrappingKeySpec

IMPORT = "ImportKeyMaterial"

_MESSAGES = {
    "NotVerified": "KMS accepted the change, but the run was stopped ({why}) before it was verified.",
    "OutcomeUnknown": "The run was stopped ({why}) while a change was being made ({doubts}).",
    "Interrupted": "The run was stopped ({why}) between two tries.",
    "MaxFailures": "Not attempted: the run was stopped ({why}).",
    "Stopped": "Not attempted: the run was stopped ({why}).",
}


@dataclass(slots=True)
class Sent:
    """What the journal says of one kind of change since the target's first read."""

    attempts: int = 0
    accepted: bool = False  # one of them was answered ok
    in_doubt: bool = False  # one of them may have taken effect: no answer, or none yet
    pending: bool = False  # the last has no `answered` yet


@dataclass(slots=True)
class InFlight:
    """What the journal says of a target since its first read. One of them only for each target in flight."""

    since: str | None  # None: it was not started
    pinned: dict[str, Any] = field(default_factory=dict)
    intent: dict[str, Any] = field(default_factory=dict)  # the last import's
    last: str | None = None  # operation of the last intent
    sent: dict[str, Sent] = field(default_factory=dict)  # by operation
    requests: list[Request] = field(default_factory=list)
    key_material_id: str | None = None
    changed_before: bool = False  # a change took effect, and the target ended, before these

    def on_intent(self, event: dict[str, Any]) -> None:
        self.last = event["operation"]
        sent = self.sent.setdefault(self.last, Sent())
        sent.in_doubt = sent.in_doubt or sent.pending
        sent.attempts = max(sent.attempts + 1, event["attempt"])
        sent.pending = True
        if self.last == IMPORT:
            self.intent = event

    def on_answered(self, event: dict[str, Any]) -> None:
        if event["request_id"]:
            self.requests.append(Request(event["operation"], event["request_id"]))
        sent = self.sent.setdefault(event["operation"], Sent())
        sent.pending = False
        sent.accepted = sent.accepted or event["outcome"] == "ok"
        sent.in_doubt = sent.in_doubt or event["outcome"] not in ("ok", "refused")
        self.key_material_id = event.get("key_material_id") or self.key_material_id

    @property
    def attempts(self) -> int:
        """ImportKeyMaterial requests that were sent, or may have been."""
        return self.sent[IMPORT].attempts if IMPORT in self.sent else 0

    @property
    def doubts(self) -> list[str]:
        """Operations of which it is unknown whether they took effect."""
        return sorted(
            operation for operation, sent in self.sent.items() if (sent.in_doubt or sent.pending) and not sent.accepted
        )

    @property
    def code(self) -> str:
        if self.doubts:
            return "OutcomeUnknown"
        if self.changed_before or any(sent.accepted for sent in self.sent.values()):
            return "NotVerified"
        return "Interrupted" if self.sent else "Stopped"


def unfinished_outcome(target: Mapping[str, Any], known: InFlight | None, *, stopped_code: str, why: str) -> Outcome:
    """`target`: the journal's event. `stopped_code`: of a target for which no change was sent."""
    known = known or InFlight(since=None)
    code = stopped_code if known.code == "Stopped" else known.code
    changed = {"NotVerified": True, "OutcomeUnknown": None}.get(code, False)
    # What was found before a change says nothing of the key after it.
    found = known.pinned if changed is False else {}
    algorithm, size = known.intent.get("wrapping_algorithm"), known.intent.get("wrapping_key_spec")
    return Outcome(
        index=target.get("position", target["index"]),
        id=target["id"],
        account=target["account"],
        region=target["region"],
        key_id=target["key_id"],
        key_arn=known.pinned.get("key_arn"),
        status=Status.FAILED if known.last else Status.NOT_ATTEMPTED,
        changed=changed,
        changes=Change.made_by(operation for operation, sent in known.sent.items() if sent.accepted),
        key_spec=known.pinned.get("key_spec"),
        key_state=found.get("key_state"),
        expiration_model=found.get("expiration_model"),
        valid_to=_moment(found.get("valid_to")),
        key_material_id=known.key_material_id or found.get("key_material_id"),
        wrapping_algorithm=WrappingAlgorithm(algorithm) if algorithm else None,
        wrapping_key_spec=WrappingKeySpec(size) if size else None,
        verification=None,
        attempts=known.attempts,
        request_ids=tuple(known.requests),
        started_at=_moment(known.since),
        finished_at=None,
        error=Failure(
            code=code,
            operation=known.last,
            message=_MESSAGES[code].format(why=why, doubts=", ".join(known.doubts)),
            retryable=True,
            advice=advice_for(code),
        ),
    )


def not_read_again(result: dict[str, Any], *, why: str) -> dict[str, Any]:
    """The entry of a target that ended OK before a resume which has not read it again. `result`: what it was."""
    error = {
        "code": "NotVerified",
        "operation": None,
        "message": f"This target ended as {result['status']}; the resume was stopped ({why}) before it read it again.",
        "retryable": True,
        "advice": advice_for("NotVerified"),
    }
    return result | {"status": Status.FAILED.value, "error": error}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
