"""One target while it is worked on: its life, what was found, what its calls left behind, and how it ends."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from bulk_import.codes import advice_for
from bulk_import.errors import JournalError, TargetError
from bulk_import.material import Held
from bulk_import.model import (
    Change,
    Failure,
    KeyState,
    KeyView,
    Outcome,
    Past,
    Request,
    Status,
    Target,
    Verification,
)
from bulk_import.plan import Action, Decision, Wanted
from bulk_import.ports import Sink
from bulk_import.run.barrier import Family
from bulk_import.run.lifecycle import Event, Life, State
from bulk_import.run.several import of_past, shown
from bulk_import.run.stop import Stop

log = structlog.get_logger()
IMPORT = "ImportKeyMaterial"
DELETION = "DeleteImportedKeyMaterial"
# Changes that decide who may use a key; KMS takes up to five minutes to act on them:
# https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html
AUTHORIZES = frozenset({"CreateKey", "CreateAlias", "ReplicateKey", "PutKeyPolicy", "TagResource"})
SETTLES_FOR = 360.0  # seconds


class TargetRun:
    """Implements ports.Trace. Ends exactly once, with one `ended` line in the journal."""

    __slots__ = (
        "before", "decision", "doubts", "earlier", "effects", "ended_as", "family", "held", "key_id", "life",
        "material_check", "material_id", "on_end", "past", "read_since", "rechecks", "requests", "sent_calls",
        "settling_until", "several", "sink", "started_at", "tried", "verification", "verified", "view", "wanted",
    )  # fmt: skip

    def __init__(self, wanted: Wanted, sink: Sink, on_end: Callable[[Outcome], None], past: Past | None = None) -> None:
        asked = past.asked_valid_to if past and wanted.target.expiry.valid_for else None
        self.wanted = replace(wanted, valid_to=asked) if asked else wanted
        self.sink = sink
        self.on_end = on_end
        self.life = Life()
        self.key_id = wanted.target.key_id  # what the first read asks for; of a replica, its primary's key ID
        self.family: Family | None = None  # of a primary with replicas, and of a replica
        self.view: KeyView | None = None
        self.before: KeyView | None = None  # as found before the first change of this run
        self.decision: Decision | None = None
        self.held: Held | None = None  # the material, while the changes are made that need it
        self.verification: Verification | None = None
        self.past = past  # of a resumed target
        several = bool(wanted.target.materials)  # each of them has its own ID
        self.material_id = past.key_material_id if past and not several else None  # that ImportKeyMaterial answered
        self.material_check: str | None = None
        self.several = of_past(past.material_ids if past else None)
        self.requests: list[Request] = []
        sent = past.sent if past else {}
        # Requests that were sent, by operation; those of changes before a resume included.
        self.sent_calls = Counter({operation: before.attempts for operation, before in sent.items()})
        self.tried = set(sent)  # operations of changes that the journal has an intent of
        self.doubts = {operation for operation, before in sent.items() if before.in_doubt}  # got no clear answer
        self.effects = [operation for operation, before in sent.items() if before.accepted]  # in order
        self.ended_as = Status(past.ended_as) if past and past.ended_as else None  # it ended OK before the resume,
        self.rechecks = past is not None and past.rechecks  # and is only read again, until it needs a change
        self.earlier = past is not None and past.changed  # a change took effect, and was verified
        self.verified = past.changes if past else ()  # of `earlier`: which ones
        if self.rechecks:
            self.effects = []
        self.read_since = past is None  # whether `view` is newer than the last change that was sent
        self.started_at: datetime | None = None
        self.settling_until = 0.0

    @property
    def target(self) -> Target:
        return self.wanted.target

    @property
    def arn(self) -> str:
        """The key's ARN once it is known, else what the manifest calls it. An alias is resolved once."""
        if self.view:
            return self.view.arn
        created = self.past is not None and self.past.of("CreateKey").accepted
        return self.past.key_arn if self.past and created else self.key_id

    @property
    def final_state(self) -> str:
        """The state that the key must be in at the end."""
        return self.decision.final_state if self.decision else KeyState.ENABLED

    @asynccontextmanager
    async def boundary(self, stop: Stop) -> AsyncIterator[None]:
        """Where a failure becomes a value.

        Nothing leaves but a JournalError (the run cannot continue unrecorded), and a cancellation that no stop of the
        run explains.
        """
        try:
            yield
        except TargetError as error:
            if stop.ends_all(error):
                self.stop(stop.why())
            else:
                self.fail(error)
        except JournalError:
            raise
        except asyncio.CancelledError:
            self.stop(stop.why() or "cancelled")
            if not stop.why():
                raise
        except Exception as error:  # noqa: BLE001 - the rule: a defect costs one target, not the run
            # Not log.exception: a traceback's text could quote a secret.
            name, where = type(error).__name__, place_of(error)
            log.error("internal error", target=str(self.target), at=where, exception=name)  # noqa: TRY400 - see above
            self.fail(TargetError(f"{name} at {where}.", code="InternalError", operation=None))

    def sent(self, operation: str) -> None:
        self.sent_calls[operation] += 1

    def took_effect(self, operation: str) -> None:
        """A change was answered with 200, or a read showed its effect."""
        self.doubts.discard(operation)
        if operation in AUTHORIZES:
            self.settling_until = asyncio.get_running_loop().time() + SETTLES_FOR
        if operation not in self.effects:
            self.effects.append(operation)

    @property
    def settling(self) -> bool:
        """Whether a refusal may come from what this run has just created or changed."""
        return self.settling_until > asyncio.get_running_loop().time()

    @property
    def attempts(self) -> int:
        """ImportKeyMaterial requests sent."""
        return self.sent_calls[IMPORT]

    def note(self, operation: str, request_id: str) -> None:
        self.requests.append(Request(operation, request_id))

    def start(self) -> None:
        self.started_at = datetime.now(UTC)
        self.life.advance(Event.STARTED)

    def pin(self, view: KeyView) -> None:
        """Keeps what DescribeKey found; the ARN is the target's key from here on, also if the alias changes."""
        self.view = self.before = view
        if self.past is not None and self.past.key_state:
            self.before = replace(
                view, state=self.past.key_state, expiration_model=self.past.expiration_model,
                valid_to=self.past.valid_to,
            )  # fmt: skip
        self.sink.write(
            "pinned", index=self.target.index, key_arn=view.arn, key_state=view.state, key_spec=view.key_spec,
            expiration_model=view.expiration_model, valid_to=view.valid_to,
            key_material_id=view.current_key_material_id,
        )  # fmt: skip

    def succeed(self, verification: Verification) -> None:
        self.verification = verification
        comparing = self.life.state is State.COMPARING
        for operation in self.unclear:  # the key needed it when it was sent, and is as wanted now
            self.took_effect(operation)
        self.life.advance(Event.PROVED)
        if comparing and self.earlier and self.ended_as is not None:
            self._end(self.ended_as, changed=True, error=None)  # this part of the run changed nothing more
        elif comparing and not self.effects:
            self._end(Status.UNCHANGED, changed=False, error=None)
        else:
            self._end(self._status_of_change(), changed=True, error=None)

    def _status_of_change(self) -> Status:
        if DELETION in self.effects:
            return Status.DELETED
        if self.decision is not None and self.decision.action in (Action.CREATE, Action.IMPORT):
            return Status.IMPORTED
        imported = IMPORT in self.effects or self.decision is None or self.decision.action is Action.REIMPORT
        return Status.REIMPORTED if imported else Status.CORRECTED

    def confirm(self) -> None:
        """It ended OK before the resume, and is as wanted still: its result stays in the journal as it is."""
        if self.ended_as is None:
            raise RuntimeError("only a target that ended OK is confirmed")
        self.life.advance(Event.AS_WANTED)
        self.life.advance(Event.PROVED)
        self.sink.write("confirmed", index=self.target.index)
        self._end(self.ended_as, changed=self.changed, error=None, written=False)

    @property
    def unclear(self) -> list[str]:
        """Operations of which it is unknown whether they took effect."""
        return sorted(self.doubts.difference(self.effects))

    @property
    def changed(self) -> bool | None:
        """Whether a change took effect; None where one was sent and it could not be found out."""
        if self.unclear:
            return None
        return bool(self.life.changed or self.effects or self.earlier)

    def fail(self, error: TargetError) -> None:
        changed = self.changed
        failure = Failure(error.code, error.operation, error.message, error.retryable, error.advice)
        if changed is None and error.code != "InternalError":
            asked = " and ".join(self.unclear)
            message = f"It is unknown whether {asked} took effect ({error.code}: {error.message})"
            # What caused it may have to be removed first: without that, each resume would end like this.
            advice = " ".join(dict.fromkeys((error.advice, advice_for("OutcomeUnknown"))))
            failure = Failure("OutcomeUnknown", error.operation, message, True, advice)  # noqa: FBT003
        self.life.advance(Event.ERROR)
        self._end(Status.FAILED, changed=changed, error=failure)

    def stop(self, reason: str) -> None:
        """The run ends before the target does: says truthfully how far it came."""
        changed = self.changed
        if self.rechecks:
            self.life.advance(Event.ERROR)
            message = f"The run was stopped ({reason}) before this target was read again."
            error = Failure("NotVerified", None, message, True, advice_for("NotVerified"))  # noqa: FBT003
            self._end(Status.FAILED, changed=changed, error=error, written=False)  # its result may serve another resume
            return
        # What was sent before a resume counts too: such a target is never "not attempted".
        sent = any(self.sent_calls[operation] for operation in self.tried)
        self.life.advance(Event.ERROR if sent else Event.STOPPED)
        if self.life.state is State.NOT_ATTEMPTED:
            code = "MaxFailures" if reason == "max_failures" else "Stopped"
            message, status = f"Not attempted: the run was stopped ({reason}).", Status.NOT_ATTEMPTED
        elif changed is None:
            code, message, status = (
                "OutcomeUnknown",
                f"The run was stopped ({reason}) while a change was being made ({', '.join(self.unclear)}).",
                Status.FAILED,
            )
        elif changed is False:
            code, message, status = "Interrupted", f"The run was stopped ({reason}) between two tries.", Status.FAILED
        else:
            code, message, status = (
                "NotVerified",
                f"KMS accepted the change, but the run was stopped ({reason}) before it was verified.",
                Status.FAILED,
            )
        self._end(status, changed=changed, error=Failure(code, None, message, True, advice_for(code)))  # noqa: FBT003

    def _end(self, status: Status, *, changed: bool | None, error: Failure | None, written: bool = True) -> None:
        target, view, decision = self.target, self.view, self.decision
        seen = view if self.read_since or changed is False else None  # a read from before the import says nothing now
        importing = decision is not None and decision.action in (Action.CREATE, Action.IMPORT, Action.REIMPORT)
        outcome = Outcome(
            index=target.reported_index,
            id=target.id,
            account=target.lane.account,
            region=target.lane.region,
            key_id=target.shown_key_id,
            key_arn=view.arn if view else (self.past.key_arn or None if self.past else None),
            status=status,
            changed=changed,
            changes=tuple(dict.fromkeys((*self.verified, *Change.made_by(self.effects)))),
            key_spec=view.key_spec if view else target.key_spec,
            key_state=seen.state if seen else None,
            expiration_model=seen.expiration_model if seen else None,
            valid_to=seen.valid_to if seen else None,
            key_material_id=self.material_id or (view.current_key_material_id if view else None),
            materials=shown(target, seen, self.several),
            wrapping_algorithm=decision.algorithm if decision and importing else None,
            wrapping_key_spec=target.sealed_under if importing else None,
            material_check=self.material_check,
            verification=self.verification,
            attempts=self.attempts,
            request_ids=tuple(self.requests),
            started_at=self.started_at,
            finished_at=datetime.now(UTC) if self.started_at else None,
            error=error,
        )
        if written:
            self.sink.write("ended", index=target.index, result=outcome)
        self.on_end(outcome)


def place_of(error: BaseException) -> str:
    """File and line of the innermost frames. A traceback's texts are left out: they could quote a secret."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
