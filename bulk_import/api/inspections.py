"""The state of every key: read, compared, rendered. Changes nothing in KMS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from bulk_import import __version__, job, load
from bulk_import.api.runs import clear_older
from bulk_import.aws.session import AwsSession
from bulk_import.aws.stores import AwsStores
from bulk_import.delivery import destinations, pages
from bulk_import.errors import ExitCode
from bulk_import.iam import session_policies
from bulk_import.journal import narrate
from bulk_import.journal.begin import new_run_id
from bulk_import.material import sources
from bulk_import.model import Manifest, ObjectUri, Target, in_s3
from bulk_import.model.run import CallerFacts, ManifestFacts, Selected, Tool
from bulk_import.report.formats import inspection
from bulk_import.report.known import Known
from bulk_import.run.barrier import Barrier
from bulk_import.run.inspected import ALARMING, InspectedTarget, Standing, StatusDocument, StatusRun, StatusSummary
from bulk_import.run.inspector import LaneInspector
from bulk_import.run.runner import run_lanes
from bulk_import.run.stop import Stop
from bulk_import.settings import Settings
from bulk_import.work import by_lane, lanes_used, policy_of

StatusValues = dict[str, Any]  # a StatusDocument as JSON


async def clear_renderings(uri: str, settings: Settings) -> Known:
    """Moves renderings of an earlier check out of the way of one of the manifest at `uri`, which is not read.

    Returns what the reports of --known prove. Raises SettingsError where two places clash, InputError for a known
    report that cannot be read, CallerError.
    """
    only_renderings = _only_renderings(settings)
    destinations.check(only_renderings, None, uri)
    try:
        return job.load_known(settings)
    finally:
        await clear_older(only_renderings)


async def status(manifest: Manifest, settings: Settings, *, known: Known | None = None) -> StatusValues:
    """How every selected key compares with the manifest: the document of `schema status`, as JSON's values.

    `known`: what `clear_renderings` returned, if it was called before. A key that cannot be read is in the document,
    not an exception. Raises CallerError, SettingsError, InputError.
    """
    if known is None:
        known = await clear_renderings(manifest.uri, settings)
    destinations.check(_only_renderings(settings), None, manifest.uri, manifest)
    run_id, started = new_run_id(), datetime.now(UTC)
    if not manifest.targets:  # a shard without any: nothing to ask AWS for
        return _document(manifest, settings, [], run_id=run_id, started=started, connection={})
    stop, lanes = Stop(), by_lane(manifest)
    policies = session_policies(manifest, "status", settings)
    opened = load.materials(manifest, settings, AwsStores(settings, manifest.partition, policies))
    compared = [target for target in manifest.targets if _may_be_compared(target, settings)]
    opened.check(compared)
    within = None if settings.within is None else timedelta(seconds=settings.within)
    async with (
        opened as materials,
        AwsSession(
            settings,
            run_id,
            manifest.partition,
            lanes_used(manifest),
            s3=in_s3(manifest.uri),
            policies=policies,
            stores=sources.stores(part.material for target in compared for part in target.parts),
        ) as session,  # fmt: skip
    ):
        await session.connect()
        if compared:
            await materials.begin(compared)
        policy = replace(policy_of(settings, session, started, materials, known), require_proof=False, prove_use=False)
        barrier = Barrier(manifest.targets)
        ports = {lane: await session.lane(lane, manifest.accounts[lane.account]) for lane in lanes_used(manifest)}
        barrier.connect(ports)
        inspectors = [
            LaneInspector(
                lane, targets, ports[lane], policy, stop=stop, barrier=barrier, within=within,
                knows=bool(settings.known),
            )
            for lane, targets in lanes.items()
        ]  # fmt: skip
        await run_lanes(inspectors, stop, grace=0, barrier=barrier)
        if stop.fatal is not None:
            raise stop.fatal
        connection = {
            "caller": CallerFacts(session.caller.account, session.caller.arn),
            "environment": session.environment,
            "endpoints": session.endpoints,
        }
    found = sorted((one for each in inspectors for one in each.inspected), key=lambda one: one.index)
    return _document(manifest, settings, found, run_id=run_id, started=started, connection=connection)


def show_status(found: StatusValues, form: str) -> str:
    """The document as `form`: table, json, html, junit, markdown, github or csv. Raises UsageError for another."""
    return inspection.render(form, found)


async def write_status(found: StatusValues, settings: Settings) -> Mapping[str, Path | ObjectUri]:
    """Writes the renderings of --render. Returns format → where it is; raises ReportNotWritten."""
    return await pages.write(
        settings, lambda name: inspection.render(name, found),
        run_id=found["run"]["run_id"], partition=found["run"]["partition"],
    )  # fmt: skip


def _only_renderings(settings: Settings) -> Settings:
    """A check writes no report and no journal, even if the settings of a run name some."""
    return settings.model_copy(update={"report": "-", "checkpoint": None})


def _may_be_compared(target: Target, settings: Settings) -> bool:
    """Whether the source of a target may be opened. Symmetric material is compared only with what is known of it."""
    if settings.prove == "none":
        return False
    return target.key_spec is None or not target.key_spec.symmetric or bool(settings.known)


def _document(
    manifest: Manifest, settings: Settings, targets: list[InspectedTarget], *, run_id: str, started: datetime,
    connection: Mapping[str, Any],
) -> StatusValues:  # fmt: skip
    counts = Counter(target.state for target in targets)
    finished = datetime.now(UTC)
    document = StatusDocument(
        schema_version=1,
        tool=Tool("bulk-import", __version__),
        run=StatusRun(
            run_id=run_id,
            started_at=_instant(started),
            finished_at=_instant(finished),
            duration_seconds=round((finished - started).total_seconds(), 3),
            exit_code=_exit_code(targets, counts),
            manifest=ManifestFacts(manifest.shown_uri, manifest.sha256, manifest.total),
            selection=Selected(**narrate.selection(settings, manifest)),
            selected=manifest.selected,
            within_seconds=settings.within,
            caller=connection.get("caller"),
            partition=manifest.partition,
            environment=connection.get("environment"),
            endpoints=dict(connection.get("endpoints", {})),
            shard=settings.shard,
        ),
        summary=StatusSummary(
            len(targets), **{one.value: counts[one] for one in Standing},
        ),
        targets=targets,
    )  # fmt: skip
    values = TypeAdapter(StatusDocument).dump_python(document, by_alias=True)
    return dict(orjson.loads(orjson.dumps(values, option=orjson.OPT_UTC_Z)))


def _exit_code(targets: list[InspectedTarget], counts: Mapping[Standing, int]) -> ExitCode:
    if any(target.error is not None and target.error.code == "InternalError" for target in targets):
        return ExitCode.INTERNAL
    if any(counts.get(standing) for standing in ALARMING):
        return ExitCode.DRIFT
    if unreadable := counts.get(Standing.UNREADABLE, 0):
        return ExitCode.NONE_WELL if unreadable == len(targets) else ExitCode.PARTIAL
    return ExitCode.OK


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
