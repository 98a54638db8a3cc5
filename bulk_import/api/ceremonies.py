"""A ceremony: `prepare` and `submit`. `seal` is not here: it loads no AWS library (commands/seal.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bulk_import import job
from bulk_import.api.runs import clear_results
from bulk_import.api.s3 import fetch
from bulk_import.aws import objects
from bulk_import.ceremony import prepare as ceremony
from bulk_import.ceremony import submit as submission
from bulk_import.ceremony.prepare import Preparation
from bulk_import.ceremony.submit import Inputs, expiring, manifest_of
from bulk_import.ceremony.trust import Trust, all_of, signature_path
from bulk_import.delivery.publish import TEXT, publish, publish_rendering
from bulk_import.errors import InputError, ObjectError, Problem
from bulk_import.iam import session_policies
from bulk_import.job import RunResult
from bulk_import.material import Materials
from bulk_import.material.sources.base import Opening
from bulk_import.model import Manifest, ObjectUri, Outcome, in_s3
from bulk_import.report.known import Known
from bulk_import.run.stop import Stop
from bulk_import.settings import Settings
from bulk_import.work import Started, by_lane, policy_of

__all__ = ["Inputs", "Preparation", "expiring", "manifest_of", "prepare", "read_inputs", "submit"]


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
            manifest, settings, into, policies=session_policies(manifest, "prepare", settings),
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


async def submit(
    inputs: Inputs,
    settings: Settings,
    *,
    stop: Stop | None = None,
    on_start: Callable[[Started], None] = lambda _: None,
    on_end: Callable[[Outcome], None] = lambda _: None,
    on_event: Callable[[str, Mapping[str, Any]], None] = lambda *_: None,
    known: Known | None = None,
) -> RunResult:
    """Imports what was sealed, with the bundle's import parameters; verifies, proves and reports as `run` does.

    `known`: what `clear_results` returned, if it was called before.
    """
    if known is None:
        files = [inputs.facts.bundle.file, *(sealed.file for sealed in inputs.facts.sealed)]
        known = await clear_results(files[0], settings, others=files[1:])
    return await job.run(
        manifest_of(inputs), settings, submission.SealedMaterials(inputs, settings), stop=stop or Stop(),
        on_start=on_start, on_end=on_end, on_event=on_event, known=known, command="submit",
    )  # fmt: skip
