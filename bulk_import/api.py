"""The library: what the command line itself uses.

    from bulk_import import api

    settings = api.load_settings({"report": "out.json"})
    manifest = api.load_manifest("keys.yaml", settings)
    result = asyncio.run(api.run(manifest, settings))
    print(result.exit_code, result.summary)

Every function raises the exceptions of bulk_import.errors, and no others on purpose.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

import structlog

from bulk_import import manifest as manifest_room
from bulk_import import pipeline
from bulk_import.aws import objects
from bulk_import.aws.session import AwsSession
from bulk_import.delivery import destinations
from bulk_import.delivery.checkpoint import Checkpoint
from bulk_import.delivery.deliver import Delivery
from bulk_import.errors import (
    BulkImportError,
    ExitCode,
    InputError,
    Interrupted,
    JournalError,
    ManifestError,
    MaterialError,
    ObjectError,
    Problem,
    ReportNotWritten,
    SettingsError,
)
from bulk_import.job import Job, Started, by_lane, policy_of, started
from bulk_import.journal import narrate
from bulk_import.journal.begin import Begun, begin, journal_path, new_run_id
from bulk_import.manifest.read import MAX_BYTES
from bulk_import.material import Materials, sources
from bulk_import.material.checks import conflicts, manifest_checks
from bulk_import.material.sources.allowed import wrong
from bulk_import.material.sources.base import Opening
from bulk_import.model import Manifest, ObjectUri, Outcome, Target, in_s3
from bulk_import.model.run import Summary
from bulk_import.plan import Wanted
from bulk_import.ports import ObjectStore
from bulk_import.report import document
from bulk_import.report.fold import fold
from bulk_import.report.reread import Report
from bulk_import.run.planner import LanePlanner, Plan, summarise
from bulk_import.run.runner import run_lanes
from bulk_import.run.stop import Stop
from bulk_import.settings import Settings
from bulk_import.settings import load as load_settings

__all__ = ["RunResult", "Started", "check_material", "fetch", "load_manifest", "load_settings", "plan", "run"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `error`: what ended the whole run, if anything did."""

    run_id: str
    exit_code: ExitCode
    summary: Summary
    report: Path | ObjectUri | None  # where it is; None: it went to stdout, or `error` says where
    journal: Path
    environment: str | None  # aws | custom | sandbox; None: no caller was ever known
    document: Report  # the report itself, read from the journal
    error: BulkImportError | None = None


def load_manifest(uri: str, settings: Settings, *, stdin: BinaryIO | None = None, check_dates: bool = True) -> Manifest:
    """Reads, checks and expands a manifest, and selects from it as the settings say.

    `uri`: a path, s3://bucket/key, or `-` for `stdin` (the process's own by default). Raises ManifestError with every
    problem found, and CallerError where the credentials that S3 is asked with do not work.
    """
    misfits = [reason for prefix in settings.allow_source if (reason := wrong(prefix))]
    if misfits:
        raise SettingsError([Problem("settings", 0, "--allow-source", reason, "") for reason in misfits])
    loaded = manifest_room.load(
        uri,
        manifest_format=settings.manifest_format,
        material_root=settings.material_root,
        stdin=stdin or sys.stdin.buffer,
        data=_manifest_in_s3(uri, settings) if in_s3(uri) else None,
        role=settings.role,
        external_id=settings.external_id,
        only_accounts=settings.only_account,
        only_regions=settings.only_region,
        only_ids=settings.only_id,
        allow_accounts=settings.allow_account,
        max_targets=settings.max_targets,
        checks=manifest_checks(settings),
        schemes=frozenset(sources.KINDS),
        check_dates=check_dates,
        now=datetime.now(UTC),
    )
    found = [
        Problem(loaded.uri, line, field, f"{message}.", advice)
        for line, field, message, advice in conflicts(loaded.targets, settings)
    ]
    if found:
        raise ManifestError(found)
    return _shard(loaded, settings.shard)


def fetch(uri: str, settings: Settings) -> bytes:
    """An object of S3 (s3://bucket/key, of at most 1 GiB), with the caller's own credentials.

    Raises InputError, which names the URI, and CallerError where the caller's credentials do not work.
    """
    try:
        return objects.fetch(uri, settings, limit=MAX_BYTES)
    except ObjectError as error:
        raise InputError([Problem(uri, 0, "", error.reason, error.advice)], code=error.code) from None


def _manifest_in_s3(uri: str, settings: Settings) -> bytes:
    try:
        return objects.fetch(uri, settings, limit=MAX_BYTES)
    except ObjectError as error:
        raise ManifestError([Problem(uri, 0, "", error.reason, error.advice)], code=error.code) from None


async def check_material(manifest: Manifest, settings: Settings) -> None:
    """Reads the material of every target, where its source may be read without a run, and checks its shape.

    Raises ManifestError with every problem found.
    """
    problems = []
    readable = [target for target in manifest.targets if sources.kind_of(target.material).checked_offline]
    async with _materials(manifest, settings) as materials:
        await materials.begin(readable)
        for target in readable:
            try:
                await _check_one(target, materials)
            except MaterialError as error:
                message = f"{error.message.rstrip('.')}."
                problems.append(Problem(manifest.uri, target.line, f"material of {target.id}", message, error.advice))
    if problems:
        raise ManifestError(list(dict.fromkeys(problems)))


async def plan(manifest: Manifest, settings: Settings) -> Plan:
    """What `run` would do, per target. Makes the same reads, and changes nothing."""
    run_id = new_run_id()
    started = datetime.now(UTC)
    stop = Stop()
    lanes = by_lane(manifest)
    async with (
        _materials(manifest, settings) as materials,
        AwsSession(settings, run_id, manifest.partition, lanes) as session,
    ):
        await session.connect()
        await materials.begin(manifest.targets)
        policy = policy_of(settings, session, started, materials)
        planners = [
            LanePlanner(
                lane,
                targets,
                await session.lane(lane, manifest.accounts[lane.account]),
                policy,
                stop=stop,
                wanted=lambda target: Wanted(target, target.expiry.instant(started)),
            )
            for lane, targets in lanes.items()
        ]
        await run_lanes(planners, stop, grace=0)
        if stop.fatal is not None:
            raise stop.fatal
        return summarise(
            planners,
            manifest,
            caller={"account": session.caller.account, "arn": session.caller.arn},
            environment=session.environment,
            endpoints=session.endpoints,
            selection=narrate.selection(settings),
            import_rate=session.import_rate,
            reads=settings.reads,
            interval=settings.read_interval,
        )


async def run(
    manifest: Manifest,
    settings: Settings,
    *,
    stop: Stop | None = None,
    on_start: Callable[[Started], None] = lambda _: None,
    on_end: Callable[[Outcome], None] = lambda _: None,
) -> RunResult:
    """Imports, verifies, proves, and writes journal and report.

    `stop`: request it to end the run in good order; `on_start` hears of the run before its first call, `on_end` of
    each target's end. A target's failure is in the report and the exit code, not an exception. Raises SettingsError
    before any call, and JournalError where the journal cannot be begun.
    """
    stop = stop or Stop()
    destinations.check(settings, journal_path(settings), manifest.uri)
    materials = _materials(manifest, settings)
    given_up = partial(stop.over, settings.grace)
    async with AsyncExitStack() as stack:
        store: ObjectStore | None = None
        checkpoint: Checkpoint | None = None
        if settings.uploads:
            store = await stack.enter_async_context(objects.open_objects(settings, partition=manifest.partition))
        if store is not None and settings.checkpoint:
            checkpoint = Checkpoint(store, settings, journal_path(settings))
            if not await stop.unless_requested(checkpoint.begin(resume=settings.resume)):
                raise Interrupted(_signal(stop), f"Stopped by {stop.reason} before anything was changed.")
        begun = begin(manifest, settings, labels=pipeline.labels(os.environ) | settings.label)
        stack.enter_context(structlog.contextvars.bound_contextvars(run=begun.run_id))
        failure = await _work(
            manifest, settings, begun, materials, stack,
            stop=stop, on_start=on_start, on_end=on_end, checkpoint=checkpoint,
        )  # fmt: skip
        stop.done = True
        if checkpoint is not None:
            await checkpoint.last(given_up)
        delivery = Delivery(settings, store, given_up, checkpoint)
        return await _report(begun, delivery, failure)


async def _work(
    manifest: Manifest,
    settings: Settings,
    begun: Begun,
    materials: Materials,
    whole: AsyncExitStack,
    *,
    stop: Stop,
    on_start: Callable[[Started], None],
    on_end: Callable[[Outcome], None],
    checkpoint: Checkpoint | None,
) -> BulkImportError | None:
    """From the journal's first line to its last. Returns what ended the whole run before its time, if anything did.

    The journal stays this run's as long as `whole` lasts: its report is read from it.
    """
    lanes = by_lane(manifest, begun.finished)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(AwsSession(settings, begun.run_id, manifest.partition, lanes))
        journal = whole.enter_context(begun.open())
        stack.callback(journal.finish)
        begun.write(journal)
        if checkpoint is not None:
            await stop.unless_requested(checkpoint.first(journal))  # a stop is heeded below, before any call
            await stack.enter_async_context(checkpoint.kept(journal, lambda: stop.request("checkpoint")))
        on_start(started(begun, lanes, session))
        await stack.enter_async_context(materials)
        failure = await Job(manifest, settings, session, journal, begun, materials, stop, on_end).work(lanes)
        try:
            await narrate.end(journal, stopped=stop.stopped_by, failure=failure)
        except JournalError as error:
            failure = failure or error  # the report then says by itself that the run has no end
        return failure


def _signal(stop: Stop) -> int:
    return int(getattr(signal, stop.reason, signal.SIGTERM))


async def _report(begun: Begun, delivery: Delivery, failure: BulkImportError | None) -> RunResult:
    folded = fold(begun.path)
    place: Path | ObjectUri | None = None
    missing: list[ReportNotWritten] = []
    try:
        place = await delivery.report(folded)
    except ReportNotWritten as error:
        missing.append(error)
    try:
        await delivery.renderings(document.as_report(folded, report_elsewhere=bool(missing)), begun.path.parent)
    except ReportNotWritten as error:
        missing.append(error)
        if not (place is None or (isinstance(place, Path) and not place.is_file())):  # it shall say exit code 6 too
            place = await delivery.report(folded, report_elsewhere=True)
    if missing:
        # They say where the report is, so they are told in any case; what ended the run is told with them.
        before = [f"{failure.code}: {failure.message}"] if failure else []
        failure = ReportNotWritten(
            "\n".join([*before, *(error.message for error in missing)]),
            advice=" ".join(dict.fromkeys(error.advice for error in missing)),
        )
    code = folded.exit_code(report_elsewhere=bool(missing))
    return RunResult(
        run_id=begun.run_id,
        exit_code=ExitCode.INTERNAL if code is None else code,
        summary=folded.summary,
        report=place,
        journal=begun.path,
        environment=folded.caller.get("environment"),
        document=document.as_report(folded, report_elsewhere=bool(missing)),
        error=failure,
    )


def _materials(manifest: Manifest, settings: Settings) -> Materials:
    """The sources of a manifest, not opened yet. Raises ManifestError where file: paths have no folder."""
    return Materials(Opening(settings=settings, root=_root(manifest)))


def _root(manifest: Manifest) -> Path | None:
    """The folder that `file:` paths start from. Raises ManifestError where there is none and one is needed."""
    if manifest.folder is not None:
        return Path(manifest.folder)
    first = next((target for target in manifest.targets if target.material.startswith("file:")), None)
    if first is not None:
        problem = Problem(
            manifest.uri,
            first.line,
            f"material of {first.id}",
            "a file: path starts from the manifest's folder, and a manifest from here has none.",
            "Give --material-root.",
        )
        raise ManifestError([problem])
    return None


async def _check_one(target: Target, materials: Materials) -> None:
    """Without a stated key_spec only KMS could tell the right shape: then being readable is all that is checked."""
    if target.key_spec is None:
        await materials.readable(target)
    else:
        await materials.evidence(target, target.key_spec)


def _shard(manifest: Manifest, shard: str | None) -> Manifest:
    """Every N-th lane: a lane is never split, so that shards do not compete for one quota."""
    if shard is None:
        return manifest
    number, of = (int(part) for part in shard.split("/"))
    lanes = set(list(by_lane(manifest))[number - 1 :: of])
    chosen = [target for target in manifest.targets if target.lane in lanes]
    if not chosen:
        raise ManifestError(
            [Problem(manifest.uri, 0, "--shard", f"{shard} holds no target.", "Use fewer shards than lanes.")]
        )
    targets = tuple(replace(target, index=index, position=target.index) for index, target in enumerate(chosen))
    accounts = {target.lane.account for target in targets}
    return replace(
        manifest,
        targets=targets,
        before_sharding=len(manifest.targets),
        accounts={account: access for account, access in manifest.accounts.items() if account in accounts},
    )
