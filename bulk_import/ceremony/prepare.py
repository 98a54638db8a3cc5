"""The first step: what `plan` decides, and import parameters for every target that needs an import.

https://docs.aws.amazon.com/kms/latest/APIReference/API_GetParametersForImport.html

Changes nothing in AWS, and opens no source of material. Each line is written as it arrives, so that a killed `prepare`
is continued by the next one.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bulk_import.aws.session import AwsSession
from bulk_import.ceremony import trust
from bulk_import.ceremony.bundle import (
    Bundle,
    NotPrepared,
    Prepared,
    members,
    read_bundle,
)
from bulk_import.ceremony.continued import bundle_writer, known_bundle
from bulk_import.ceremony.lines import LineWriter, fingerprint, read_bytes
from bulk_import.errors import TargetError
from bulk_import.journal.begin import new_run_id
from bulk_import.material.wrapping import default_algorithm
from bulk_import.model import Failure, KeySpec, KeyView, Lane, Manifest, Outcome, SessionPolicy, Status, Target
from bulk_import.plan import Action, Decision, Wanted
from bulk_import.ports import KeyService
from bulk_import.run.barrier import Barrier
from bulk_import.run.lane import LaneRunner
from bulk_import.run.planner import NoSink
from bulk_import.run.policy import Policy
from bulk_import.run.runner import run_lanes
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import TargetRun
from bulk_import.settings import Settings


@dataclass(frozen=True, slots=True)
class Preparation:
    """A bundle as it is after `prepare`. `signature`: the file that holds it, if --sign-with was given."""

    bundle: Bundle
    fingerprint: str
    signature: Path | None = None

    @property
    def deadlines(self) -> list[datetime]:
        return sorted(line.deadline for line in self.bundle.targets.values() if isinstance(line, Prepared))

    @property
    def others(self) -> list[NotPrepared]:
        return [line for line in self.bundle.targets.values() if isinstance(line, NotPrepared)]


async def prepare(
    manifest: Manifest,
    settings: Settings,
    into: Path,
    *,
    policy_of: Callable[[AwsSession, datetime], Policy],
    lanes: Callable[[set[int]], dict[Lane, list[Target]]],
    policies: Mapping[str, Sequence[SessionPolicy]],
) -> Preparation:
    """Writes or continues a bundle. `lanes`: the lanes with their targets, without those of the given indexes.
    `policies`: by account, what the sessions of its role are limited to.

    Raises CeremonyError where the file at `into` cannot be continued, CallerError, SettingsError, OSError.
    """
    if settings.sign_with:
        trust.check_key(settings.sign_with)
        trust.check_place(into, settings, manifest)
    known = known_bundle(into, manifest, settings)
    started, run_id, stop = datetime.now(UTC), new_run_id(), Stop()
    # What was blocked is tried again.
    left = lanes({index for index, line in known.targets.items() if line.kind != "blocked"} if known else set())
    barrier = _barrier(manifest, known)
    async with AwsSession(settings, run_id, manifest.partition, {*left, *barrier.lanes}, policies=policies) as session:
        await session.connect()
        used = dict.fromkeys((*left, *barrier.lanes))
        ports = {lane: await session.lane(lane, manifest.accounts[lane.account]) for lane in used}
        barrier.connect(ports)
        writer = bundle_writer(into, known, manifest, settings, session=session, run_id=run_id, started=started)
        try:
            runners = [
                LanePreparer(
                    lane, targets, ports[lane], policy_of(session, started), stop=stop, writer=writer,
                    manifest=manifest, standby=settings.standby, rate=partial(session.import_rate, lane),
                    barrier=barrier,
                )
                for lane, targets in left.items()
            ]  # fmt: skip
            await run_lanes(runners, stop, grace=0, barrier=barrier)
        finally:
            await asyncio.to_thread(writer.close)
        if stop.fatal is not None:
            raise stop.fatal
    data = read_bytes(into)
    signature = trust.sign(into, settings.sign_with) if settings.sign_with else None
    return Preparation(read_bundle(into, data), fingerprint(data), signature)


class LanePreparer(LaneRunner):
    """A lane runner that stops after GetParametersForImport, and writes down what it got."""

    def __init__(
        self,
        lane: Lane,
        targets: list[Target],
        kms: KeyService,
        policy: Policy,
        *,
        stop: Stop,
        writer: LineWriter,
        manifest: Manifest,
        standby: bool,
        rate: Callable[[], float],
        barrier: Barrier,
    ) -> None:
        # As in a plan: one read, and no source is opened to compare what is as wanted.
        # What differs from `create` is not looked at: a ceremony imports, and corrects nothing.
        policy = replace(policy, reads=1, prove="none", require_proof=False, prove_use=False, correct=None)
        super().__init__(
            lane, targets, kms, policy, sink=NoSink(), stop=stop, import_rate=rate, on_end=lambda _: None,
            wanted=lambda target: Wanted(target, target.expiry.instant(policy.started_at)), barrier=barrier,
        )  # fmt: skip
        self._writer = writer
        self._manifest = manifest
        self._standby = standby

    def _new_run(self, target: Target) -> TargetRun:
        run = TargetRun(self._wanted(target), self._sink, lambda outcome: self._ended(run, outcome))
        return run

    def _look_again(self, run: TargetRun) -> None:
        if run.target.create is not None:
            raise TargetError(
                f"{run.target.alias} does not exist, and a ceremony creates no key.",
                code="NotFoundException",
                operation="DescribeKey",
                advice="Create the key (Origin EXTERNAL) and its alias first, then prepare again.",
            )
        super()._look_again(run)

    async def _decide(self, run: TargetRun, view: KeyView, *, unfinished: bool = False, again: bool = True) -> Decision:
        if run.target.materials:
            raise TargetError(
                "The manifest lists several materials (`materials`), and a ceremony seals one.",
                code="RotatedKey",
                advice="Use `run` for this key: it imports and rotates in one go.",
            )
        decision = await super()._decide(run, view, unfinished=unfinished, again=again)
        if self._standby and decision.action is Action.UNCHANGED:
            return replace(decision, action=Action.REIMPORT)
        return decision

    async def _change(self, run: TargetRun) -> None:
        decision, view, target = run.decision, run.view, run.target
        if decision is None or view is None or decision.key_spec is None:
            raise RuntimeError("a target is prepared only after a decision")
        if target.ready_made is not None:
            raise TargetError(
                "Its material was sealed before, with an import token of its own.", code="NotPrepared",
                advice="Import it with `run`. For a ceremony, specify `material` instead.",
            )  # fmt: skip
        algorithm = target.wrapping_algorithm or default_algorithm(decision.key_spec)
        found = await self._kms.get_parameters_for_import(
            view.arn, run, wrapping_algorithm=algorithm, wrapping_key_spec=target.wrapping_key_spec
        )
        line = Prepared(
            kind="prepared",
            wrapping_algorithm=algorithm,
            wrapping_key_spec=target.wrapping_key_spec,
            public_key=base64.b64encode(found.public_key).decode(),
            import_token=base64.b64encode(found.token).decode(),
            deadline=found.valid_to.astimezone(UTC),
            **self._facts(run) | {"key_arn": view.arn, "key_spec": decision.key_spec},
        )
        self._writer.write(members(line))
        self._tell(run, None)

    def _ended(self, run: TargetRun, outcome: Outcome) -> None:
        """A target without parameters: as wanted, or blocked. One that was not reached is left to the next call."""
        if outcome.status is Status.NOT_ATTEMPTED:
            return
        error = outcome.error
        self._tell(run, error)
        self._writer.write(
            members(
                NotPrepared(
                    kind="blocked" if error else "unchanged", code=error.code if error else None,
                    message=error.message if error else None, **self._facts(run),
                )
            )
        )  # fmt: skip

    @staticmethod
    def _tell(run: TargetRun, error: Failure | None) -> None:
        """The replicas that wait for this primary: a ceremony fills it first, in `submit`."""
        if run.family is not None and run.target.primary is None:
            run.family.end(
                well=error is None, key_arn=run.view.arn if run.view else None, why=error.code if error else ""
            )

    def _facts(self, run: TargetRun) -> dict[str, Any]:
        target, view = run.target, run.view
        expiry = target.expiry
        return {
            "manifest_sha256": self._manifest.sha256,
            "index": target.index,
            "id": target.id,
            "account": target.lane.account,
            "region": target.lane.region,
            "key_id": target.key_id,
            "key_arn": view.arn if view else None,
            "key_spec": KeySpec(view.key_spec) if view and view.key_spec in set(KeySpec) else target.key_spec,
            "key_material_id": target.key_material_id,
            "replicas": list(target.replicas),
            "primary_region": target.primary.lane.region if target.primary else None,
            "valid_to": expiry.valid_to,
            "valid_for": None if expiry.valid_for is None else int(expiry.valid_for.total_seconds()),
            "renew_before": None if expiry.renew_before is None else int(expiry.renew_before.total_seconds()),
        }


def _barrier(manifest: Manifest, known: Bundle | None) -> Barrier:
    """Knows the primaries that an earlier call prepared."""
    barrier = Barrier(manifest.targets)
    for target in manifest.targets:
        line = known.targets.get(target.index) if known else None
        family = barrier.of(target)
        if family is not None and target.primary is None and line is not None and line.kind != "blocked":
            family.end(well=True, key_arn=line.key_arn)
    return barrier
