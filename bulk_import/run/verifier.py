"""After an import: consecutive good reads, an interval apart; then the proof.

KMS is eventually consistent: one good read may come from the one host that knows already.
https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html#programming-eventual-consistency

A target that waits for its next read is an entry in a heap, not a task: one task per lane serves them all, so that
thousands of unverified targets cost nothing but their entries and never hold up the lane's next import.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field
from enum import Enum, auto

from bulk_import.errors import TargetError
from bulk_import.material.evidence import Evidence
from bulk_import.model import KeyState, KeyView, Proof, Verification
from bulk_import.plan import Wanted, shows_expiry
from bulk_import.ports import KeyService
from bulk_import.run.lifecycle import Event
from bulk_import.run.prover import ProofResult, check_shown_id, check_stated_id, prove, round_trip
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import Policy, TargetRun

READS_AT_ONCE = 16  # of one lane


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

    def observe(self, view: KeyView, now: float) -> Verdict:
        self.total += 1
        if view.state == self.final_state and shows_expiry(self.wanted, view):
            self.consecutive += 1
            self.elsewhere = 0
            if self.consecutive >= self.needed:
                return Verdict.VERIFIED
        else:
            self.consecutive = 0
            self.elsewhere = self.elsewhere + 1 if self._is_new(view) else 0
            if self.elsewhere >= self.needed:
                return Verdict.CONTRADICTED
        return Verdict.TIMED_OUT if now >= self.deadline else Verdict.READ_AGAIN

    def _is_new(self, view: KeyView) -> bool:
        """Neither what is wanted nor what was there before: a state into which only somebody else brings a key."""
        gone = (KeyState.PENDING_DELETION, KeyState.PENDING_REPLICA_DELETION, KeyState.UNAVAILABLE)
        return view.state in gone or (view.state == KeyState.DISABLED and self.final_state == KeyState.ENABLED)


@dataclass(slots=True, order=True)
class Pending:
    """An imported target that waits for its next read."""

    due: float
    index: int
    run: TargetRun = field(compare=False)
    evidence: Evidence = field(compare=False)
    reads: Reads = field(compare=False)


class LaneVerifier:
    """Verifies the imported targets of one lane, as they come."""

    def __init__(self, kms: KeyService, policy: Policy, stop: Stop) -> None:
        self._kms = kms
        self._policy = policy
        self._stop = stop
        self._clock = asyncio.get_running_loop().time
        self._heap: list[Pending] = []
        self._changed = asyncio.Event()  # something came, was put back, or ended
        self._closed = False
        self._abandoned = False
        self._reading: set[TargetRun] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # those that have begun: no other may be cancelled

    def add(self, run: TargetRun, evidence: Evidence) -> None:
        """`run` is in state VERIFYING. Its first read is due at once."""
        if self._abandoned:
            run.stop(self._stop.why())
            return
        now = self._clock()
        reads = Reads(run.wanted, run.final_state, self._policy.reads, now, now + self._policy.verify_timeout)
        self._push(Pending(now, run.target.index, run, evidence, reads))

    def close(self) -> None:
        """No further target will come."""
        self._closed = True
        self._changed.set()

    def abandon(self) -> None:
        """The grace period is over: what is unverified ends so."""
        self._abandoned = True
        for pending in self._heap:
            pending.run.stop(self._stop.why())
        self._heap.clear()
        for task in self._tasks:
            task.cancel()
        self._changed.set()

    async def run(self) -> None:
        """Returns when all are verified, after `close`."""
        async with asyncio.TaskGroup() as group:
            while self._heap or self._reading or not self._closed:
                self._changed.clear()
                now = self._clock()
                while self._heap and self._heap[0].due <= now and len(self._reading) < READS_AT_ONCE:
                    pending = heapq.heappop(self._heap)
                    self._reading.add(pending.run)
                    group.create_task(self._read(pending))
                await self._wait()

    async def _wait(self) -> None:
        """Until the next read is due, or something changes."""
        idle = len(self._reading) < READS_AT_ONCE
        timeout = max(0.0, self._heap[0].due - self._clock()) if self._heap and idle else None
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            pass  # the next read is due

    def _push(self, pending: Pending) -> None:
        heapq.heappush(self._heap, pending)
        self._changed.set()

    async def _read(self, pending: Pending) -> None:
        run, reads = pending.run, pending.reads
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a target is read in a task")
        self._tasks.add(task)
        try:
            async with run.boundary(self._stop):
                if self._abandoned:
                    run.stop(self._stop.why())
                    return
                view = await self._kms.describe_key(run.arn, run)
                run.view, run.read_since = view, True
                verdict = reads.observe(view, self._clock())
                if verdict is Verdict.READ_AGAIN:
                    pending.due = self._clock() + self._policy.read_interval
                    self._push(pending)
                    return
                await self._conclude(pending, view, verdict)
        finally:
            self._tasks.discard(task)
            self._reading.discard(run)
            self._changed.set()

    async def _conclude(self, pending: Pending, view: KeyView, verdict: Verdict) -> None:
        run, reads = pending.run, pending.reads
        if verdict is not Verdict.VERIFIED:
            run.verification = self._verification(reads, ProofResult(Proof.NONE, "not_verified"))
            raise _unverified(view, verdict, self._policy)
        check_stated_id(run)
        await check_shown_id(run, self._kms, view)
        run.life.advance(Event.VERIFIED)
        run.verification = self._verification(reads, ProofResult(Proof.NONE, "proof_not_finished"))
        if self._policy.prove == "none":
            result = ProofResult(Proof.NONE, "not_asked_for")
        else:
            result = await prove(run, self._kms, pending.evidence, view)
        used, remark = await round_trip(run, self._kms, view) if self._policy.prove_use else (None, "")
        result = ProofResult(result.proof, "; ".join(filter(None, (result.detail, remark))), used)
        run.verification = self._verification(reads, result)
        if self._policy.require_proof and result.proof is Proof.NONE:
            raise TargetError(f"No proof was possible: {result.detail}.", code="ProofMissing")
        run.succeed(run.verification)

    def _verification(self, reads: Reads, result: ProofResult) -> Verification:
        return Verification(
            verified=reads.consecutive >= reads.needed,
            reads=reads.total,
            consecutive=reads.consecutive,
            duration_seconds=round(self._clock() - reads.started, 3),
            proof=result.proof,
            round_trip=result.round_trip,
            detail=result.detail,
        )


def _unverified(view: KeyView, verdict: Verdict, policy: Policy) -> TargetError:
    if verdict is Verdict.CONTRADICTED:
        return TargetError(
            f"After the import somebody brought {view.arn} into state {view.state}.",
            code="KeyStateChanged",
            operation="DescribeKey",
        )
    return TargetError(
        f"{view.arn} did not show the wanted state in {policy.reads} consecutive reads within "
        f"{policy.verify_timeout:g} s; last seen: {view.state}, {view.expiration_model}, {view.valid_to}.",
        code="VerificationTimeout",
        operation="DescribeKey",
        retryable=True,
    )
