"""`plan`: the same reads as a run's, the same decisions, and nothing changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bulk_import.family import PERMITS_OF_A_REPLICA
from bulk_import.model import Binding, Lane, Manifest, Outcome, Target
from bulk_import.model.run import Environment
from bulk_import.plan import Action, StepKind, Wanted, floor_of_calls, limit_of_calls
from bulk_import.ports import KeyService
from bulk_import.run.barrier import Barrier
from bulk_import.run.binding import Notes
from bulk_import.run.lane import LaneRunner
from bulk_import.run.planned import PlannedLane, PlannedStep, PlannedTarget
from bulk_import.run.policy import Policy
from bulk_import.run.steps import KINDS, REPLICATE
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import TargetRun


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run of the manifest would do; `targets` in manifest order."""

    manifest: Manifest
    caller: Mapping[str, str] | None
    environment: Environment | None
    endpoints: Mapping[str, str]  # service → URL
    selection: Mapping[str, list[str]]
    lanes: tuple[PlannedLane, ...]
    targets: tuple[PlannedTarget, ...]
    binding: Binding | None = None  # of a plan that is saved

    def counts(self) -> Counter[Action]:
        return Counter(target.action for target in self.targets)


SCARCE = "GetParametersForImport"
IMPORTING = frozenset({Action.CREATE, Action.IMPORT, Action.REIMPORT})


class NoSink:
    """A plan is not a run: it keeps no journal."""

    def write(self, event: str, /, **fields: Any) -> None:
        """Forgets it."""

    async def sync(self) -> None:
        """Nothing to wait for."""


class LanePlanner(LaneRunner):
    """A lane runner whose imports stop before the first scarce permit."""

    def __init__(
        self,
        lane: Lane,
        targets: Sequence[Target],
        kms: KeyService,
        policy: Policy,
        *,
        stop: Stop,
        wanted: Callable[[Target], Wanted],
        barrier: Barrier,
        notes: Notes | None = None,
    ) -> None:
        """`notes`: of a plan that is saved."""
        policy = replace(policy, reads=1)  # a plan changes nothing, so a stale read harms no one
        super().__init__(
            lane, targets, kms, policy, sink=NoSink(), stop=stop, import_rate=lambda: 1.0, on_end=_ignore,
            wanted=wanted, barrier=barrier,
        )  # fmt: skip
        self._notes = notes
        self.planned: list[PlannedTarget] = []
        self.calls: Counter[str] = Counter()  # that a run would make to change something, or that an import needs
        self.replicated: Counter[Lane] = Counter()  # replicas to create, by the lane of their primary
        self.rotations = 0  # the most of one key: each waits for reads that show the material before it

    def _new_run(self, target: Target) -> TargetRun:
        run = TargetRun(self._wanted(target), self._sink, lambda outcome: self._keep(run, outcome))
        return run

    async def _change(self, run: TargetRun) -> None:
        """Loads and checks the material, as the run would, and leaves it at that."""
        decision = run.decision
        if decision is None or decision.key_spec is None:
            raise RuntimeError("a target is imported only after a decision")
        if not self._together.may_plan(run):
            return
        arn = run.view.arn if run.view else ""
        parts = [run.target]
        if run.target.materials:
            entries = [step.entry for step in decision.steps if step.kind == StepKind.IMPORT_MATERIAL]
            parts = [run.target.parts[entry] for entry in entries if entry is not None]
        for part in parts if decision.action is not Action.CORRECT else ():
            async with self._policy.materials.hold(part, decision.key_spec, key_arn=arn) as held:
                run.decision = replace(decision, algorithm=held.algorithm)
        if decision.action is Action.CORRECT and self._policy.prove in ("auto", "all"):
            for part in run.target.parts:
                await self._policy.materials.evidence(part, decision.key_spec, key_arn=arn)
        self._keep(run, None)

    def _keep(self, run: TargetRun, outcome: Outcome | None) -> None:
        error = outcome.error if outcome else None
        if run.family is not None and outcome is not None:
            run.family.rendezvous.of(run.target).end(outcome)
            run.family.rendezvous.news()
        if run.family is not None and run.target.primary is None:
            arn, why = run.view.arn if run.view else None, error.code if error else ""
            run.family.end(well=error is None, key_arn=arn, why=why)
        decision, view, target = run.decision, run.view, run.target
        if decision and not error:
            self.calls.update(KINDS[step.kind].operation for step in decision.changes)
            if target.primary is not None and self.calls.pop(REPLICATE, 0):  # KMS counts it in two lanes
                self.calls["CreateKey"] += PERMITS_OF_A_REPLICA
                self.replicated[target.primary.lane] += 1
            if target.ready_made is None:
                self.calls[SCARCE] += sum(step.kind == StepKind.IMPORT_MATERIAL for step in decision.steps)
            rotations = sum(step.kind in (StepKind.ROTATE, StepKind.AWAIT_ROTATION) for step in decision.steps)
            self.rotations = max(self.rotations, rotations)
        if self._notes is not None:
            self._notes.keep(target, view, None if error else decision)
        detail = decision.detail if decision else ""
        if decision and decision.action is Action.UNCHANGED:
            detail = f"{detail}, by one read"
        if outcome and outcome.verification and outcome.verification.detail:
            detail = f"{detail}; {outcome.verification.detail}"
        self.planned.append(
            PlannedTarget(
                index=target.reported_index,
                id=target.id,
                account=target.lane.account,
                region=target.lane.region,
                key_id=target.shown_key_id,
                key_arn=view.arn if view else None,
                action=Action.BLOCKED if error or decision is None else Action(decision.action),
                key_state=view.state if view else None,
                key_spec=view.key_spec if view else None,
                expiration_model=view.expiration_model if view else None,
                valid_to=view.valid_to if view else None,
                wanted_valid_to=run.wanted.valid_to,
                detail=error.message if error else detail,
                steps=[
                    PlannedStep(KINDS[step.kind].operation, step.cause)
                    for step in (decision.changes if decision and not error else ())
                ],
                error=error,
            )
        )


def _ignore(_: Outcome) -> None:
    """A planner notices ends by itself."""


def summarise(
    planners: Sequence[LanePlanner],
    manifest: Manifest,
    *,
    caller: Mapping[str, str] | None,
    environment: Environment,
    endpoints: Mapping[str, str],
    selection: Mapping[str, list[str]],
    rate: Callable[[Lane, str], float],
    reads: int,
    interval: float,
) -> Plan:
    """Joins the lanes' plans. `rate`: a lane's quota of an operation, requests per second."""
    lanes = []
    for planner in planners:
        imports = sum(target.action in IMPORTING for target in planner.planned)
        made = planner.calls + Counter({REPLICATE: sum(one.replicated[planner.lane] for one in planners)})
        rates = {name: rate(planner.lane, name) for name in (SCARCE, *sorted(+made))}
        calls = {name: (made[name], each) for name, each in rates.items()}
        floor = floor_of_calls(calls, reads=reads, interval=interval)
        floor += planner.rotations * (reads - 1) * interval
        if any(target.action is Action.CREATE for target in planner.planned):
            floor += (reads - 1) * interval  # the reads that must not find the key
        if planner.replicated:
            floor += (reads - 1) * interval  # those that verify the primary before it
        lanes.append(
            PlannedLane(
                planner.lane.account,
                planner.lane.region,
                len(planner.targets),
                imports,
                round(floor, 3),
                rates,
                limit_of_calls(calls),
            )
        )
    targets = sorted((target for planner in planners for target in planner.planned), key=lambda target: target.index)
    return Plan(manifest, caller, environment, endpoints, selection, tuple(lanes), tuple(targets))
