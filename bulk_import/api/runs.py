"""The plan of a run, and the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bulk_import import job, load
from bulk_import.api.plans import bound
from bulk_import.approval import SavedPlan, check_endpoints, with_plan
from bulk_import.aws import objects
from bulk_import.aws.session import AwsSession
from bulk_import.aws.stores import AwsStores
from bulk_import.delivery import destinations, older_results
from bulk_import.iam import session_policies
from bulk_import.job import RunResult
from bulk_import.journal import narrate
from bulk_import.journal.begin import journal_path, new_run_id
from bulk_import.journal.earlier import by_runs_of
from bulk_import.load import NoMaterials
from bulk_import.material import sources
from bulk_import.material.bound import BoundMaterials, Supply
from bulk_import.model import Manifest, Outcome, in_s3
from bulk_import.plan import wanted_of
from bulk_import.report.known import Known
from bulk_import.run.approved import Approved
from bulk_import.run.approved_lane import ApprovedPlanner
from bulk_import.run.barrier import Barrier
from bulk_import.run.binding import Notes
from bulk_import.run.planner import LanePlanner, Plan, summarise
from bulk_import.run.runner import run_lanes
from bulk_import.run.stop import Stop
from bulk_import.settings import Settings
from bulk_import.work import Started, by_lane, compared, creating_lanes, lanes_used, policy_of


async def plan(manifest: Manifest, settings: Settings, *, bind: bool = False, saved: SavedPlan | None = None) -> Plan:
    """What `run` would do, per target. Makes the same reads, and changes nothing.

    `bind`: for `save_plan`; then every source is read. `saved`: what `load_plan` returned, to show what `run --plan`
    would do.
    """
    started = datetime.now(UTC)
    if not manifest.targets:  # a shard without any: nothing to ask AWS for
        nothing = Plan(manifest, None, None, {}, narrate.selection(settings, manifest), (), ())
        return await bound(nothing, Notes(), NoMaterials(settings), settings, started) if bind else nothing
    run_id = new_run_id()
    notes = Notes() if bind else None
    stop = Stop()
    lanes = by_lane(manifest)
    policies = session_policies(manifest, "plan", settings)
    opened = load.materials(manifest, settings, AwsStores(settings, manifest.partition, policies))
    opened.check(manifest.targets)
    known = job.load_known(settings)
    async with (
        opened as materials,
        AwsSession(
            settings,
            run_id,
            manifest.partition,
            lanes_used(manifest),
            s3=in_s3(manifest.uri),
            creating=creating_lanes(manifest),
            policies=policies,
            stores=sources.stores(part.material for target in manifest.targets for part in target.parts),
        ) as session,  # fmt: skip
    ):
        if saved is not None:
            check_endpoints(saved, session.endpoints)
        await session.connect()
        await materials.begin(manifest.targets)
        noted: Supply = BoundMaterials(materials, Notes.arn_for, notes.see) if notes is not None else materials
        policy = policy_of(settings, session, started, noted, known)
        barrier = Barrier(manifest.targets)
        ports = {lane: await session.lane(lane, manifest.accounts[lane.account]) for lane in lanes_used(manifest)}
        barrier.connect(ports)
        planner = LanePlanner
        if saved is not None:
            manifest = with_plan(manifest, saved)
            own = by_runs_of(saved.facts.sha256, journal_path(settings))
            policy = compared(policy, Approved(saved.binding, manifest.targets, own))
            planner = ApprovedPlanner
        planners = [
            planner(
                lane,
                targets,
                ports[lane],
                policy,
                stop=stop,
                barrier=barrier,
                wanted=lambda target: wanted_of(target, manifest.counts_from(started)),
                notes=notes,
            )
            for lane, targets in lanes.items()
        ]
        await run_lanes(planners, stop, grace=0, barrier=barrier)
        if stop.fatal is not None:
            raise stop.fatal
        made = summarise(
            planners,
            manifest,
            caller={"account": session.caller.account, "arn": session.caller.arn},
            environment=session.environment,
            endpoints=session.endpoints,
            selection=narrate.selection(settings, manifest),
            rate=session.rate,
            reads=settings.reads,
            interval=settings.read_interval,
        )
        return made if notes is None else await bound(made, notes, noted, settings, started)


async def clear_results(uri: str, settings: Settings, *, others: Sequence[str] = ()) -> Known:
    """Moves the results of an earlier run out of the way of a run of the manifest at `uri`, which is not read.

    `others`: further inputs, whose place no output may take.

    `run` does this too. Done before the manifest is read, it also keeps a run that ends there from leaving an older
    result behind that could be taken for its own. Returns what the reports of --known prove, which may be among those
    results: pass it to `run`. Raises SettingsError where two places clash, InputError for a known report that cannot
    be read, CallerError.
    """
    destinations.check(settings, journal_path(settings), uri, others=others)
    try:
        known = job.load_known(settings)
    finally:
        await clear_older(settings)
    return known


async def clear_older(settings: Settings) -> None:
    """Files and objects in the way of a report and its renderings. Raises SettingsError, CallerError."""
    older_results.clear_files(settings)
    if any(map(in_s3, (settings.report, *settings.render.values()))):
        async with older_results.reachable(), objects.open_objects(older_results.quick(settings)) as store:
            await older_results.clear_objects(settings, store)


async def run(
    manifest: Manifest,
    settings: Settings,
    *,
    stop: Stop | None = None,
    on_start: Callable[[Started], None] = lambda _: None,
    on_end: Callable[[Outcome], None] = lambda _: None,
    on_event: Callable[[str, Mapping[str, Any]], None] = lambda _, __: None,
    known: Known | None = None,
    saved: SavedPlan | None = None,
) -> RunResult:
    """Imports, verifies, proves, and writes journal and report.

    `stop`: request it to stop the run in an orderly way. `on_start` is called before the first call to AWS, `on_end` at
    each target's end, `on_event` with name and fields of each event of a target, as journal/events.py lists them.
    `known`: what `clear_results` returned, if it was called before. `saved`: what `load_plan` returned; the run then
    makes only the changes of that plan.
    A target's failure is in the report and the exit code, not an exception. Raises SettingsError
    before any call, and JournalError where the journal cannot be begun.
    """
    if known is None:
        known = await clear_results(manifest.uri, settings)
    policies = session_policies(manifest, "run", settings)
    if saved is not None:
        manifest = with_plan(manifest, saved)
    return await job.run(
        manifest,
        settings,
        load.materials(manifest, settings, AwsStores(settings, manifest.partition, policies)),
        stop=stop or Stop(),
        on_start=on_start,
        on_end=on_end,
        on_event=on_event,
        known=known,
        saved=saved,
    )


async def delete(
    manifest: Manifest,
    settings: Settings,
    *,
    stop: Stop | None = None,
    on_start: Callable[[Started], None] = lambda _: None,
    on_end: Callable[[Outcome], None] = lambda _: None,
    on_event: Callable[[str, Mapping[str, Any]], None] = lambda _, __: None,
) -> RunResult:
    """Deletes the imported material of every selected target, verifies, and writes journal and report.

    Asks no one whether it may. Parameters and exceptions as in `run`; no source of material is opened.
    """
    await clear_results(manifest.uri, settings)
    return await job.run(
        manifest,
        settings,
        load.NoMaterials(settings),
        stop=stop or Stop(),
        on_start=on_start,
        on_end=on_end,
        on_event=on_event,
        known=Known(),
        command="delete",
    )
