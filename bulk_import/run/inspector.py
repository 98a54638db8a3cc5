"""`status`: what a run reads of every key, N times, compared with the manifest. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from bulk_import.codes import UNSUPPORTED
from bulk_import.errors import ServiceError, TargetError
from bulk_import.model import Failure, HeldMaterial, KeyRotation, KeySpec, KeyView, Lane, Outcome, Proof, Target
from bulk_import.plan import needs_rotations, wanted_of
from bulk_import.ports import KeyService
from bulk_import.run import standing
from bulk_import.run.barrier import Barrier
from bulk_import.run.creator import Missing
from bulk_import.run.found import SHORTEST_WAIT, Steady
from bulk_import.run.inspected import Difference, InspectedTarget, Standing
from bulk_import.run.lane import LaneRunner
from bulk_import.run.metadata import with_metadata
from bulk_import.run.named import Named, needs_alias
from bulk_import.run.planner import NoSink
from bulk_import.run.policy import Policy
from bulk_import.run.prover import ProofResult, check_related, prove
from bulk_import.run.prover_several import prove_several
from bulk_import.run.several import shown, with_materials
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import TargetRun
from bulk_import.text import harmless

NOT_COMPARED = ProofResult(Proof.NONE, "material_not_compared")
SOURCE_NOT_COMPARED = "source_not_compared"


@dataclass(slots=True)
class Found:
    """What was read of one key."""

    view: KeyView
    rotations: list[KeyRotation] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    other: bool = False  # it is another key than the manifest means
    proof: ProofResult = NOT_COMPARED
    compared: bool = False
    error: Failure | None = None


class LaneInspector(LaneRunner):
    """A lane runner that reads every key until it shows the same N times in a row, and compares it."""

    def __init__(
        self,
        lane: Lane,
        targets: Sequence[Target],
        kms: KeyService,
        policy: Policy,
        *,
        stop: Stop,
        within: timedelta | None,
        knows: bool,
        barrier: Barrier,
    ) -> None:
        """`within`: --within. `knows`: whether --known says anything of symmetric material."""
        # Above 0, so that a key that is not found is always looked for again.
        policy = replace(policy, consistency_timeout=max(policy.consistency_timeout, SHORTEST_WAIT))
        super().__init__(
            lane, targets, kms, policy, sink=NoSink(), stop=stop, import_rate=lambda: 1.0, on_end=lambda _: None,
            wanted=lambda target: wanted_of(target, policy.started_at), barrier=barrier,
        )  # fmt: skip
        self._within = within
        self._knows = knows
        self._named: dict[int, str | None] = {}  # by index: the ARN that a replica's alias names in its Region
        self.inspected: list[InspectedTarget] = []

    def _new_run(self, target: Target) -> TargetRun:
        run = TargetRun(self._wanted(target), self._sink, lambda outcome: self._unread(run, outcome))
        return run

    def _look_again(self, run: TargetRun) -> None:
        """A key that was not found: missing after N such reads."""
        look = Missing(
            run, self._kms, self._policy, search=_no_search, back=partial(self._on_back, run),
            unfinished=partial(self._on_back, run), missing=lambda: self._keep(run, Standing.MISSING),
        )  # fmt: skip
        self._away.send(run, look, look.delay)

    async def _judge(self, run: TargetRun, view: KeyView, *, settled: bool = False, unfinished: bool = False) -> None:
        owner = self._claimed.setdefault(view.arn, run.target.id)
        run.view, run.read_since = view, True
        if owner != run.target.id:
            raise TargetError(f"{view.arn} is the key of target {owner!r} already.", code="DuplicateKey")
        if not (settled or unfinished):
            view = await with_metadata(run, self._kms, view)
            run.view = await with_materials(run, run.target, self._kms, view)
            steady = Steady(run, self._kms, self._policy, partial(self._on_back, run, settled=True))
            self._away.send(run, steady, steady.delay)
            return
        if needs_alias(run.target) and run.target.index not in self._named:
            self._away.send(run, Named(run, self._kms, self._policy, partial(self._on_name, run, view)), 0.0)
            return
        found = await self._read(run, view)
        now = datetime.now(UTC)
        if view.state in standing.USABLE and not found.other:
            if not run.target.materials:
                found.differences += standing.expiry(run.wanted, view, now)
            await self._compare(run, found)
        word = standing.standing(run.wanted, view, found.differences, other=found.other, now=now, within=self._within)
        self._keep(run, word, found)

    def _on_name(self, run: TargetRun, view: KeyView, named: str | None) -> None:
        self._named[run.target.index] = named
        self._on_back(run, view, settled=True)

    async def _read(self, run: TargetRun, view: KeyView) -> Found:
        target = run.target
        found = Found(view, differences=list(standing.other_key(target, view)))
        if found.differences:
            found.other = True
            return found
        found.differences += standing.related(target, view)
        if self._named.get(target.index, view.arn) != view.arn:
            found.differences.append(Difference("key_id", target.shown_key_id, self._named[target.index]))
        found.differences += standing.state(view)
        found.differences += standing.metadata(target, view)
        if target.materials:
            found.rotations = list(view.materials or ())
            found.differences += standing.several(run.wanted, view, datetime.now(UTC))
            return found
        if needs_rotations(view):
            try:
                found.rotations = await self._kms.list_key_rotations(view.arn, run)
            except ServiceError as error:
                if error.code not in UNSUPPORTED:
                    raise
                # A KMS without on-demand rotation has no rotated keys.
        found.differences += standing.material(target, view, found.rotations)
        return found

    async def _compare(self, run: TargetRun, found: Found) -> None:
        """KMS's material with related keys' and the source's, as far as --prove asks and without an import.

        Raises TargetError where that cannot be found out.
        """
        wanted = "that of the related keys"
        try:
            if not (run.target.materials and found.differences):
                await check_related(run, self._kms, found.view)
            wanted = "the source's"
            if self._policy.prove in ("auto", "all"):
                await self._compare_with_source(run, found)
        except TargetError as error:
            if error.code != "MaterialMismatch":
                raise
            found.compared = True
            found.proof = ProofResult(Proof.NONE, "material_differs")
            found.error = Failure(error.code, error.operation, error.message, error.retryable, error.advice)
            found.differences.append(Difference("material", wanted, "other material"))

    async def _compare_with_source(self, run: TargetRun, found: Found) -> None:
        """Raises TargetError, MaterialMismatch included."""
        policy, view = self._policy, found.view
        spec = KeySpec(view.key_spec) if view.key_spec in set(KeySpec) else None
        if spec is None:
            found.differences.append(Difference("key_spec", "one that can be imported into", view.key_spec))
            return
        if run.target.materials:
            if not found.differences and self._knows:
                found.proof = await prove_several(run, view, policy)
                found.compared = found.proof.proof is not Proof.NONE and SOURCE_NOT_COMPARED not in found.proof.detail
            return
        known = policy.known(run.target, view.arn, "") if policy.known else None
        if spec.symmetric and known is None:
            # Nothing shows which bytes KMS holds, so the source is not opened for it.
            if run.target.key_material_id is not None and not found.differences:
                found.proof = ProofResult(Proof.MATERIAL_ID, SOURCE_NOT_COMPARED)
            return
        evidence = await policy.materials.evidence(run.target, spec, key_arn=view.arn)
        proof = await prove(run, self._kms, evidence, view, policy.known)
        found.proof = replace(proof, detail="; ".join(filter(None, (proof.detail, evidence.remark))))
        found.compared = found.proof.proof is not Proof.NONE

    def _unread(self, run: TargetRun, outcome: Outcome) -> None:
        """It ended with an error, or the check was stopped before it was read."""
        found = Found(run.view, error=outcome.error) if run.view else None
        self._keep(run, Standing.UNREADABLE, found, error=outcome.error)

    def _keep(
        self, run: TargetRun, word: Standing, found: Found | None = None, *, error: Failure | None = None
    ) -> None:
        target, view = run.target, found.view if found else None
        if run.family is not None and target.primary is None:  # all that replicas wait for here is the key ID
            run.family.end(well=error is None, key_arn=view.arn if view else None, why=error.code if error else "")
        valid_to = view.valid_to if view else None
        self.inspected.append(
            InspectedTarget(
                index=target.reported_index,
                id=target.id,
                account=target.lane.account,
                region=target.lane.region,
                key_id=target.shown_key_id,
                key_arn=view.arn if view else None,
                state=word,
                key_state=view.state if view else None,
                key_spec=view.key_spec if view else target.key_spec,
                days_left=standing.days_left(valid_to, datetime.now(UTC)),
                valid_to=valid_to,
                material="compared" if found and found.compared else "not_compared",
                proof=found.proof.proof if found else Proof.NONE,
                detail=found.proof.detail if found else "",
                drift=found.differences if found else [],
                materials=_materials(run, found),
                error=found.error if found and found.error else error,
            )
        )  # fmt: skip


def _materials(run: TargetRun, found: Found | None) -> list[HeldMaterial]:
    if found is None:
        return []
    if run.target.materials:
        return list(shown(run.target, found.view, run.several))
    return [
        HeldMaterial(
            name=harmless(one.description or ""), key_material_id=one.key_material_id, state=one.key_material_state,
            import_state=one.import_state, expiration_model=one.expiration_model, valid_to=one.valid_to,
            material_check=None, proof=Proof.NONE,
        )
        for one in found.rotations
    ]  # fmt: skip


async def _no_search() -> Mapping[str, list[str]]:
    """A check looks for no unfinished key: what has no alias is missing."""
    return {}
