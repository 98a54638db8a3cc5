"""A run at work: it connects, makes its lanes, runs them, and notes them in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from bulk_import.aws.pace.limiter import LaneLimiter
from bulk_import.aws.session import AwsSession
from bulk_import.deletion import Asked
from bulk_import.errors import BulkImportError, CallerError
from bulk_import.family import primary_lanes
from bulk_import.journal import narrate
from bulk_import.journal.begin import Begun
from bulk_import.journal.writer import Journal
from bulk_import.material import Materials
from bulk_import.material.bound import BoundMaterials, Supply
from bulk_import.model import Lane, Manifest, Outcome, Status, Target
from bulk_import.report.known import Known
from bulk_import.run.approved import Approved
from bulk_import.run.barrier import Barrier
from bulk_import.run.lane import LaneRunner
from bulk_import.run.policy import Policy
from bulk_import.run.runner import run_lanes
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import place_of
from bulk_import.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Started:
    """What is known of a run before its first call."""

    run_id: str
    lanes: Mapping[Lane, int]  # targets to work on
    finished: int  # those of them that ended OK in an earlier part of the run: they are read again
    import_rate: Callable[[Lane], float]  # a lane's imports per second by its quota; once read, it may be another
    endpoints: Mapping[str, str]  # service → URL, where it is not AWS's own


@dataclass(frozen=True, slots=True)
class Tap:
    """The journal, as the lanes write to it; `on_event` gets each event too."""

    journal: Journal
    on_event: Callable[[str, Mapping[str, Any]], None]

    def write(self, event: str, /, **fields: Any) -> None:
        self.journal.write(event, **fields)
        self.on_event(event, fields)

    async def sync(self) -> None:
        await self.journal.sync()


@dataclass(frozen=True, slots=True)
class Work:
    """One run between the journal's first lines and its last."""

    manifest: Manifest
    settings: Settings
    session: AwsSession
    journal: Journal
    begun: Begun
    materials: Materials
    stop: Stop
    on_end: Callable[[Outcome], None]
    on_event: Callable[[str, Mapping[str, Any]], None]
    known: Known = field(default_factory=Known)
    lane_type: type[LaneRunner] = LaneRunner
    approved: Approved | None = None  # of --plan

    def started(self) -> Started:
        return Started(
            run_id=self.begun.run_id,
            lanes=sizes(self.lanes),
            finished=sum(self.begun.finished),
            import_rate=self.session.import_rate,
            endpoints=self.session.foreign,
        )

    async def done_by(self, *stages: Callable[[], Coroutine[None, None, None]]) -> BulkImportError | None:
        """The stages one after another, until one ends the run early. Returns what ended it, if anything did."""
        if self.settings.deadline is not None:
            asyncio.get_running_loop().call_later(self.settings.deadline, self.stop.request, "deadline")
        try:
            await self.journal.sync()
            if not self.manifest.targets:
                return None  # a shard without targets: nothing to ask AWS for
            for stage in stages:
                if self.stop.requested.is_set():
                    break
                await stage()
        except BulkImportError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a defect ends the run, and the report still says how far it came
            error = _innermost(error)
            where = place_of(error)
            log.error("internal error", at=where, exception=type(error).__name__)  # noqa: TRY400 - a traceback's text could quote a secret
            return BulkImportError(f"{type(error).__name__} at {where}.", code="InternalError")
        return self.stop.fatal

    async def connect(self) -> None:
        """To STS, and to the sources of material. Raises CallerError, MissingExtra, SettingsError."""
        if await self.stop.unless_requested(self._connect()):
            targets = (target for those in self.lanes.values() for target in those)
            await self.stop.unless_requested(self.materials.begin(targets))

    async def run_lanes(self) -> None:
        """Takes every target to the end. Raises JournalError where the journal failed."""
        lanes, barrier = self.lanes, Barrier(self.manifest.targets)
        known = {
            lane: await self.session.lane(lane, self.manifest.accounts[lane.account])
            for lane in dict.fromkeys((*lanes, *barrier.lanes))
        }
        barrier.connect(known)
        ports = [known[lane] for lane in lanes]
        on_end = self._counting(barrier)
        policy = policy_of(self.settings, self.session, self.begun.started, self.materials, self.known)
        if self.approved is not None:
            policy = compared(policy, self.approved)
        runners = [
            self.lane_type(
                kms.lane,
                lanes[kms.lane],
                kms,
                policy,
                sink=Tap(self.journal, self.on_event),
                stop=self.stop,
                import_rate=partial(self.session.import_rate, kms.lane),
                on_end=on_end,
                wanted=self.begun.wanted,
                pasts=self.begun.past.pasts if self.begun.past else None,
                claimed=self.begun.past.claimed if self.begun.past else None,
                barrier=barrier,
            )
            for kms in ports
        ]
        await run_lanes(runners, self.stop, grace=self.settings.grace, barrier=barrier)
        for runner, kms in zip(runners, ports, strict=True):
            self._note_lane(runner, kms.limiter)

    @property
    def lanes(self) -> dict[Lane, list[Target]]:
        return by_lane(self.manifest)

    async def _connect(self) -> None:
        """Raises CallerError, also where a resume talks to another AWS than the run that it continues."""
        await self.session.connect()
        caller = self.session.caller
        before = self.begun.past.caller if self.begun.past else {}
        now = {
            "account": caller.account,
            "environment": self.session.environment,
            # Only those of both: --quotas service-quotas asks a service more, and decides nothing.
            "endpoints": {
                name: url for name, url in self.session.endpoints.items() if name in before.get("endpoints", {})
            },
        }
        if before:
            known = self.session.endpoints
            before = before | {"endpoints": {name: url for name, url in before["endpoints"].items() if name in known}}
        differing = [name for name in before if before[name] != now[name]]
        if differing:
            name = differing[0]
            raise CallerError(
                f"The run that is resumed had another {name} ({before[name]}) than this one ({now[name]}).",
                code="ResumedElsewhere",
                advice="Resume with the credentials and endpoints that it began with, or run without --resume.",
            )
        self.journal.write(
            "caller",
            caller={"account": caller.account, "arn": caller.arn},
            environment=self.session.environment,
            endpoints=self.session.endpoints,
        )

    def _counting(self, barrier: Barrier) -> Callable[[Outcome], None]:
        """Passes each end on, also to those who wait for it, and stops the run at --max-failures."""
        failures = 0

        def on_end(outcome: Outcome) -> None:
            nonlocal failures
            failures += outcome.status is Status.FAILED
            if self.settings.max_failures is not None and failures >= self.settings.max_failures:
                self.stop.request("max_failures")
            self.on_end(outcome)
            barrier.ended(outcome)

        return on_end

    def _note_lane(self, runner: LaneRunner, limiter: LaneLimiter) -> None:
        narrate.lane_ended(
            self.journal,
            runner.lane,
            duration=runner.duration,
            calls=limiter.calls,
            throttled=limiter.throttles,
            quota=limiter.quotas_used(),
            effective_rate=limiter.effective_rates(),
            session_policy=self.session.session_policy(runner.lane.account),
        )


def _innermost(error: Exception) -> Exception:
    """What a task group was ended by: the group itself says nothing."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def policy_of(
    settings: Settings,
    session: AwsSession,
    started: datetime,
    materials: Supply,
    known: Known | None = None,
) -> Policy:
    """`session`: connected."""
    return Policy(
        started_at=started,
        materials=materials,
        reads=settings.reads,
        read_interval=settings.read_interval,
        verify_timeout=settings.verify_timeout,
        retry=session.retry,
        prove=settings.prove,
        require_proof=settings.require_proof,
        prove_use=settings.prove_use,
        consistency_timeout=settings.consistency_timeout,
        correct=frozenset(settings.correct),
        deletion=Asked(settings.material_name, settings.disabled_too),
        known=known.of(session.environment, session.endpoints) if known else None,
    )


def compared(policy: Policy, approved: Approved) -> Policy:
    """Of a run with --plan."""
    return replace(
        policy, approved=approved, materials=BoundMaterials(policy.materials, approved.arn_for, approved.see)
    )


def by_lane(manifest: Manifest) -> dict[Lane, list[Target]]:
    """The targets to work on."""
    lanes: dict[Lane, list[Target]] = {}
    for target in manifest.targets:
        lanes.setdefault(target.lane, []).append(target)
    return lanes


def sizes(lanes: Mapping[Lane, Sequence[Target]]) -> dict[Lane, int]:
    """Targets to work on, by lane."""
    return {lane: len(targets) for lane, targets in lanes.items()}


def lanes_used(manifest: Manifest) -> dict[Lane, int]:
    """Every lane that is called, with its number of targets: a replica's primary may be in a lane without any."""
    lanes = {lane: len(targets) for lane, targets in by_lane(manifest).items()}
    return lanes | {lane: 0 for lane in primary_lanes(manifest.targets) if lane not in lanes}


def creating_lanes(manifest: Manifest) -> set[Lane]:
    """Lanes with a target whose key is created if it is missing."""
    return {target.lane for target in manifest.targets if target.create is not None}
