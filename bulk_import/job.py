"""One run on one page: begin → connect → lanes → end → deliver."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from bulk_import import open_files, pipeline
from bulk_import.approval import SavedPlan, check_endpoints
from bulk_import.aws import objects
from bulk_import.aws.session import AwsSession
from bulk_import.delivery import destinations
from bulk_import.delivery.checkpoint import Checkpoint
from bulk_import.delivery.deliver import Delivery
from bulk_import.delivery.local import from_journal
from bulk_import.errors import (
    BulkImportError,
    ExitCode,
    InputError,
    Interrupted,
    JournalError,
    ObjectError,
    Problem,
    ReportNotWritten,
)
from bulk_import.iam import session_policies
from bulk_import.journal import narrate
from bulk_import.journal.begin import Begun, begin, journal_path
from bulk_import.journal.earlier import by_runs_of
from bulk_import.journal.writer import Journal
from bulk_import.manifest.read import MAX_BYTES
from bulk_import.material import Materials, sources
from bulk_import.model import Manifest, ObjectUri, Outcome, in_s3
from bulk_import.model.run import Command, Summary
from bulk_import.ports import ObjectStore
from bulk_import.report import known as reports_known
from bulk_import.report.document import Document
from bulk_import.report.fold import fold
from bulk_import.report.known import Known
from bulk_import.report.reread import Report
from bulk_import.run.approved import Approved
from bulk_import.run.approved_lane import ApprovedLane
from bulk_import.run.deleter import LaneDeleter
from bulk_import.run.lane import LaneRunner
from bulk_import.run.stop import Stop
from bulk_import.settings import Settings
from bulk_import.work import Started, Work, creating_lanes, lanes_used

LANES: Mapping[Command, type[LaneRunner]] = {"run": LaneRunner, "submit": LaneRunner, "delete": LaneDeleter}
# The call whose quota decides how fast a lane can be. Sealed material has its import parameters already.
SCARCEST: Mapping[Command, str] = {
    "run": "GetParametersForImport", "submit": "ImportKeyMaterial", "delete": "DeleteImportedKeyMaterial",
}  # fmt: skip


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
    renderings: Mapping[str, Path | ObjectUri] = field(default_factory=dict)  # format → where it was written


async def run(
    manifest: Manifest,
    settings: Settings,
    materials: Materials,
    *,
    stop: Stop,
    on_start: Callable[[Started], None],
    on_end: Callable[[Outcome], None],
    on_event: Callable[[str, Mapping[str, Any]], None],
    known: Known,
    command: Command = "run",
    saved: SavedPlan | None = None,
) -> RunResult:
    """One run. See api.run for what goes in and out, and for what is raised. `saved`: of --plan."""
    destinations.check(settings, journal_path(settings), manifest.uri, manifest)
    materials.check(manifest.targets)
    async with AsyncExitStack() as whole:
        open_files.reserve()
        whole.callback(open_files.release)
        # begin: S3 if it is used, then the journal, which stays this run's until the report is made from it
        store, checkpoint = await _storage(manifest, settings, stop, whole)
        approved = _approved(saved, manifest, settings)
        begun = begin(manifest, settings, labels=pipeline.labels(os.environ) | settings.label, command=command)
        whole.enter_context(structlog.contextvars.bound_contextvars(run=begun.run_id))
        async with AsyncExitStack() as stack:
            s3 = bool(settings.uploads) or in_s3(manifest.uri)
            scarcest = SCARCEST[command]
            session = AwsSession(
                settings, begun.run_id, manifest.partition, lanes_used(manifest), scarcest=scarcest, s3=s3,
                creating=creating_lanes(manifest), policies=session_policies(manifest, command, settings),
                stores=sources.stores(part.material for target in manifest.targets for part in target.parts),
            )  # fmt: skip
            await stack.enter_async_context(session)
            if saved is not None:
                check_endpoints(saved, session.endpoints)
            journal = whole.enter_context(begun.open())
            stack.callback(journal.finish)
            begun.write(journal)
            await _keep_checkpoints(checkpoint, journal, stop, stack)
            work = Work(
                manifest, settings, session, journal, begun, materials, stop, on_end, on_event, known,
                ApprovedLane if approved else LANES[command], approved,
            )  # fmt: skip
            on_start(work.started())
            materials.record(journal, begun.left)
            await stack.enter_async_context(materials)
            # connect, lanes
            failure = await work.done_by(work.connect, work.run_lanes)
            # end
            failure = await _end(journal, stop, failure)
        stop.done = True
        # deliver
        open_files.release()
        given_up = partial(stop.over, settings.grace)
        if checkpoint is not None:
            await checkpoint.last(given_up)
        return await _deliver(begun, Delivery(settings, store, given_up, checkpoint), failure)


def _approved(saved: SavedPlan | None, manifest: Manifest, settings: Settings) -> Approved | None:
    """Before the older journal is set aside: it says what an earlier run of the plan did."""
    if saved is None:
        return None
    own = by_runs_of(saved.facts.sha256, journal_path(settings))
    return Approved(saved.binding, manifest.targets, own)


def load_known(settings: Settings) -> Known:
    """What the reports of --known prove. Raises InputError, CallerError."""

    def download(prefix: str, choose: Callable[[list[str]], list[str]]) -> Iterator[tuple[str, bytes]]:
        try:
            yield from objects.fetch_all(prefix, settings, choose=choose, limit=MAX_BYTES)
        except ObjectError as error:
            raise InputError([Problem(prefix, 0, "--known", error.reason, error.advice)], code=error.code) from None

    return reports_known.load(settings.known, download)


async def _storage(
    manifest: Manifest, settings: Settings, stop: Stop, whole: AsyncExitStack
) -> tuple[ObjectStore | None, Checkpoint | None]:
    """What the run writes to in S3. Raises Interrupted, JournalError, CallerError."""
    if not settings.uploads:
        return None, None
    store = await whole.enter_async_context(objects.open_objects(settings, partition=manifest.partition))
    if not settings.checkpoint:
        return store, None
    checkpoint = Checkpoint(store, settings, journal_path(settings))
    if not await stop.unless_requested(checkpoint.begin(resume=settings.resume)):
        number = int(getattr(signal, stop.reason, signal.SIGTERM))
        raise Interrupted(number, f"Stopped by {stop.reason} before anything was changed.")
    return store, checkpoint


async def _keep_checkpoints(checkpoint: Checkpoint | None, journal: Journal, stop: Stop, stack: AsyncExitStack) -> None:
    if checkpoint is not None:
        await stop.unless_requested(checkpoint.first(journal))  # a stop is obeyed later, before any call
        await stack.enter_async_context(checkpoint.kept(journal, lambda: stop.request("checkpoint")))


async def _end(journal: Journal, stop: Stop, failure: BulkImportError | None) -> BulkImportError | None:
    """The journal's last lines. `failure`: what ended the run early. Returns it, or the journal's own failure."""
    try:
        await narrate.end(journal, stopped=stop.stopped_by, failure=failure)
    except JournalError as error:
        return failure or error  # the report then says by itself that the run has no end
    return failure


async def _deliver(begun: Begun, delivery: Delivery, failure: BulkImportError | None) -> RunResult:
    try:
        folded = fold(begun.path)
        delivered = await delivery.all(Document.of(folded), failure)
    except JournalError as error:
        if open_files.is_shortage(error.__cause__):
            before = f"{failure.code}: {failure.message}\n" if failure else ""
            raise ReportNotWritten(
                f"{before}The report could not be written (too many open files: the limit is {open_files.limit()}). "
                f"The journal has everything: {begun.path}.",
                advice=f"{open_files.RAISE}. {from_journal(begun.path)}",
            ) from None
        raise failure or error from None  # a disk that took no line of the journal is the cause, not the empty journal
    code = delivered.report.head["run"]["exit_code"]
    return RunResult(
        run_id=begun.run_id,
        exit_code=ExitCode.INTERNAL if code is None else ExitCode(code),
        summary=folded.summary,
        report=delivered.place,
        journal=begun.path,
        environment=folded.caller.get("environment"),
        document=delivered.report,
        error=delivered.error,
        renderings=delivery.written,
    )
