"""Changes of a multi-Region key that wait for related keys: new material goes to every Region before a rotation.

https://docs.aws.amazon.com/kms/latest/developerguide/rotating-keys-on-demand.html

A target's steps are made in portions. Between two of them it may be parked, and then holds no permit, no place, no
task and no key material. What each step waits for, and why that ends, is in run/rendezvous.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile

from bulk_import.errors import TargetError
from bulk_import.matching import conflict, match, pending
from bulk_import.material.evidence import Evidence
from bulk_import.plan import Action, Decision, Step, StepKind
from bulk_import.ports import KeyService
from bulk_import.run.away import Away
from bulk_import.run.barrier import Family
from bulk_import.run.lifecycle import State
from bulk_import.run.policy import Policy
from bulk_import.run.rendezvous import Progress
from bulk_import.run.steps.follow import Follow
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import TargetRun


class Together:
    """What the targets of one lane do with related keys in other lanes."""

    def __init__(self, kms: KeyService, policy: Policy, stop: Stop, away: Away) -> None:
        self._kms = kms
        self._policy = policy
        self._stop = stop
        self._away = away

    def judged(self, run: TargetRun, decision: Decision) -> Decision:
        """Notes what a decision says to the other Regions. Returns it, or why the key cannot be rotated in this run."""
        family, view, target = run.family, run.view, run.target
        if family is None or view is None:
            return decision
        together = family.rendezvous
        if target.primary is None:
            family.known_as(view.arn)
            if decision.error is not None:
                return decision
            if target.materials and view.materials is not None:
                held = zip(target.materials, match(target, view), strict=True)
                used = {entry.name: one.key_material_id for entry, one in held if one is not None and not pending(one)}
                together.ids.update(used)
                together.primary.used.update(used)
            unselected = sorted({*view.replica_regions} - {*together.replicas})
            if unselected and _rotates(decision.steps):
                message = f"{view.arn} is to be rotated, and its replica in {', '.join(unselected)} is not selected."
                error = conflict(message, "Select the primary together with all its replicas.", operation=None)
                return Decision(Action.BLOCKED, detail=error.message, error=error)
        elif decision.error is not None:
            return decision
        together.of(target).judged = True
        together.news()
        return decision

    async def carry_out(self, run: TargetRun, make: Callable[[], Awaitable[Evidence]]) -> Evidence | None:
        """Makes the steps of `run.decision` by `make`. None: it waits for another Region, and comes back, or has ended.

        Raises TargetError.
        """
        family, decision = run.family, run.decision
        if family is None or decision is None or not any(step.together for step in decision.steps):
            evidence = await make()
            self._completed(run)
            return evidence
        while True:
            left = decision.steps
            try:
                await self._announce(family, run, left[0])
                ready = self._may(family, run, left[0])
            except TargetError:
                if not self._stop.requested.is_set():
                    raise
                run.stop(self._stop.why())
                return None
            if not ready:
                self._park(family, run, left[0])
                return None
            portion = (left[0], *takewhile(lambda step: not step.together, left[1:]))
            run.decision = replace(decision, steps=portion)
            evidence = await make()
            decision = replace(run.decision, steps=left[len(portion) :])
            run.decision = decision
            self._made(family, run, portion[-1])
            if not decision.steps:
                self._completed(run)
                return evidence

    def may_plan(self, run: TargetRun) -> bool:
        """For a plan, which changes nothing: whether what the target waits for has been read. False: it is parked.

        Raises TargetError where the run would not change it.
        """
        family = run.family
        steps = run.decision.steps if run.decision else ()
        if family is None or not any(step.together for step in steps):
            return True

        def may() -> bool:
            if run.target.primary is None:
                return self._members(family, run, lambda one: one.judged)
            if (family.ended or not family.selected) and not family.well:
                raise family.not_ready(run.target)
            return family.well

        if may():
            return True
        family.rendezvous.wait(partial(_over, may), self._away.park(run, _ready))
        return False

    def _park(self, family: Family, run: TargetRun, step: Step) -> None:
        wake = self._away.park(run, _ready)
        family.rendezvous.wait(partial(_over, partial(self._may, family, run, step)), wake)

    async def _announce(self, family: Family, run: TargetRun, step: Step) -> None:
        """What this Region has before `step`."""
        together = family.rendezvous
        if not step.together or step.entry is None:
            return
        name = run.target.materials[step.entry].name
        if run.target.primary is None:
            if step.kind == StepKind.ROTATE and (found := run.several.ids.get(name) or step.key_material_id):
                together.ids[name] = found
            family.filled()
        else:
            mine = together.of(run.target)
            if step.entry > 0 and not mine.following and run.life.state is not State.PREPARING:
                await Follow(run, self._kms, self._policy).complete()  # it got older material in this run
            mine.following = name
            if step.kind == StepKind.AWAIT_ROTATION:
                mine.holds.add(name)
        together.news()

    def _made(self, family: Family, run: TargetRun, step: Step) -> None:
        if step.kind == StepKind.ROTATE and step.entry is not None:
            family.rendezvous.primary.used.add(run.target.materials[step.entry].name)
            family.rendezvous.news()

    def _completed(self, run: TargetRun) -> None:
        """For the replicas that are created after it."""
        if run.family is not None and run.target.primary is None:
            run.family.rendezvous.ids.update(run.several.ids)

    def _may(self, family: Family, run: TargetRun, step: Step) -> bool:
        """Whether `step` may be made now. Raises TargetError where it never will."""
        if run.target.primary is not None:
            return self._may_follow(family, run, step)
        if not step.together or step.entry is None:
            return self._members(family, run, lambda one: one.judged)
        name, used = run.target.materials[step.entry].name, family.rendezvous.primary.used
        if step.kind == StepKind.ROTATE:
            return self._members(family, run, lambda one: name in one.holds)
        return self._members(family, run, lambda one: bool(one.following) and one.following not in used)

    def _may_follow(self, family: Family, run: TargetRun, step: Step) -> bool:
        together = family.rendezvous
        if not step.together or step.entry is None or family.well:
            return True
        name = run.target.materials[step.entry].name
        if step.kind == StepKind.AWAIT_ROTATION:
            if name in together.primary.used:
                return True
        elif name in together.ids:
            return True
        if family.ended or not family.selected:
            raise family.not_ready(run.target)
        self._check_coming(together.primary)
        return False

    def _members(self, family: Family, run: TargetRun, has: Callable[[Progress], bool]) -> bool:
        """Whether every replica that exists has something. Raises TargetError (RotationConflict)."""
        view = run.before
        for region in view.replica_regions if view is not None else ():
            one = family.rendezvous.replicas.get(region)
            if one is None or one.missing or (one.ended and not one.well):
                why = f"failed ({one.why})" if one is not None and one.ended else "is not found there"
                why = "is not selected" if one is None else why
                message = f"{run.arn} can be rotated only together with its replica in {region}, which {why}."
                advice = "Fix what the message says of the replica, then run again: the run continues the rotation."
                raise conflict(message, advice, operation=None)
            if not one.well and not has(one):
                self._check_coming(one)
                return False
        return True

    def _check_coming(self, one: Progress) -> None:
        """Raises TargetError where the run stops, and a target that is waited for will not be started."""
        if self._stop.requested.is_set() and not one.started:
            raise TargetError(f"The run was stopped ({self._stop.why()}).", code="Stopped")


def _rotates(steps: Sequence[Step]) -> bool:
    return any(step.kind == StepKind.ROTATE for step in steps)


def _over(may: Callable[[], bool]) -> bool:
    try:
        return may()
    except TargetError:
        return True


async def _ready() -> None:
    """It comes back as it was."""
