"""The entry of a target that has no `ended` in the journal: what is known of it, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bulk_import.codes import advice_for
from bulk_import.model import Status

IMPORT = "ImportKeyMaterial"

_MESSAGES = {
    "NotVerified": "The import was accepted, but the run was stopped ({why}) before it was verified.",
    "OutcomeUnknown": "The run was stopped ({why}) while an import was under way.",
    "Interrupted": "The run was stopped ({why}) between two tries.",
    "MaxFailures": "Not attempted: the run was stopped ({why}).",
    "Stopped": "Not attempted: the run was stopped ({why}).",
}


@dataclass(slots=True)
class Unfinished:
    """What the journal says of a target since its first read. One of them only for each target in flight."""

    since: str
    pinned: dict[str, Any] = field(default_factory=dict)
    intent: dict[str, Any] = field(default_factory=dict)  # the last
    attempts: int = 0
    accepted: bool = False  # one of them was answered ok
    in_doubt: bool = False  # one of them may have taken effect: no answer, or none yet
    pending: bool = False  # the last has no `answered` yet
    requests: list[dict[str, str]] = field(default_factory=list)
    key_material_id: str | None = None

    def on_intent(self, event: dict[str, Any]) -> None:
        if event["operation"] != IMPORT:
            return
        self.in_doubt = self.in_doubt or self.pending
        self.intent = event
        self.attempts += 1
        self.pending = True

    def on_answered(self, event: dict[str, Any]) -> None:
        if event["request_id"]:
            self.requests.append({"operation": event["operation"], "request_id": event["request_id"]})
        if event["operation"] != IMPORT:
            return
        self.pending = False
        self.accepted = self.accepted or event["outcome"] == "ok"
        self.in_doubt = self.in_doubt or event["outcome"] not in ("ok", "refused")
        self.key_material_id = event.get("key_material_id") or self.key_material_id

    @property
    def code(self) -> str:
        if self.accepted:
            return "NotVerified"
        if self.in_doubt or self.pending:
            return "OutcomeUnknown"
        return "Interrupted" if self.attempts else "Stopped"


def unfinished_entry(
    target: dict[str, Any], known: Unfinished | None, *, stopped_code: str, why: str
) -> dict[str, Any]:
    """The entry in the report's order of fields. `stopped_code`: of a target that no import was sent for."""
    code = known.code if known else "Stopped"
    if code == "Stopped":
        code = stopped_code
    changed = {"NotVerified": True, "OutcomeUnknown": None}.get(code, False)
    pinned = known.pinned if known else {}
    # What was found before an import says nothing of the key after it.
    found = pinned if changed is False else {}
    attempted = known is not None and known.attempts > 0
    return {
        "id": target["id"],
        "account": target["account"],
        "region": target["region"],
        "key_id": target["key_id"],
        "key_arn": pinned.get("key_arn"),
        "status": (Status.FAILED if attempted else Status.NOT_ATTEMPTED).value,
        "changed": changed,
        "key_spec": pinned.get("key_spec"),
        "key_state": found.get("key_state"),
        "expiration_model": found.get("expiration_model"),
        "valid_to": found.get("valid_to"),
        "key_material_id": (known.key_material_id if known else None) or found.get("key_material_id"),
        "wrapping_algorithm": known.intent.get("wrapping_algorithm") if known else None,
        "wrapping_key_spec": known.intent.get("wrapping_key_spec") if known else None,
        "verification": None,
        "attempts": known.attempts if known else 0,
        "request_ids": known.requests if known else [],
        "started_at": known.since if known else None,
        "finished_at": None,
        "error": {
            "code": code,
            "operation": IMPORT if attempted else None,
            "message": _MESSAGES[code].format(why=why),
            "retryable": True,
            "advice": advice_for(code),
        },
    }
