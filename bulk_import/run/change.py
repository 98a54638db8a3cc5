"""The only path by which the program changes AWS. Every kind of change follows the same protocol:

    intent on disk ─▶ call ─▶ answer on disk ─▶ applied
                        │ not accepted, or no answer
                        ▼
                      look ─▶ the effect shows ─▶ applied
                        │  └▶ the look fails ─▶ OutcomeUnknown
                        │ it does not show
                        ▼
                      repeat, if that does no harm; else OutcomeUnknown

A kind (a file in steps/) says what it needs, which call it makes, how a read shows its effect, and whether a repeat
does harm. Journal, resume, report, stop and kill work with the protocol and know no kind.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from bulk_import.codes import NOT_YET_CONSISTENT, SETTLES
from bulk_import.errors import ServiceError, TargetError
from bulk_import.model import KeyView
from bulk_import.plan import Step
from bulk_import.ports import KeyService
from bulk_import.run.lifecycle import Event, State
from bulk_import.run.policy import Policy
from bulk_import.run.target_run import TargetRun


class Kind(ABC):
    """One change of one key. An object serves one target, for the first request and every repeat."""

    operation: ClassVar[str]  # as KMS names it
    repeatable: ClassVar[bool]  # whether a request whose outcome is unknown and whose effect no read shows is repeated

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, step: Step | None = None) -> None:
        """Calls no one. `step`: what is made; None where the kind says it all."""
        self.run = run
        self.step = step
        self.kms = kms
        self.policy = policy

    @abstractmethod
    async def prepare(self) -> None:
        """Gets what the next request needs. Called before the first request and before each repeat.

        Raises TargetError: then nothing is sent.
        """

    @abstractmethod
    async def send(self) -> Mapping[str, Any]:
        """One request, never repeated inside. Returns what the journal's `answered` keeps of the answer.

        Raises ServiceError, or another TargetError where the lane has ended.
        """

    @abstractmethod
    async def applied(self) -> bool:
        """One read: whether it shows the effect. Raises TargetError."""

    def shown_by(self, view: KeyView) -> bool:  # noqa: ARG002 - kinds need it
        """Whether DescribeKey's answer, the first read of a resume, shows the effect already."""
        return False

    def intent(self) -> Mapping[str, Any]:
        """What the journal's `intent` says in addition to the operation and the attempt."""
        return {}

    def renews(self, error: ServiceError) -> bool:  # noqa: ARG002 - kinds need it
        """Whether a refusal is answered by a new request at once (such as one with a new import token)."""
        return False

    async def stands(self, error: ServiceError) -> bool:  # noqa: ARG002 - kinds need it
        """Whether a refusal, and a read, mean that somebody else has made the change already. Raises TargetError."""
        return False

    def lost(self, error: ServiceError) -> None:  # noqa: B027 - most kinds have nothing to drop
        """The outcome of the request is unknown: what it used must not be used again if that could be refused."""

    def looks(self) -> tuple[int, float]:
        """How many reads, and how many seconds apart, must show no effect after an unknown outcome."""
        return self.policy.reads, self.policy.read_interval


async def make(kind: Kind) -> None:
    """Makes one change. `kind.run` is in state PREPARING, ASKING or APPLIED before, and in APPLIED after.

    Raises TargetError. Whether the change took effect is then in `kind.run.changed`.
    """
    run = kind.run
    await kind.prepare()
    if run.life.state is State.PREPARING:
        run.life.advance(Event.PREPARED)
    run.life.advance(Event.READY)
    await kind.policy.retry(partial(_attempt, kind), settling_until=run.settling_until)


async def _attempt(kind: Kind) -> None:
    """One request. Returns when the change took effect; raises ServiceError where it did not."""
    run = kind.run
    if run.life.state is State.LOOKING:
        await kind.prepare()
        run.life.advance(Event.NO_EFFECT)
    try:
        await _send(kind)
    except ServiceError as error:
        if kind.renews(error):
            run.life.advance(Event.NOT_ACCEPTED)
            await _attempt(kind)
        elif not await _took_effect_anyway(kind, error):
            raise


async def _send(kind: Kind) -> None:
    run, operation = kind.run, kind.operation
    run.sink.write(
        "intent", index=run.target.index, operation=operation, attempt=run.sent_calls[operation] + 1, **kind.intent()
    )
    sent_before = run.sent_calls[operation]
    run.tried.add(operation)
    doubted_before = operation in run.doubts
    run.doubts.add(operation)
    try:
        await run.sink.sync()  # anyone who finds this journal must know that the request may be on its way
        run.read_since = False
        kept = await kind.send()
    except ServiceError as error:
        if not error.outcome_unknown and not doubted_before:
            run.doubts.discard(operation)
        _note_answer(run, operation, "unknown" if error.outcome_unknown else "refused", error.request_id, {})
        raise
    except (TargetError, asyncio.CancelledError):
        # A lane's end, or that of the grace period. Either nothing left (the role is denied by now, a sibling met
        # another account, the permit was still waited for), or the request is under way, or this very answer came
        # from another account: then it was carried out, somewhere.
        if run.sent_calls[operation] == sent_before and not doubted_before:
            run.doubts.discard(operation)
        _note_answer(run, operation, "unknown" if operation in run.doubts else "refused", "", {})
        raise
    run.took_effect(operation)
    _note_answer(run, operation, "ok", run.requests[-1].request_id if run.requests else "", kept)
    run.life.advance(Event.ACCEPTED)
    await run.sink.sync()


def _note_answer(run: TargetRun, operation: str, outcome: str, request_id: str, kept: Mapping[str, Any]) -> None:
    run.sink.write(
        "answered", index=run.target.index, operation=operation, outcome=outcome, request_id=request_id, **kept
    )


async def _took_effect_anyway(kind: Kind, error: ServiceError) -> bool:
    """After a request that was not accepted, or got no answer. False: it may be sent again."""
    run = kind.run
    if error.outcome_unknown:
        run.life.advance(Event.LOST)
        kind.lost(error)
        looks, interval = kind.looks()
    elif error.retryable or error.code in NOT_YET_CONSISTENT or (run.settling and error.code in SETTLES):
        run.life.advance(Event.NOT_ACCEPTED)
        # Only an earlier request may have had an effect. Without one, a read that shows it is an old one.
        looks, interval = int(kind.operation in run.doubts), 0.0
    else:
        raise error
    try:
        seen = await shows(kind, looks, interval)
        stands = not seen and kind.operation not in run.doubts and await kind.stands(error)
    except ServiceError as failed:
        if error.code == "WrongKey":
            raise error from None  # graver than that nobody could look
        # No ServiceError, which is repeated: the change would be sent again as if the look had shown no effect.
        raise TargetError(
            failed.message, code=failed.code, operation=failed.operation, retryable=failed.retryable,
            advice=failed.advice,
        ) from None  # fmt: skip
    if stands:
        run.life.advance(Event.EFFECT_SEEN)
        return True
    if seen:
        run.life.advance(Event.EFFECT_SEEN)
        if error.code == "WrongKey":
            raise error  # the effect is known by now, but no one knows what else such responses hide
        return True
    if error.outcome_unknown and not kind.repeatable:
        error.retryable = False  # a second request could do what the first has done
    return False


async def shows(kind: Kind, looks: int, interval: float) -> bool:
    """Whether one of so many reads, `interval` seconds apart, shows the effect."""
    for look in range(looks):
        if look:
            await asyncio.sleep(interval)
        if await kind.applied():
            kind.run.took_effect(kind.operation)
            return True
    return False
