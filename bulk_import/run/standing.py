"""How a key compares with the manifest, for `status`. Pure: no call is made here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from bulk_import import family
from bulk_import.drift import Correctable, drift
from bulk_import.errors import TargetError
from bulk_import.matching import CURRENT, NON_CURRENT, match
from bulk_import.model import KeyRotation, KeyState, KeyView, Target
from bulk_import.plan import Wanted
from bulk_import.rotation import as_view
from bulk_import.run.inspected import Difference, Standing
from bulk_import.shown import shown as hidden

SOON = timedelta(days=30)  # how long before its end material counts as expiring, if nothing else is specified
USABLE = (KeyState.ENABLED, KeyState.DISABLED)
NEVER = "never"


def other_key(target: Target, view: KeyView) -> Iterator[Difference]:
    """Facts of a key that never change: where one differs, it is not the key that the manifest means."""
    if view.manager == "AWS":
        yield Difference("manager", "CUSTOMER", view.manager)
    if view.origin != "EXTERNAL":
        yield Difference("origin", "EXTERNAL", view.origin)
    if target.key_spec not in (None, view.key_spec):
        yield Difference("key_spec", target.key_spec, view.key_spec)
    if target.key_usage not in (None, view.key_usage):
        yield Difference("key_usage", target.key_usage, view.key_usage)
    stated = True if target.related else target.create.multi_region if target.create is not None else None
    if stated not in (None, view.multi_region):
        yield Difference("multi_region", str(stated).lower(), str(view.multi_region).lower())


def related(target: Target, view: KeyView) -> Iterator[Difference]:
    """Where the primary and the replicas of the key are, where the manifest has `replicas`.

    Of a replica that is missing, its own target says so.
    """
    if not target.related:
        return
    primary = target.primary.lane.region if target.primary is not None else target.lane.region
    if view.primary_region not in (None, primary):
        yield Difference("primary_region", primary, view.primary_region)
    elif family.unlisted(target, view):
        yield Difference("replicas", ", ".join(target.replicas), ", ".join(sorted(view.replica_regions)))


def metadata(target: Target, view: KeyView) -> Iterator[Difference]:
    """What of `create` the key does not show. `view`: with its tags and its policy, where `create` states any."""
    for one in drift(target, view):
        if one.field is Correctable.TAGS:
            name, _, wanted = one.wanted.partition("=")
            found = one.found.partition("=")[2] if one.found else None
            yield Difference(f"tags.{hidden(name)}", hidden(wanted), None if found is None else hidden(found))
        elif one.field is Correctable.POLICY:
            yield Difference("policy", "create.policy", hidden(one.text))
        else:
            yield Difference(one.field.value, hidden(one.wanted), hidden(one.found))


def state(view: KeyView) -> Iterator[Difference]:
    """A state in which the key cannot be used, and that no import changes."""
    if view.state not in (*USABLE, KeyState.PENDING_IMPORT):
        yield Difference("key_state", f"{KeyState.ENABLED} or {KeyState.DISABLED}", view.state)


def material(target: Target, view: KeyView, rotations: Sequence[KeyRotation]) -> Iterator[Difference]:
    """How many materials there are, and KMS's name of the current one. Instants are compared, never texts."""
    if len(rotations) > 1:
        yield Difference("materials", "1", str(len(rotations)))
    if target.key_material_id is not None:
        current = (one.key_material_id for one in rotations if one.key_material_state == "CURRENT")
        found = view.current_key_material_id or next(current, None)
        if found != target.key_material_id:
            yield Difference("key_material_id", hidden(target.key_material_id), found)


def several(wanted: Wanted, view: KeyView, now: datetime) -> Iterator[Difference]:
    """What of `materials` the key does not hold as wanted. `view`: with its materials."""
    entries = wanted.target.materials
    try:
        held = match(wanted.target, view)
    except TargetError as error:  # what KMS holds contradicts the list
        yield Difference("materials", ", ".join(entry.name for entry in entries), hidden(error.message))
        return
    for at, (entry, part, one) in enumerate(zip(entries, wanted.parts, held, strict=True)):
        field = f"materials.{entry.name}"
        if one is None:
            yield Difference(field, "imported", None)
            continue
        if one.import_state != "IMPORTED":
            yield Difference(f"{field}.import_state", "IMPORTED", one.import_state)
        elif differs := list(expiry(part, as_view(view, one), now)):
            yield from (Difference(f"{field}.{each.field}", each.wanted, each.found) for each in differs)
        if one.description != entry.name:
            yield Difference(f"{field}.name", entry.name, None if one.description is None else hidden(one.description))
        state = CURRENT if at == len(held) - 1 else NON_CURRENT
        if one.key_material_state != state:
            yield Difference(f"{field}.state", state, one.key_material_state)


def expires_soon(wanted: Wanted, view: KeyView, now: datetime, within: timedelta | None) -> bool:
    """Whether the material, or one of several, expires within --within or what stands for it."""
    parts = [(wanted, view)]
    if wanted.parts and view.materials is not None:
        held = match(wanted.target, view)
        parts = [(part, as_view(view, one)) for part, one in zip(wanted.parts, held, strict=True) if one is not None]
    return any(
        each.valid_to is not None and each.valid_to - now <= threshold(part.target, within) for part, each in parts
    )


def expiry(wanted: Wanted, view: KeyView, now: datetime) -> Iterator[Difference]:
    """Whether the material expires when the manifest says. That it expires soon is no difference."""
    stated, found = wanted.target.expiry, view.valid_to
    if stated.never:
        if found is not None or view.expiration_model != "KEY_MATERIAL_DOES_NOT_EXPIRE":
            yield Difference("valid_to", NEVER, shown(found) if found else view.expiration_model)
    elif found is None:
        ahead = f"at most {_span(stated.valid_for)} ahead" if stated.valid_for else shown(wanted.valid_to)
        yield Difference("valid_to", ahead, NEVER)
    elif stated.valid_for is not None:
        if found - now > stated.valid_for:
            yield Difference("valid_to", f"at most {_span(stated.valid_for)} ahead", shown(found))
    elif found != wanted.valid_to:
        yield Difference("valid_to", shown(wanted.valid_to), shown(found))


def threshold(target: Target, within: timedelta | None) -> timedelta:
    """How long before its end the target's material counts as expiring. `within`: --within."""
    if within is not None:
        return within
    if target.expiry.valid_for is not None:
        return target.expiry.renews_before(target.expiry.valid_for)
    return SOON


def standing(
    wanted: Wanted, view: KeyView, differences: Sequence[Difference], *, other: bool, now: datetime,
    within: timedelta | None,
) -> Standing:  # fmt: skip
    """The state in one word. `other`: whether the key is another one than the manifest means."""
    if view.state == KeyState.PENDING_IMPORT and not other:
        return Standing.EMPTY
    if differences:
        return Standing.DRIFT
    if expires_soon(wanted, view, now, within):
        return Standing.EXPIRING
    return Standing.AS_WANTED


def days_left(valid_to: datetime | None, now: datetime) -> int | None:
    """Complete days; 0 on the last."""
    return None if valid_to is None else max(0, (valid_to - now).days)


def shown(moment: datetime | None) -> str:
    return NEVER if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _span(span: timedelta | None) -> str:
    hours = round((span or timedelta()).total_seconds() / 3600)
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"
