"""What a resume must know: the journal of a run that did not end, read for going on.

A journal is bound to its manifest and to the settings without which its results cannot be judged: another manifest,
selection or setting is refused, not guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bulk_import.errors import JournalError, Problem
from bulk_import.files import real
from bulk_import.journal import events
from bulk_import.journal.narrate import UNSET
from bulk_import.journal.reader import NEWER, JournalReader
from bulk_import.kept import HEAD, is_run_id, named_after
from bulk_import.model import STDOUT, Change, Past, Sent, Status, Target, in_s3

FOR_THE_REPORT = timedelta(hours=1)  # so long after its end a run that was killed before its report is continued
NOT_FOUND = Past("", "", None, None)  # its key is to be created
_EXISTENCE = frozenset({"CreateKey", "ReplicateKey"})  # a key that is found has been created
_OF_MANIFEST = ("sha256", "targets")
WELL = frozenset(status.value for status in Status if status.well)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run to continue. Indexes are targets' positions among the selected ones."""

    run_id: str
    started_at: datetime
    seq: int  # of the last event that was read
    listed: int  # targets that the journal names; fewer than selected: it was killed while naming them
    finished: bytearray  # 1 for each target that ended OK: it is read again, and imported only if it must be
    valid_to: list[str | None]  # frozen when the run began
    pasts: dict[int, Past]
    caller: dict[str, Any]  # of the run's first part: account, environment, endpoints; empty: it came to no call
    claimed: dict[str, str]  # ARN → id of the finished target that has it

    def wanted_valid_to(self, index: int) -> datetime | None:
        text = self.valid_to[index]
        return datetime.fromisoformat(text) if text else None


def read_unfinished(path: Path, bound: dict[str, Any], targets: Sequence[Target], *, report: str) -> Unfinished:
    """`bound`: what the journal must be bound to (narrate.bound_to); `targets`: of the manifest; `report`: where it is.

    Raises JournalError for a missing or damaged journal, one of another manifest or other settings, and one that
    nothing is left to do for, or whose results time has overtaken.
    """
    if not path.exists():
        raise JournalError([Problem(str(path), 0, "", "there is no journal to resume.", "Run without --resume.")])
    reader = JournalReader(path)
    state = _Reading(reader)
    for _, event in reader:
        try:
            events.check(event["event"], event)
            state.apply(event)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise reader.problem(f"this version cannot read this event ({type(error).__name__}).", NEWER) from None
    if not state.started:
        raise JournalError([Problem(str(path), 0, "", "the journal holds no run.", "Run without --resume.")])
    _refuse_another(path, state.started, bound)
    if (
        state.ended_at is not None
        and state.finished
        and all(state.finished)
        and (
            datetime.now(UTC) - state.ended_at > FOR_THE_REPORT or _told(report, reader.sha256, state.started["run_id"])
        )
    ):
        message = "the journal's run is complete and all its targets are OK: there is nothing to resume."
        advice = "Run without --resume: it reads every key again. `bulk-import report` creates its report again."
        raise JournalError([Problem(str(path), 0, "", message, advice)])
    if bound["command"] != "delete":
        _refuse_due(path, state, targets)
    if state.good_until is not None and state.good_until <= datetime.now(UTC):
        message = f"material of a target that was OK has expired since ({state.good_until:%Y-%m-%dT%H:%M:%SZ})."
        raise JournalError([Problem(str(path), 0, "", message, "Run without --resume: it reads every key again.")])
    return Unfinished(
        run_id=state.started["run_id"],
        started_at=datetime.fromisoformat(state.started["started_at"]),
        seq=reader.last_seq,
        listed=len(state.valid_to),
        finished=state.finished,
        valid_to=state.valid_to,
        pasts=state.pasts,
        caller=state.caller,
        claimed=state.claimed,
    )


class _Reading:
    def __init__(self, reader: JournalReader) -> None:
        self.started: dict[str, Any] = {}
        self.finished = bytearray()
        self.valid_to: list[str | None] = []
        self.pasts: dict[int, Past] = {}
        self.claimed: dict[str, str] = {}
        self.caller: dict[str, Any] = {}
        self.good_until: datetime | None = None  # the earliest ValidTo of those that ended OK
        self.ended_at: datetime | None = None  # by itself, and not continued since
        self._pending: set[tuple[int, str]] = set()  # targets and operations with an earlier intent in doubt
        self._reader = reader

    def apply(self, event: dict[str, Any]) -> None:
        name = event["event"]
        if name == "run_started":
            events.moment(event["started_at"])
            if not is_run_id(event["run_id"]):
                raise ValueError("run_id")
            # Journals of earlier versions lack the command, and settings that had no other value then.
            command = "submit" if "ceremony" in event else "run"
            self.started = {"command": command, **event, "settings": UNSET | event["settings"]}
            self.started["manifest"] = {name: str(event["manifest"][name]) for name in _OF_MANIFEST}
        elif name == "target" and event["index"] == len(self.valid_to):
            if event["valid_to"]:
                events.moment(event["valid_to"])
            self.valid_to.append(event["valid_to"])
            self.finished.append(0)
        elif name == "caller" and not self.caller:
            self.caller = {
                "account": event["caller"]["account"],
                "environment": event["environment"],
                "endpoints": event["endpoints"],
            }
        elif name in ("run_ended", "resumed"):
            self.ended_at = events.moment(event["at"]) if name == "run_ended" else None
        elif name == "pinned":
            self._on_pinned(event)
        elif name == "intent":
            self._on_intent(event)
        elif name == "answered":
            self._on_answered(event)
        elif name == "ended" and event["result"]["status"] in WELL:
            self._on_well(event["index"], event["result"])
        elif name == "ended":
            self._on_failed(event["index"], (event["result"]["error"] or {}).get("code"))

    def _on_pinned(self, event: dict[str, Any]) -> None:
        known = self.pasts.get(event["index"], NOT_FOUND)
        if known.key_arn and known.sent and not known.rechecks:
            return  # what was found before the first change is what counts
        valid_to = event.get("valid_to")
        self.pasts[event["index"]] = replace(
            # It ended OK, and is not as wanted any more: what KMS accepted before says nothing of it.
            _made_once_more(known) if known.rechecks else known,
            key_arn=event["key_arn"],
            key_state=event["key_state"],
            expiration_model=event.get("expiration_model"),
            valid_to=events.moment(valid_to) if valid_to else None,
            key_spec=event["key_spec"],
        )

    def _on_intent(self, event: dict[str, Any]) -> None:
        index, operation = event["index"], event["operation"]
        before = self.pasts.setdefault(index, NOT_FOUND).of(operation)
        if self.finished[index]:
            # No longer as wanted, and made once more: what KMS accepted before says nothing of this request.
            before = replace(before, accepted=False)
            self.pasts[index] = replace(self.pasts[index], rechecks=False)
        self._note(index, operation, replace(before, attempts=before.attempts + 1, in_doubt=True))
        if event.get("valid_to"):
            asked = events.moment(event["valid_to"])
            self.pasts[index] = replace(self.pasts[index], asked_valid_to=asked)
        self.finished[index] = 0
        if before.in_doubt:
            self._pending.add((index, operation))  # an earlier one stays in doubt, also if this one is answered

    def _on_well(self, index: int, result: dict[str, Any]) -> None:
        self.finished[index] = 1
        sent = {name: replace(each, accepted=True, in_doubt=False) for name, each in self.pasts[index].sent.items()}
        self.pasts[index] = replace(
            self.pasts[index],
            sent=sent,
            ended_as=result["status"],
            rechecks=True,
            changed=result["changed"] is True,
            changes=tuple(map(Change, result.get("changes", ()))),
            ended_state=result["key_state"],
            key_material_id=result["key_material_id"],
        )
        self.claimed[result["key_arn"]] = result["id"]
        if result["valid_to"]:
            until = events.moment(result["valid_to"])
            self.good_until = until if self.good_until is None else min(self.good_until, until)

    def _on_failed(self, index: int, code: str | None) -> None:
        """A change that was accepted and never showed: what became of it must be looked up like a lost answer."""
        self.finished[index] = 0
        past = self.pasts.get(index)
        if past is not None and past.rechecks:
            past = self.pasts[index] = replace(past, rechecks=False)
        if past is None or code != "VerificationTimeout":
            return
        for operation, sent in past.sent.items():
            if sent.accepted:
                self._note(index, operation, replace(sent, accepted=False, in_doubt=True))

    def _on_answered(self, event: dict[str, Any]) -> None:
        index, operation, outcome = event["index"], event["operation"], event["outcome"]
        sent = self.pasts[index].of(operation)
        if outcome == "ok":
            self._pending.discard((index, operation))
            self._note(index, operation, replace(sent, accepted=True, in_doubt=False))
            past, found = self.pasts[index], event.get("key_material_id")
            ids = (
                {**past.material_ids, event["material"]: found}
                if found and event.get("material")
                else past.material_ids
            )
            self.pasts[index] = replace(past, key_material_id=found or past.key_material_id, material_ids=ids)
        elif outcome == "refused" and (index, operation) not in self._pending:
            self._note(index, operation, replace(sent, in_doubt=False))

    def _note(self, index: int, operation: str, sent: Sent) -> None:
        past = self.pasts[index]
        self.pasts[index] = replace(past, sent={**past.sent, operation: sent})


def _made_once_more(past: Past) -> Past:
    sent = {name: each if name in _EXISTENCE else replace(each, accepted=False) for name, each in past.sent.items()}
    return replace(past, sent=sent)


def _refuse_due(path: Path, state: _Reading, targets: Sequence[Target]) -> None:
    """Raises JournalError where a ValidTo that the run fixed when it began is due for renewal by now.

    The resume would import material with an expiry that the next run renews at once, or leave one that is due.
    """
    now, plan = datetime.now(UTC), state.started.get("plan")
    started = datetime.fromisoformat(plan["created_at"] if plan else state.started["started_at"])
    for target, text in zip(targets, state.valid_to, strict=False):
        for part in target.parts if text else ():
            # The journal has one instant for each target: of several materials, each has its own.
            valid_for = part.expiry.valid_for
            valid_to = part.expiry.instant(started) if target.materials else datetime.fromisoformat(text or "")
            if valid_for is None or valid_to is None or valid_to - now > part.expiry.renews_before(valid_for):
                continue
            message = (
                f"the run began at {state.started['started_at']}, and the ValidTo that it fixed for {part} "
                f"({valid_to:%Y-%m-%dT%H:%M:%SZ}) is inside renew_before by now."
            )
            advice = "Start a new run, without --resume: it reads every key and fixes a new ValidTo."
            raise JournalError([Problem(str(path), 0, "", message, advice)])


def _told(report: str, journal_sha256: str, run_id: str) -> bool:
    """Whether the report there was made from the whole journal: a run can be killed between its end and its report.

    Taken for granted where it cannot be read back.
    """
    if report == STDOUT or in_s3(report):
        return True
    path = Path(report)
    if path.exists() and not path.is_file():
        return True  # a FIFO or a device
    # A run that begins gives the report of its earlier part another name.
    return any(_says(place, journal_sha256) for place in (path, named_after(real(path), run_id)))


def _says(report: Path, journal_sha256: str) -> bool:
    try:
        with report.open("rb") as stream:
            return journal_sha256.encode() in stream.read(HEAD)
    except OSError:
        return False


def _refuse_another(path: Path, started: dict[str, Any], wanted: dict[str, Any]) -> None:
    if started["command"] != wanted["command"]:
        message = f"the journal belongs to the command {started['command']}."
    elif any(str(wanted["manifest"][name]) != started["manifest"][name] for name in _OF_MANIFEST):
        message = f"the journal belongs to another manifest (SHA-256 {started['manifest']['sha256'][:12]}…)."
    else:
        differing = [name for name, value in wanted.items() if name != "manifest" and started.get(name) != value]
        if not differing:
            return
        name = differing[0]
        if name == "plan":
            name = "--plan"
        elif name == "settings":
            ours, theirs = wanted["settings"], started["settings"]
            name = "--" + next(key for key in ours if ours[key] != theirs.get(key)).replace("_", "-")
        message = f"the run that the journal belongs to was started with another {name}."
    advice = "Resume with what it was started with, or run without --resume."
    raise JournalError([Problem(str(path), 1, "", message, advice)])
