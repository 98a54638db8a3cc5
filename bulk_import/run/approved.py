"""A saved plan in a run: whether a target is still as the plan saw it, and what may be done with it. Pure.

- A field may differ only by what the plan's own steps leave there.
- A key or a material that the plan did not see must be shown to come from those steps: by the journal of a run of the
  same plan, or by --known.
- What a run would do must be among the plan's steps. Less is done where a part is done already.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from bulk_import.drift import policy_digest
from bulk_import.errors import TargetError
from bulk_import.material.bound import alias_arn
from bulk_import.model import Binding, CheckValue, KeyState, KeyView, Own, Target
from bulk_import.model.approval import BoundMaterial, BoundTarget, SeenKey, SeenMaterial
from bulk_import.plan import Action, Decision, StepKind, Wanted
from bulk_import.run.binding import Part, part_of
from bulk_import.run.seen import differing, policy_sha256, seen
from bulk_import.words import as_utc

_OF_MATERIALS: Final = frozenset({"key_state", "expiration_model", "valid_to", "key_material_id"})
_SETS: Final = {
    "description": StepKind.UPDATE_DESCRIPTION, "tags": StepKind.TAG_RESOURCE, "policy_sha256": StepKind.PUT_KEY_POLICY,
}  # fmt: skip


def stale(target: Target, difference: str) -> TargetError:
    """`difference`: what the plan saw, and what is there now."""
    message = f"{target} is not as the plan saw it: {difference}."
    return TargetError(message, code="PlanStale")


class Approved:
    """The plan of --plan, for the targets of a run. `own`: what runs of the same plan did, by the report's index."""

    def __init__(self, binding: Binding, targets: tuple[Target, ...], own: Mapping[int, Own]) -> None:
        self._bound = {bound.index: bound for bound in binding.targets}
        self._own = own
        self._passed: set[int] = set()  # primaries that were as the plan saw them, by the report's index
        self._values: dict[Part, BoundMaterial] = {}
        self._primaries: dict[tuple[str, str, str], int] = {}  # id, account, Region → the report's index
        for target in targets:
            if target.primary is None and target.replicas:
                self._primaries[target.id, target.lane.account, target.lane.region] = target.reported_index
            values = {value.name: value for value in self.bound(target).materials}
            names: list[str | None] = [entry.name for entry in target.materials] or [None]
            for name, part in zip(names, target.parts, strict=True):
                if name in values:
                    self._values[part_of(part)] = values[name]

    def bound(self, target: Target) -> BoundTarget:
        """What the plan has of a target."""
        return self._bound[target.reported_index]

    # --- materials

    def arn_for(self, target: Target, key_arn: str) -> str:  # noqa: ARG002 - what the plan saw counts
        """What the plan's check values were computed over."""
        found = self.bound(target).found
        return found.key_arn if found else alias_arn(target)

    def see(self, part: Target, value: CheckValue) -> None:
        """Compares what a source holds now. Raises TargetError (PlanStale)."""
        planned = self._values.get(part_of(part))
        if planned is None:
            raise stale(part, "the plan has no check value of its material")
        same = hmac.compare_digest(planned.value or "", value.value or "")
        if planned.kind != value.kind or not same:
            named = f" ({planned.name})" if planned.name else ""
            raise stale(part, f"its source holds other material{named} now")

    # --- keys

    def difference(
        self,
        wanted: Wanted,
        view: KeyView | None,
        decision: Decision | None,
        *,
        now: datetime,
        known: Callable[[str], bool],
    ) -> str | None:
        """How a target differs from what the plan saw, or what would be done that the plan does not have; None: it
        may be worked on. `view` None: the key was not found. `known`: whether --known has a KeyMaterialId of the key,
        or this run imported it.
        """
        target = wanted.target
        planned, own = self.bound(target), self.own(target.reported_index)
        if policy_sha256(target) != planned.policy_sha256:
            return "`create.policy` is another one now"
        if view is None:
            if planned.found is not None:
                return f"it saw {planned.found.key_arn}, and there is no such key now"
        else:
            adopted = decision is not None and decision.action is Action.CREATE
            text = _Comparison(self, wanted, planned, own, known).of(seen(view), adopted=adopted)
            if text is not None:
                return text
        undue = _undue(wanted, planned, decision, now) if decision is not None and decision.error is None else None
        if undue is None and decision is not None:
            self._passed.add(target.reported_index)
        return undue

    def own(self, index: int) -> Own:
        """What earlier runs of the plan did with a target, by the report's index."""
        return self._own.get(index, Own())

    def passed(self, index: int) -> bool:
        """Whether a primary was as the plan saw it. Then what is new in the list of its materials is this run's."""
        return index in self._passed

    def of_primary(self, target: Target) -> BoundTarget | None:
        """Of a replica: what the plan has of its primary, if that is a target."""
        if target.primary is None:
            return None
        index = self._primaries.get((target.id, target.lane.account, target.primary.lane.region))
        return None if index is None else self._bound[index]


class _Comparison:
    """One target, now and then."""

    def __init__(
        self, plan: Approved, wanted: Wanted, planned: BoundTarget, own: Own, known: Callable[[str], bool]
    ) -> None:
        self._wanted = wanted
        self._target = wanted.target
        self._planned = planned
        self._own = own
        self._known = known
        primary = plan.of_primary(self._target)
        # New material of a primary shows in every Region.
        self._shared = plan.own(primary.index).ids if primary else set()
        self._follows = primary is not None and plan.passed(primary.index)
        steps = [*planned.steps, *(primary.steps if primary and self._target.materials else ())]
        self._kinds = {step.kind for step in steps}
        self._entries = {
            self._target.materials[step.entry].name
            for step in steps
            if step.entry is not None and step.entry < len(self._target.materials)
        }

    def of(self, now: SeenKey, *, adopted: bool) -> str | None:
        """`adopted`: a search by this program's tag found the key, before it was ever filled."""
        was = self._planned.found
        if was is None:
            creates = {StepKind.CREATE_KEY, StepKind.REPLICATE_KEY} & self._kinds
            if not creates or not (adopted or now.key_arn in self._own.arns):
                return f"it saw no such key, and now there is {now.key_arn}, which no run of this plan created"
            was = replace(
                now, key_state=KeyState.PENDING_IMPORT, expiration_model=None, valid_to=None, key_material_id=None,
                materials=None if now.materials is None else [],
            )  # fmt: skip
        for name in differing(was, now):
            before, after = getattr(was, name), getattr(now, name)
            if name == "materials":
                text = self._materials(before, after)
            elif self._left(name, was, now):
                text = None
            else:
                text = f"{name} was {_shown(before)}, and is {_shown(after)}"
            if text is not None:
                return text
        return self._foreign(was, now)

    def _left(self, name: str, was: SeenKey, now: SeenKey) -> bool:
        """Whether the plan's steps leave this value in this field."""
        target, create = self._target, self._target.create
        if name in _OF_MATERIALS and target.materials:
            return StepKind.IMPORT_MATERIAL in self._kinds or StepKind.ROTATE in self._kinds
        if name == "key_state":
            filled = (was.key_state, now.key_state) == (KeyState.PENDING_IMPORT, KeyState.ENABLED)
            return filled and StepKind.IMPORT_MATERIAL in self._kinds
        if name in ("expiration_model", "valid_to"):
            model = "KEY_MATERIAL_EXPIRES" if self._wanted.valid_to else "KEY_MATERIAL_DOES_NOT_EXPIRE"
            as_wanted = (now.expiration_model, now.valid_to) == (model, self._wanted.valid_to)
            return as_wanted and StepKind.IMPORT_MATERIAL in self._kinds
        if name == "key_material_id":
            return was.key_material_id is None and StepKind.IMPORT_MATERIAL in self._kinds
        if name == "replica_regions":
            return {*was.replica_regions} < {*now.replica_regions} <= {*was.replica_regions, *target.replicas}
        if name in _SETS and create is not None and _SETS[name] in self._kinds:
            policy = policy_digest(create.policy) if create.policy else None
            values = {"description": create.description, "tags": dict(create.tags), "policy_sha256": policy}
            return bool(getattr(now, name) == values[name])
        return False

    def _foreign(self, was: SeenKey, now: SeenKey) -> str | None:
        """Whether a key that the plan saw without material has some that may be anybody's."""
        if self._target.materials or was.key_state != KeyState.PENDING_IMPORT or now.key_state == was.key_state:
            return None
        if was.key_material_id is not None:
            return None  # KMS takes no other material than that
        if now.key_material_id is not None:
            shown = now.key_material_id in self._own.ids or self._own.unsure or self._known(now.key_material_id)
        else:
            shown = self._own.imported
        return None if shown else f"it saw the key without material; it was filled since, by no run of this plan{_HOW}"

    def _materials(self, was: list[SeenMaterial], now: list[SeenMaterial]) -> str | None:
        before = {each.key_material_id: each for each in was}
        if gone := sorted(before.keys() - {each.key_material_id for each in now}):
            return f"it saw material {gone[0]}, which is gone"
        for each in now:
            seen_before = before.get(each.key_material_id)
            if seen_before is None:
                if text := self._new(each):
                    return text
            elif text := self._changed(seen_before, each):
                return text
        return None

    def _new(self, each: SeenMaterial) -> str | None:
        own = each.key_material_id in self._own.ids | self._shared or self._own.unsure or self._follows
        if each.name in self._entries and (own or self._known(each.key_material_id)):
            return None
        called = f" ({each.name})" if each.name else ""
        return f"material {each.key_material_id}{called} is new, and no run of this plan imported it{_HOW}"

    def _changed(self, was: SeenMaterial, now: SeenMaterial) -> str | None:
        if was == now:
            return None
        rotated = StepKind.ROTATE in self._kinds
        if not rotated and (was.state, was.rotation_date) != (now.state, now.rotation_date):
            return f"material {now.key_material_id} was {was.state}, and is {now.state}"
        of_import = ("import_state", "expiration_model", "valid_to", "name")
        changed = [name for name in of_import if getattr(was, name) != getattr(now, name)]
        if not changed:
            return None
        names = {each.name: part for each, part in zip(self._target.materials, self._wanted.parts, strict=True)}
        part = names.get(now.name or "")
        imported = now.name in self._entries and now.import_state == "IMPORTED"
        if imported and part is not None and (now.valid_to in (part.valid_to, was.valid_to)):
            return None
        field = changed[0]
        before, after = _shown(getattr(was, field)), _shown(getattr(now, field))
        return f"{field} of material {now.key_material_id} was {before}, and is {after}"


_HOW: Final = " (its journal, or --known, would show it)"


def _undue(wanted: Wanted, planned: BoundTarget, decision: Decision, now: datetime) -> str | None:
    """What would be done that the plan does not have."""
    allowed = {(step.kind, step.entry) for step in planned.steps}
    for step in decision.changes:
        if (step.kind, step.entry) not in allowed:
            return f"{step.kind} would be done too ({step.cause}), which the plan does not have"
    if any(step.kind == StepKind.IMPORT_MATERIAL for step in decision.steps):
        for part in wanted.parts or (wanted,):
            valid_for = part.target.expiry.valid_for
            if valid_for and part.valid_to and part.valid_to - now <= part.target.expiry.renews_before(valid_for):
                return f"its ValidTo {as_utc(part.valid_to)} would have to be renewed by now"
    return None


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return as_utc(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
