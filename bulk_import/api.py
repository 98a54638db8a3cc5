"""The library: what the command line itself uses.

    from bulk_import import api

    settings = api.load_settings({"report": "out.json"})
    manifest = api.load_manifest("keys.yaml", settings)
    result = asyncio.run(api.run(manifest, settings))
    print(result.exit_code, result.summary)

Every function raises the exceptions of bulk_import.errors, and no others on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from bulk_import import fleet, job, load, shards
from bulk_import.aws import objects
from bulk_import.aws.session import AwsSession
from bulk_import.aws.stores import AwsStores
from bulk_import.ceremony import prepare as ceremony
from bulk_import.ceremony import submit as submission
from bulk_import.ceremony.prepare import Preparation
from bulk_import.ceremony.submit import Inputs
from bulk_import.ceremony.trust import Trust, all_of, signature_path
from bulk_import.delivery import destinations, older_results
from bulk_import.delivery.publish import TEXT, publish, publish_rendering
from bulk_import.errors import (
    InputError,
    ManifestError,
    MaterialError,
    ObjectError,
    Problem,
)
from bulk_import.job import RunResult, Started
from bulk_import.journal import narrate
from bulk_import.journal.begin import journal_path, new_run_id
from bulk_import.manifest.read import MAX_BYTES
from bulk_import.material import Materials, sources
from bulk_import.material.sources.base import Opening
from bulk_import.model import Manifest, ObjectUri, Outcome, Target, in_s3
from bulk_import.plan import Wanted
from bulk_import.report.known import Known
from bulk_import.run.planner import LanePlanner, Plan, summarise
from bulk_import.run.runner import run_lanes
from bulk_import.run.stop import Stop
from bulk_import.settings import Settings
from bulk_import.settings import load as load_settings
from bulk_import.work import by_lane, creating_lanes, policy_of

__all__ = [
    "Inputs", "Known", "Preparation", "RunResult", "Started", "check_material", "clear_results", "division",
    "fetch", "load_manifest", "load_settings",
    "plan", "prepare", "read_inputs", "run", "submit",
]  # fmt: skip


def load_manifest(uri: str, settings: Settings, *, stdin: BinaryIO | None = None, check_dates: bool = True) -> Manifest:
    """Reads, checks and expands a manifest, and selects from it as the settings say.

    `uri`: a path, s3://bucket/key, or `-` for `stdin` (the process's own by default). Raises ManifestError with every
    problem found, and CallerError where the credentials that S3 is asked with do not work.
    """
    data = _manifest_in_s3(uri, settings) if in_s3(uri) else None
    loaded = load.manifest(uri, settings, data=data, stdin=stdin, check_dates=check_dates)
    return shards.take(loaded, settings.shard)


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


async def check_material(manifest: Manifest, settings: Settings) -> tuple[str, ...]:
    """Reads the material of every target, where its source may be read without a run, and checks its shape.

    Returns the schemes of the sources that were not read. Raises ManifestError with every problem found.
    """
    problems = []
    readable = [target for target in manifest.targets if sources.kind_of(target.material).checked_offline]
    opened = load.materials(manifest, settings, AwsStores(settings, manifest.partition))
    opened.check(readable)
    async with opened as materials:
        await materials.begin(readable)
        for target in readable:
            try:
                await _check_one(target, materials)
            except MaterialError as error:
                message = f"{error.message.rstrip('.')}."
                problems.append(Problem(manifest.uri, target.line, f"material of {target.id}", message, error.advice))
    if problems:
        raise ManifestError(list(dict.fromkeys(problems)))
    kinds = dict.fromkeys(sources.kind_of(target.material) for target in manifest.targets)
    return tuple(kind.scheme for kind in kinds if not kind.checked_offline)


def division(manifest: Manifest, settings: Settings, of: int) -> fleet.Division:
    """What `validate --shards` shows: how the lanes divide among `of` machines, and how long each takes at least."""
    return fleet.division(manifest.targets, settings, of)


async def plan(manifest: Manifest, settings: Settings) -> Plan:
    """What `run` would do, per target. Makes the same reads, and changes nothing."""
    if not manifest.targets:  # a shard without any: nothing to ask AWS for
        return Plan(manifest, None, None, {}, narrate.selection(settings), (), ())
    run_id = new_run_id()
    started = datetime.now(UTC)
    stop = Stop()
    lanes = by_lane(manifest)
    opened = load.materials(manifest, settings, AwsStores(settings, manifest.partition))
    opened.check(manifest.targets)
    known = job.load_known(settings)
    async with (
        opened as materials,
        AwsSession(
            settings, run_id, manifest.partition, lanes, s3=in_s3(manifest.uri), creating=creating_lanes(manifest)
        ) as session,
    ):
        await session.connect()
        await materials.begin(manifest.targets)
        policy = policy_of(settings, session, started, materials, known)
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


async def prepare(manifest: Manifest, settings: Settings, bundle: str) -> Preparation:
    """Import parameters for every target that needs an import, in a bundle: a new file, or one that is continued.

    `bundle`: a path, or s3://bucket/key. Then the bundle is written to a file of that name in the current folder, line
    by line, and copied to S3 when it is complete; an older object is kept under its own ID. Raises InputError where the
    file cannot be continued, CallerError, SettingsError.
    """
    into = Path(ObjectUri.parse(bundle).name) if in_s3(bundle) else Path(bundle)
    # No source is opened: a bundle holds no material.
    materials = Materials(Opening(settings=settings, root=None))
    try:
        found = await ceremony.prepare(
            manifest, settings, into,
            policy_of=lambda session, started: policy_of(settings, session, started, materials),
            lanes=lambda done: by_lane(
                replace(manifest, targets=tuple(target for target in manifest.targets if target.index not in done))
            ),
        )  # fmt: skip
        if in_s3(bundle):
            await _to_s3(found, into, ObjectUri.parse(bundle), settings, manifest.partition)
    except OSError as error:
        problem = Problem(str(into), 0, "", f"cannot be written: {error.strerror}.", "Name another file.")
        raise InputError([problem]) from None
    except ObjectError as error:
        advice = f"{error.advice} The bundle is in {into}: copy it yourself, or run `prepare` again."
        raise InputError([Problem(bundle, 0, "", error.reason, advice)], code=error.code) from None
    return found


async def _to_s3(found: Preparation, file: Path, uri: ObjectUri, settings: Settings, partition: str) -> None:
    """Raises ObjectError, CallerError, OSError."""
    async with objects.open_objects(settings, partition=partition) as store:
        await publish(store, file, uri, run_id=found.bundle.head.bundle_id)
        if found.signature is not None:
            beside = uri.beside(f"{uri.name}.sig")
            run_id = found.bundle.head.bundle_id
            await publish_rendering(store, found.signature, beside, content_type=TEXT, run_id=run_id)


async def clear_results(uri: str, settings: Settings) -> Known:
    """Moves the results of an earlier run out of the way of a run of the manifest at `uri`, which is not read.

    `run` does this too. Done before the manifest is read, it also keeps a run that ends there from leaving an older
    result behind that could be taken for its own. Returns what the reports of --known prove, which may be among those
    results: pass it to `run`. Raises SettingsError where two places clash, InputError for a known report that cannot
    be read, CallerError.
    """
    destinations.check(settings, journal_path(settings), uri)
    try:
        known = job.load_known(settings)
    finally:
        older_results.clear_files(settings)
        if any(map(in_s3, (settings.report, *settings.render.values()))):
            quick = settings.model_copy(update={"retry_timeout": min(settings.retry_timeout, older_results.PATIENCE)})
            async with older_results.reachable(), objects.open_objects(quick) as store:
                await older_results.clear_objects(settings, store)
    return known


async def run(
    manifest: Manifest,
    settings: Settings,
    *,
    stop: Stop | None = None,
    on_start: Callable[[Started], None] = lambda _: None,
    on_end: Callable[[Outcome], None] = lambda _: None,
    on_event: Callable[[str, Mapping[str, Any]], None] = lambda _, __: None,
    known: Known | None = None,
) -> RunResult:
    """Imports, verifies, proves, and writes journal and report.

    `stop`: request it to stop the run in an orderly way. `on_start` is called before the first call to AWS, `on_end` at
    each target's end, `on_event` with name and fields of each event of a target, as journal/events.py lists them.
    `known`: what `clear_results` returned, if it was called before.
    A target's failure is in the report and the exit code, not an exception. Raises SettingsError
    before any call, and JournalError where the journal cannot be begun.
    """
    if known is None:
        known = await clear_results(manifest.uri, settings)
    return await job.run(
        manifest,
        settings,
        load.materials(manifest, settings, AwsStores(settings, manifest.partition)),
        stop=stop or Stop(),
        on_start=on_start,
        on_end=on_end,
        on_event=on_event,
        known=known,
    )


async def submit(
    inputs: Inputs,
    settings: Settings,
    *,
    stop: Stop | None = None,
    on_start: Callable[[Started], None] = lambda _: None,
    on_end: Callable[[Outcome], None] = lambda _: None,
    on_event: Callable[[str, Mapping[str, Any]], None] = lambda *_: None,
) -> RunResult:
    """Imports what was sealed, with the bundle's import parameters; verifies, proves and reports as `run` does."""
    return await job.run(
        submission.manifest_of(inputs), settings, submission.SealedMaterials(inputs, settings), stop=stop or Stop(),
        on_start=on_start, on_end=on_end, on_event=on_event, known=job.load_known(settings),
    )  # fmt: skip


def read_inputs(
    bundle: str, sealed: Sequence[str], settings: Settings, *, ask: Callable[[str], str] | None = None
) -> Inputs:
    """The files of a ceremony (paths or s3:// URIs), each vouched for before anything of it is used.

    `ask`: asks a person for a fingerprint that the settings do not give. Raises InputError where a file is vouched for
    by nobody, was altered, or does not fit the bundle; CallerError where S3 does not accept the caller.
    """
    trust = Trust(settings.fingerprint, settings.signed_by, ask)
    with TemporaryDirectory(prefix="bulk-import-") as folder:
        files = [
            (_here(name, settings, Path(folder) / str(number)), name) for number, name in enumerate([bundle, *sealed])
        ]
        first, *others = all_of(trust, files)
    return submission.read(first, others)


def _here(name: str, settings: Settings, copy: Path) -> Path:
    """A file of a ceremony on this machine: itself, or a copy of the object, with its signature if one is needed."""
    if not in_s3(name):
        return Path(name)
    copy.write_bytes(fetch(name, settings))
    if settings.signed_by:
        signature_path(copy).write_bytes(fetch(f"{name}.sig", settings))
    return copy


async def _check_one(target: Target, materials: Materials) -> None:
    """Without a stated key_spec only KMS could tell the right shape: then being readable is all that is checked."""
    if target.key_spec is None:
        await materials.readable(target)
    else:
        await materials.evidence(target, target.key_spec)
