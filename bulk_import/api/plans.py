"""A plan that is saved, approved, and run later."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bulk_import import __version__, approval
from bulk_import.approval import SavedPlan
from bulk_import.aws import objects
from bulk_import.delivery import plans
from bulk_import.errors import InputError, ObjectError, Problem, ReportNotWritten
from bulk_import.material.bound import Supply
from bulk_import.model import Manifest, ObjectUri, in_s3
from bulk_import.model.run import CallerFacts, ManifestFacts, Selected, Tool
from bulk_import.plan import Action
from bulk_import.run.binding import Notes, not_read
from bulk_import.run.planned import PlanDocument, PlannedTarget, PlanSummary
from bulk_import.run.planner import Plan
from bulk_import.settings import Settings


@dataclass(frozen=True, slots=True)
class Saved:
    """Where a plan is. `sha256`: of the file's bytes."""

    place: Path | ObjectUri
    sha256: str


async def bound(plan: Plan, notes: Notes, materials: Supply, settings: Settings, created_at: datetime) -> Plan:
    """The plan with what a run must find again. Reads the sources that nothing else has read."""
    binding, targets = await notes.bind(
        plan.targets, materials, created_at=created_at, shard=settings.shard, accounts=plan.manifest.accounts,
        settings=approval.settings_of(settings),
    )  # fmt: skip
    return replace(plan, binding=binding, targets=tuple(targets))


def plan_json(plan: Plan) -> bytes:
    """The document of `schema plan`: what --format json prints, and what --out saves."""
    counts = plan.counts()
    document = PlanDocument(
        schema_version=1,
        tool=Tool("bulk-import", __version__),
        manifest=ManifestFacts(plan.manifest.shown_uri, plan.manifest.sha256, plan.manifest.total),
        selection=Selected(**plan.selection),
        caller=CallerFacts(**plan.caller) if plan.caller else None,
        partition=plan.manifest.partition,
        environment=plan.environment,
        endpoints=dict(plan.endpoints),
        summary=PlanSummary(len(plan.targets), *(counts[action] for action in Action)),
        lanes=list(plan.lanes),
        targets=list(plan.targets),
        binding=plan.binding,
        checksum=None,
    )
    return approval.encode(document)


def clear_plan_file(out: str) -> None:
    """Removes an older plan from the file `out`; leaves anything else. Raises SettingsError."""
    if not in_s3(out) and plans.holds_plan(out):
        plans.clear_file(out)


async def clear_plan(uri: str, settings: Settings, manifest: Manifest | None = None) -> None:
    """Removes an older plan from --out: nobody may take it for the new one. `uri`: of the manifest.

    Raises SettingsError where something else is there, or where the place is used otherwise; CallerError.
    """
    out = settings.out
    if out is None:
        return
    plans.check(out, uri, settings, manifest)
    if not in_s3(out):
        plans.clear_file(out)
        return
    try:
        async with objects.open_objects(settings) as store:
            await plans.clear_object(ObjectUri.parse(out), store)
    except ObjectError as error:
        raise InputError([Problem(out, 0, "--out", error.reason, error.advice)], code=error.code) from None


async def save_plan(plan: Plan, settings: Settings) -> Saved | list[PlannedTarget]:
    """Writes a plan that was made with `bind` to --out. Returns where it is; or the targets of which something could
    not be read: then nothing is written.

    Raises ReportNotWritten, CallerError.
    """
    if settings.out is None or plan.binding is None:
        raise RuntimeError("a plan is saved only with --out, and only if it was made with `bind`")
    if unread := not_read(plan.targets):
        return unread
    data, out = plan_json(plan), settings.out
    try:
        if in_s3(out):
            async with objects.open_objects(settings, partition=plan.manifest.partition) as store:
                await plans.write_object(ObjectUri.parse(out), data, store)
        else:
            plans.write_file(out, data)
    except OSError as error:
        message = f"The plan was not saved: {out} cannot be written ({error.strerror})."
        raise ReportNotWritten(message, advice="Make the place writable, then plan again.") from None
    except ObjectError as error:
        raise ReportNotWritten(f"The plan was not saved: {error.message}", advice=error.advice) from None
    place = ObjectUri.parse(out) if in_s3(out) else Path(out)
    return Saved(place, hashlib.sha256(data).hexdigest())


def load_plan(manifest: Manifest, settings: Settings) -> SavedPlan | None:
    """The plan of --plan, if it may still be run with this manifest and these settings. None: --plan is not given.

    Raises InputError with everything that differs, CallerError.
    """
    name = settings.plan
    if name is None:
        return None
    if in_s3(name):
        try:
            data = objects.fetch(name, settings, limit=approval.LARGEST)
        except ObjectError as error:
            raise InputError([Problem(name, 0, "--plan", error.reason, error.advice)], code=error.code) from None
    else:
        data = plans.read_file(name, approval.LARGEST)
    return approval.read(name, data, manifest, settings)
