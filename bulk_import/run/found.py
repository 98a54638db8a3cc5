"""Targets that are read again before anything is decided about them: each is a Look of the lane's watch.

KMS is eventually consistent, and one read shows one host's view:
https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html#programming-eventual-consistency
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from bulk_import import family
from bulk_import.codes import NOT_YET_CONSISTENT, UNSUPPORTED
from bulk_import.creation import decide_missing
from bulk_import.drift import corrected, drift
from bulk_import.errors import ServiceError, TargetError
from bulk_import.model import KeyView, Past, Proof, Verification
from bulk_import.plan import Decision, decide, must_wait, needs_rotations
from bulk_import.ports import KeyService
from bulk_import.rotation import decide_several, keeping
from bulk_import.run.metadata import with_metadata
from bulk_import.run.policy import Policy
from bulk_import.run.prover import ProofResult, check_related, check_shown_id, prove, round_trip
from bulk_import.run.prover_several import prove_several
from bulk_import.run.reading import read
from bulk_import.run.target_run import TargetRun

SHORTEST_WAIT = 0.05  # seconds between two reads of a key that settles

Back = Callable[[KeyView], None]  # the target goes back to its lane, which decides by this view


class Settling:
    """A key that is not found, or is Creating or Updating: read until it is settled, or for long enough."""

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, back: Back) -> None:
        self._run = run
        self._kms = kms
        self._policy = policy
        self._back = back
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self.interval = max(policy.read_interval, SHORTEST_WAIT)

    async def __call__(self) -> float | None:
        """Raises ServiceError (NotFoundException) where the key is not found for --consistency-timeout."""
        passed = self._clock() - self._began
        try:
            view = await self._kms.describe_key(self._run.arn, self._run, at_once=True)
        except ServiceError as error:
            if error.code not in NOT_YET_CONSISTENT or passed + self.interval > self._policy.consistency_timeout:
                raise
            return self.interval
        if must_wait(view) and passed < self._policy.verify_timeout:
            return self.interval
        self._back(view)
        return None


class Steady:
    """A target that ended OK before a resume: N consecutive reads must agree; what they show is judged afterwards."""

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, back: Back) -> None:
        self._run = run
        self._kms = kms
        self._policy = policy
        self._back = back
        self._clock = asyncio.get_running_loop().time
        self._deadline = self._clock() + policy.verify_timeout
        self._last = run.view
        self._consecutive = 1
        self.delay = policy.read_interval if policy.reads > 1 else 0.0  # seconds until the first look

    async def __call__(self) -> float | None:
        run = self._run
        if self._consecutive < self._policy.reads:
            view = await read(run, self._kms, run.arn)
            self._consecutive = self._consecutive + 1 if view == self._last else 1
            self._last = view
        if self._consecutive < self._policy.reads:
            if self._clock() < self._deadline:
                return self._policy.read_interval
            raise TargetError(
                f"{run.arn} did not show the same state in {self._policy.reads} consecutive reads within "
                f"{self._policy.verify_timeout:g} s.",
                code="KeyStateChanged",
                operation="DescribeKey",
            )
        if self._last is None:
            raise RuntimeError("a target is compared only after its first read")
        self._back(self._last)
        return None


class Found:
    """A target found as wanted: N consecutive equal reads, the first of which found it; then the proof.

    `differs` is called with the first read that differs; the target then waits here no longer.
    """

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, differs: Back) -> None:
        if run.view is None:
            raise RuntimeError("a target is compared only after its first read")
        self._run = run
        self._view = run.view
        self._kms = kms
        self._policy = policy
        self._differs = differs
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._reads = 1

    @property
    def delay(self) -> float:
        """Seconds until the first look."""
        return self._policy.read_interval if self._policy.reads > 1 else 0.0

    async def __call__(self) -> float | None:
        if self._reads < self._policy.reads:
            view = await read(self._run, self._kms, self._view.arn)
            if view != self._view:
                self._differs(view)
                return None
            self._reads += 1
            if self._reads < self._policy.reads:
                return self._policy.read_interval
        await self._conclude()
        return None

    async def _conclude(self) -> None:
        """Whether the key holds the source's material, as far as --prove asks. Raises TargetError."""
        run, view, policy = self._run, self._view, self._policy
        if run.decision is None or run.decision.key_spec is None:
            raise RuntimeError("a target is compared only after a decision")
        await check_shown_id(run, self._kms, view)
        await check_related(run, self._kms, view)
        not_compared = ""
        if run.target.materials:
            result = await prove_several(run, view, policy)
        elif policy.prove not in ("auto", "all"):
            result = ProofResult(Proof.NONE, "material_not_compared")
        else:
            evidence = await policy.materials.evidence(run.target, run.decision.key_spec, key_arn=view.arn)
            run.material_check, not_compared = evidence.material_check or None, evidence.remark
            result = await prove(run, self._kms, evidence, view, policy.known)
        used, remark = await round_trip(run, self._kms, view) if policy.prove_use else (None, "")
        run.verification = Verification(
            verified=True, reads=self._reads, consecutive=self._reads,
            duration_seconds=round(self._clock() - self._began, 3), proof=result.proof,
            round_trip=used, detail="; ".join(filter(None, (result.detail, not_compared, remark))),
        )  # fmt: skip
        if policy.require_proof and result.proof is Proof.NONE:
            raise TargetError(f"No proof was possible: {result.detail}.", code="ProofMissing")
        run.succeed(run.verification)


def check_same_key(run: TargetRun, past: Past, view: KeyView) -> None:
    """Raises TargetError where a resume finds another key than the run before it."""
    if past.key_arn not in ("", view.arn):
        raise TargetError(f"{run.target.key_id} was {past.key_arn} and is now {view.arn}.", code="AliasMoved")
    if past.key_spec not in (None, view.key_spec):
        raise TargetError(
            f"DescribeKey describes {view.arn} as {view.key_spec}; before the resume it was {past.key_spec}.",
            code="WrongKey",
            operation="DescribeKey",
        )


def contradiction(before: KeyView | None, view: KeyView) -> TargetError:
    """Two reads of one key that cannot both be the truth for long."""
    was = f"{before.state}, {before.expiration_model}, {before.valid_to}" if before else "nothing"
    return TargetError(
        f"Reads of {view.arn} contradict each other: {was}, then {view.state}, {view.expiration_model}, "
        f"{view.valid_to}.",
        code="KeyStateChanged",
        operation="DescribeKey",
    )


async def check_unchanged_since(run: TargetRun, kms: KeyService, view: KeyView) -> None:
    """Raises TargetError where a target that ended OK before a resume is as wanted, but not as it was then."""
    await check_shown_id(run, kms, view)
    past = run.past
    if past is None:
        return
    if past.ended_state not in (None, view.state):
        raise TargetError(
            f"{view.arn} was {past.ended_state} when its target ended before the resume, and is {view.state} now.",
            code="KeyStateChanged",
            operation="DescribeKey",
        )
    if past.key_material_id is not None and view.current_key_material_id not in (None, past.key_material_id):
        raise TargetError(
            f"{view.arn} held material {past.key_material_id} when its target ended before the resume, and holds "
            f"{view.current_key_material_id} now.",
            code="MaterialMismatch",
            operation="DescribeKey",
        )


async def decide_by(
    run: TargetRun, kms: KeyService, policy: Policy, view: KeyView, *, import_again: bool = False
) -> Decision:
    """The decision for what a read showed. `import_again`: --prove all. Puts what else it reads into `run.view`.

    Raises TargetError.
    """
    now = datetime.now(UTC)
    family.check(run.target, view)
    several = bool(run.target.materials)
    if several:
        decision = _decide_several(run, view, now=now, import_again=import_again)
    else:
        decision = decide(run.wanted, view, [], now=now)
    if decision.error is not None:
        return decision  # no further read for a key that cannot be imported into
    family.check_listed(run.target, view)
    if policy.correct is not None:
        view = run.view = await with_metadata(run, kms, view)
    if not several:
        decision = await _decide_by_rotations(run, kms, view, now=now, import_again=import_again)
    if decision.error is not None or policy.correct is None:
        return decision
    return corrected(decision, view, drift(run.target, view), policy.correct)


async def _decide_by_rotations(
    run: TargetRun, kms: KeyService, view: KeyView, *, now: datetime, import_again: bool
) -> Decision:
    """For a key that must have one material."""
    try:
        rotations = await kms.list_key_rotations(view.arn, run) if needs_rotations(view) else []
    except ServiceError as error:
        if error.code not in UNSUPPORTED:
            raise
        rotations = []  # a KMS without on-demand rotation has no rotated keys
    return decide(run.wanted, view, rotations, now=now, import_again=import_again)


async def decide_unfinished(run: TargetRun, kms: KeyService, policy: Policy, view: KeyView) -> Decision:
    """The decision for a key that this program created before, and that may have no alias. Raises TargetError."""
    decision = decide_missing(run.wanted, view, now=datetime.now(UTC), imported=run.several.ids)
    if decision.error is not None:
        return decision
    if policy.correct is None:
        return decision
    view = run.view = await with_metadata(run, kms, view)
    return corrected(decision, view, drift(run.target, view), policy.correct)


def _decide_several(run: TargetRun, view: KeyView, *, now: datetime, import_again: bool) -> Decision:
    decision = decide_several(run.wanted, view, now=now, imported=run.several.ids, import_again=import_again)
    if decision.error is None and import_again:
        run.wanted = keeping(run.wanted, view, now)
    return replace(decision, keeps_expiry=False)
