"""A saved plan as a file's bytes, and whether it may still be run: with this manifest, selection and settings, now.

It holds no secret: check values, digests and what KMS showed. It is bound to the manifest by its SHA-256, so nothing
in it says what to import.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from bulk_import import strict_json
from bulk_import.errors import InputError, Problem
from bulk_import.journal import narrate
from bulk_import.model import Binding, Manifest, PlanFacts
from bulk_import.model.approval import BoundSettings
from bulk_import.run.planned import PlanDocument
from bulk_import.settings import Settings
from bulk_import.text import harmless
from bulk_import.words import as_utc, duration

LARGEST: Final = 1 << 29  # bytes of a plan; 100,000 targets have about 300 MB
VERSION: Final = 1
_CLOCKS: Final = timedelta(minutes=5)  # how far two machines' clocks may differ: AWS itself allows no more
_AGAIN: Final = "Make a new plan: bulk-import plan MANIFEST --out FILE."
_ALIKE: Final = "Use the same as for `plan --out`, or make a new plan."
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d+")
_DOCUMENT: Final = TypeAdapter(PlanDocument)


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan that was read, and fits the manifest. `name`: of its file, as a person gave it."""

    name: str
    facts: PlanFacts
    document: PlanDocument

    @property
    def binding(self) -> Binding:
        if self.document.binding is None:
            raise RuntimeError("a plan without a binding is not read")
        return self.document.binding


def encode(document: PlanDocument) -> bytes:
    """With its checksum."""
    values = _DOCUMENT.dump_python(document, by_alias=True)
    if document.binding is not None:
        # By way of JSON, as a reader has it.
        values = orjson.loads(orjson.dumps(values, option=orjson.OPT_UTC_Z))
        values["checksum"] = _checksum(values)
    return orjson.dumps(values, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def settings_of(settings: Settings) -> BoundSettings:
    """What of the settings affects a decision."""
    return BoundSettings(prove=settings.prove, correct=sorted(settings.correct))


def read(name: str, data: bytes, manifest: Manifest, settings: Settings) -> SavedPlan:
    """A plan for `run --plan`. Raises InputError for what is no saved plan, for one that is too old, and for one of
    another manifest, selection or settings: with everything that differs.
    """
    document = _parsed(name, data)
    binding = document.binding
    if binding is None:
        raise _refuse(name, "this plan was printed, not saved: it lacks what a run must compare.", _AGAIN)
    saved = SavedPlan(name, PlanFacts(hashlib.sha256(data).hexdigest(), binding.created_at.astimezone(UTC)), document)
    problems = [
        Problem(name, 0, field, message, advice) for field, message, advice in _differing(saved, manifest, settings)
    ]
    if problems:
        raise InputError(problems)
    return saved


def check_endpoints(saved: SavedPlan, endpoints: Mapping[str, str]) -> None:
    """Raises InputError where the run would talk to another AWS than the plan did. Calls no one."""
    made = saved.document.endpoints
    problems = [
        Problem(
            saved.name, 0, f"endpoints.{service}", f"the plan talked to {made[service]}, this run to {url}.", _ALIKE
        )
        for service, url in sorted(endpoints.items())
        if service in made and _REGION.sub("{region}", made[service]) != _REGION.sub("{region}", url)
    ]
    if problems:
        raise InputError(problems)


def _parsed(name: str, data: bytes) -> PlanDocument:
    try:
        values = strict_json.loads(data)
    except orjson.JSONDecodeError as error:
        why = harmless(str(error).partition(":")[0])
        raise _refuse(name, f"this is not a saved plan: it is not JSON ({why}).", _AGAIN) from None
    if not isinstance(values, dict) or not {"schema_version", "targets", "summary", "lanes"} <= values.keys():
        raise _refuse(name, "this is not a saved plan.", "Name the file that `bulk-import plan --out` wrote.")
    if values["schema_version"] != VERSION:
        message = f"this plan has schema_version {str(values['schema_version'])[:20]}; this version reads {VERSION}."
        raise _refuse(name, message, "Use the version of bulk-import that wrote it, or make a new plan.")
    if values.get("binding") is not None and values.get("checksum") != _checksum(values):
        raise _refuse(name, "this plan was altered or damaged after it was written.", _AGAIN)
    try:
        return _DOCUMENT.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _refuse(name, f"{place} is not as a plan has it: {first['msg']}.", _AGAIN, field=place) from None


def _checksum(values: Mapping[str, Any]) -> str:
    others = {key: value for key, value in values.items() if key != "checksum"}
    return hashlib.sha256(orjson.dumps(others, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _differing(saved: SavedPlan, manifest: Manifest, settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Field, message, advice."""
    document, binding = saved.document, saved.binding
    age = datetime.now(UTC) - saved.facts.created_at
    if age > timedelta(seconds=settings.plan_max_age):
        limit = duration(settings.plan_max_age)
        message = f"the plan was made at {as_utc(saved.facts.created_at)}, {duration(age.total_seconds())} ago; "
        yield "binding.created_at", f"{message}--plan-max-age is {limit}.", _AGAIN
    elif -age > _CLOCKS:
        message = f"the plan was made at {as_utc(saved.facts.created_at)}, which is in the future."
        yield "binding.created_at", message, "Set the clocks of both machines (NTP), then make a new plan."
    if document.manifest.sha256 != manifest.sha256:
        message = f"the plan is of another manifest (SHA-256 {document.manifest.sha256[:12]}…, not "
        yield "manifest.sha256", f"{message}{manifest.sha256[:12]}…).", _ALIKE
        return  # all else follows from that
    ours, theirs = narrate.selection(settings, manifest), document.selection
    for name in ("accounts", "regions", "ids", "failed_in"):
        planned, now = sorted(getattr(theirs, name)), sorted(ours.get(name, []))
        if planned != now:
            option = f"--only-{'failed' if name == 'failed_in' else name.removesuffix('s')}"
            yield f"selection.{name}", f"the plan was made with {option} {_shown(planned)}, not {_shown(now)}.", _ALIKE
    if binding.shard not in (None, settings.shard):
        this = f"shard {settings.shard}" if settings.shard else "all targets"
        yield "binding.shard", f"the plan is of shard {binding.shard}, not of {this}.", _ALIKE
        return
    roles = {role.account: (role.role_arn, role.external_id) for role in binding.roles}
    for access in manifest.accounts.values():
        role_arn, external_id = roles.get(access.account, ("", ""))
        if role_arn != access.role_arn:
            message = f"the plan used {role_arn or 'no role'} in {access.account}, not {access.role_arn or 'no role'}."
            yield "binding.roles", message, _ALIKE
        elif external_id != access.external_id:
            yield "binding.roles", f"the plan used another external ID in {access.account}.", _ALIKE
    made, wanted = binding.settings, settings_of(settings)
    if made.prove != wanted.prove:
        yield "binding.settings.prove", f"the plan was made with --prove {made.prove}, not {wanted.prove}.", _ALIKE
    if sorted(made.correct) != wanted.correct:
        message = f"the plan was made with --correct {_shown(made.correct)}, not {_shown(wanted.correct)}."
        yield "binding.settings.correct", message, _ALIKE
    yield from _other_targets(document, binding, manifest)


def _other_targets(document: PlanDocument, binding: Binding, manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """The same manifest and selection have the same targets, unless another version expands them differently."""
    named = {one.index: (one.id, one.account, one.region, one.key_id) for one in document.targets}
    bound = {one.index for one in binding.targets}
    for target in manifest.targets:
        lane = target.lane
        name = (target.id, lane.account, lane.region, target.shown_key_id)
        if named.get(target.reported_index) != name or target.reported_index not in bound:
            yield "targets", f"the plan does not have target {target}.", _AGAIN
            return
    if binding.shard is not None or manifest.before_sharding is None:
        expected = len(manifest.targets)
    else:
        expected = manifest.before_sharding
    if not len(named) == len(bound) == len(document.targets) == len(binding.targets) == expected:
        yield "targets", f"the plan has {len(document.targets)} targets, not {expected}.", _AGAIN


def _shown(values: list[str]) -> str:
    return ", ".join(values) or "(none)"


def _refuse(name: str, message: str, advice: str, field: str = "") -> InputError:
    return InputError([Problem(name, 0, field, message, advice)])


def with_plan(manifest: Manifest, saved: SavedPlan) -> Manifest:
    """The manifest of a run with the plan: `valid_for` counts from the plan's instant."""
    return replace(manifest, plan=saved.facts)
