"""Replicas in a lane: how each finds its key, and when it waits for its primary (run/barrier.py)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from bulk_import.creation import decide_replica
from bulk_import.errors import TargetError
from bulk_import.family import never_filled
from bulk_import.model import KeyView, Lane
from bulk_import.plan import Action, Decision, Step, StepKind
from bulk_import.ports import KeyService
from bulk_import.run.away import Away, Work
from bulk_import.run.barrier import Barrier, Family
from bulk_import.run.named import named_by_alias, needs_alias
from bulk_import.run.policy import Policy
from bulk_import.run.target_run import TargetRun

CREATED_AT_ONCE = 32  # replicas that a lane creates of the primaries of one other lane


class LaneReplicas:
    """What the replicas of one lane share. A method that returns False has parked the target for `again`."""

    def __init__(self, kms: KeyService, policy: Policy, barrier: Barrier, away: Away) -> None:
        self._kms = kms
        self._policy = policy
        self._barrier = barrier
        self._away = away
        self._creating: dict[TargetRun, Lane] = {}  # with the lane of its primary
        self._queues: dict[Lane, deque[Callable[[], bool]]] = {}

    def join(self, run: TargetRun) -> None:
        """For every target of the lane, before anything else."""
        run.family = self._barrier.of(run.target)
        if run.family is not None:
            run.family.rendezvous.of(run.target).started = True

    @staticmethod
    def known(run: TargetRun) -> bool:
        """Whether `run.key_id` names the target's key: a replica is found by the key ID of its primary."""
        family, primary = run.family, run.target.primary
        if family is None or primary is None or not primary.alias:
            return True
        run.key_id = family.key_id or run.key_id
        return bool(family.key_id) or (family.refusal is not None and family.well)

    def find(self, run: TargetRun, again: Work) -> None:
        """For a target whose key is not known: it comes back for `again` when it is.

        Raises TargetError (PrimaryNotReady) where that cannot be found out.
        """
        family = run.family
        if family is None or self.known(run):
            self._away.back(run, again)
        elif family.refusal is None:
            family.wait_for_id(self._away.park(run, again))
            self._barrier.read(family, run)
        elif self._after(family, run, again):
            self._away.back(run, again)

    def may_fill(self, run: TargetRun, view: KeyView, again: Work) -> bool:
        """Whether a replica may get material: one that was never filled needs its primary. Raises TargetError."""
        family, decision = run.family, run.decision
        if family is None or run.target.primary is None or decision is None or decision.action is not Action.IMPORT:
            return True
        return not never_filled(view) or family.rendezvous.filled or self._after(family, run, again)

    def may_replicate(self, run: TargetRun, again: Work) -> bool:
        """Whether a replica that is missing may be created now: its primary is filled, and a place is free.

        Raises TargetError.
        """
        family, primary = run.family, run.target.primary
        if family is None or primary is None:
            return True
        family.rendezvous.of(run.target).missing = True
        family.rendezvous.news()
        if not self._after(family, run, again):
            return False
        if sum(lane == primary.lane for lane in self._creating.values()) >= CREATED_AT_ONCE:
            self._queues.setdefault(primary.lane, deque()).append(self._away.park(run, again))
            return False
        run.decision = decide_replica(run.wanted, now=datetime.now(UTC))
        if run.decision.error is not None:
            raise run.decision.error
        self._creating[run] = primary.lane
        return True

    def creates(self, run: TargetRun) -> bool:
        """Whether the replica has a place among those that are being created; `done` gives it back."""
        return run in self._creating

    def done(self, run: TargetRun) -> None:
        """The next one that waits for this place comes back."""
        waiting = self._queues.get(self._creating.pop(run))
        while waiting:
            if waiting.popleft()():
                return

    async def complete(self, run: TargetRun, decision: Decision) -> Decision:
        """The decision for a replica that exists: with `create`, its alias must exist in its Region too.

        Raises TargetError (KeyContradiction) where the alias points to another key.
        """
        target, view = run.target, run.view
        if view is None or not needs_alias(target):
            return decision
        if decision.error is not None or self._policy.correct is None:
            return decision
        named = await named_by_alias(run, self._kms)
        if named is not None:
            if named != view.arn:
                message = f"{target.alias} points to {named}, not to the replica {view.arn}."
                raise TargetError(message, code="KeyContradiction")
            return decision
        alias = Step(StepKind.CREATE_ALIAS, "the replica has no alias")
        decision = replace(decision, steps=(alias, *decision.steps))
        if decision.action is not Action.UNCHANGED:
            return decision
        return replace(decision, action=Action.CORRECT, detail=alias.cause, keeps_expiry=True)

    def _after(self, family: Family, run: TargetRun, again: Work) -> bool:
        """Whether the primary's target has ended OK. Raises TargetError where it will not."""
        if family.well:
            return True
        if family.ended or not family.selected:
            raise family.not_ready(run.target)
        family.wait_for_end(self._away.park(run, again))
        return False
