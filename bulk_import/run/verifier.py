"""After an import: consecutive good reads, an interval apart; then the proof.

KMS is eventually consistent: one good read may come from the one host that knows already.
https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html#programming-eventual-consistency
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

from bulk_import import family
from bulk_import.drift import drift
from bulk_import.errors import TargetError
from bulk_import.matching import match
from bulk_import.material.evidence import Evidence
from bulk_import.model import KeyState, KeyView, Proof, Verification
from bulk_import.plan import Wanted, shows_expiry
from bulk_import.ports import KeyService
from bulk_import.rotation import holds
from bulk_import.run.lifecycle import Event
from bulk_import.run.policy import Policy
from bulk_import.run.prover import ProofResult, check_related, check_shown_id, check_stated_id, prove, round_trip
from bulk_import.run.prover_several import prove_several
from bulk_import.run.reading import read
from bulk_import.run.several import text_of
from bulk_import.run.target_run import IMPORT, TargetRun


class Verdict(Enum):
    READ_AGAIN = auto()
    VERIFIED = auto()
    TIMED_OUT = auto()
    CONTRADICTED = auto()  # somebody else changed the key: as many reads in a row say the same other thing


@dataclass(slots=True)
class Reads:
    """Counts good reads of one target. Pure: views and times go in, verdicts come out. Times in seconds."""

    wanted: Wanted
    final_state: str
    needed: int
    started: float
    deadline: float
    total: int = 0
    consecutive: int = 0
    elsewhere: int = 0  # reads in a row that show a state no stale host can show
    shows: Callable[[KeyView], bool] | None = None  # whether a read shows what is wanted; None: by its expiry

    def observe(self, view: KeyView, now: float) -> Verdict:
        self.total += 1
        shown = self.shows(view) if self.shows else shows_expiry(self.wanted, view)
        moved = family.changed(self.wanted.target, view) is not None
        if view.state == self.final_state and shown and not moved and not drift(self.wanted.target, view):
            self.consecutive += 1
            self.elsewhere = 0
            if self.consecutive >= self.needed:
                return Verdict.VERIFIED
        else:
            self.consecutive = 0
            self.elsewhere = self.elsewhere + 1 if moved or self._is_new(view) else 0
            if self.elsewhere >= self.needed:
                return Verdict.CONTRADICTED
        return Verdict.TIMED_OUT if now >= self.deadline else Verdict.READ_AGAIN

    def _is_new(self, view: KeyView) -> bool:
        """Neither what is wanted nor what was there before: a state into which only somebody else brings a key."""
        gone = (KeyState.PENDING_DELETION, KeyState.PENDING_REPLICA_DELETION, KeyState.UNAVAILABLE)
        return view.state in gone or (view.state == KeyState.DISABLED and self.final_state == KeyState.ENABLED)


class Verifying:
    """An imported target: a Look of the lane's watch. The first read is due at once.

    `run` is in state VERIFYING.
    """

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, evidence: Evidence) -> None:
        self._run = run
        self._kms = kms
        self._policy = policy
        self._evidence = evidence
        self._clock = asyncio.get_running_loop().time
        now = self._clock()
        self._reads = Reads(run.wanted, run.final_state, policy.reads, now, now + policy.verify_timeout)
        if run.target.materials:
            self._reads.shows = partial(holds, run.wanted, imported=run.several.ids, asked=run.several.asked)

    async def __call__(self) -> float | None:
        """One read. Raises TargetError."""
        run = self._run
        view = await read(run, self._kms, run.arn)
        run.view, run.read_since = view, True
        verdict = self._reads.observe(view, self._clock())
        if verdict is Verdict.READ_AGAIN:
            return self._policy.read_interval
        await self._conclude(view, verdict)
        return None

    async def _conclude(self, view: KeyView, verdict: Verdict) -> None:
        run = self._run
        if verdict is not Verdict.VERIFIED:
            run.verification = self._verification(ProofResult(Proof.NONE, "not_verified"))
            raise _unverified(run, view, verdict, self._policy)
        check_stated_id(run)
        await check_shown_id(run, self._kms, view)
        await check_related(run, self._kms, view)
        run.life.advance(Event.VERIFIED)
        run.verification = self._verification(ProofResult(Proof.NONE, "proof_not_finished"))
        if self._policy.prove == "none":
            result = ProofResult(Proof.NONE, "not_asked_for")
        elif run.target.materials:
            result = await prove_several(run, view, self._policy)
        elif IMPORT not in run.effects and self._policy.prove == "changed":
            result = ProofResult(Proof.NONE, "material_not_compared")
        else:
            known = None if IMPORT in run.effects else self._policy.known
            result = await prove(run, self._kms, self._evidence, view, known)
        used, remark = await round_trip(run, self._kms, view) if self._policy.prove_use else (None, "")
        result = ProofResult(
            result.proof, "; ".join(filter(None, (result.detail, self._evidence.remark, remark))), used
        )
        run.verification = self._verification(result)
        if self._policy.require_proof and result.proof is Proof.NONE:
            raise TargetError(f"No proof was possible: {result.detail}.", code="ProofMissing")
        run.succeed(run.verification)

    def _verification(self, result: ProofResult) -> Verification:
        reads = self._reads
        return Verification(
            verified=reads.consecutive >= reads.needed,
            reads=reads.total,
            consecutive=reads.consecutive,
            duration_seconds=round(self._clock() - reads.started, 3),
            proof=result.proof,
            round_trip=result.round_trip,
            detail=result.detail,
        )


def _unverified(run: TargetRun, view: KeyView, verdict: Verdict, policy: Policy) -> TargetError:
    if (moved := family.changed(run.target, view)) is not None:
        return moved
    if verdict is Verdict.CONTRADICTED:
        return TargetError(
            f"After the change somebody brought {view.arn} into state {view.state}.",
            code="KeyStateChanged",
            operation="DescribeKey",
        )
    last = [f"{view.state}, {view.expiration_model}, {view.valid_to}", *(one.text for one in drift(run.target, view))]
    if run.target.materials:
        try:
            match(run.target, view)
        except TargetError as conflict:  # somebody else has begun a rotation meanwhile
            return conflict
        last.append(text_of(view))
    return TargetError(
        f"{view.arn} did not show the wanted state in {policy.reads} consecutive reads within "
        f"{policy.verify_timeout:g} s; last seen: {'; '.join(last)}.",
        code="VerificationTimeout",
        operation="DescribeKey",
        retryable=True,
    )
