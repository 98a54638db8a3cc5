"""Wanted + found → an ordered list of steps, and the time that the quotas require. Pure: no call is made here.

Which states take imported material:
https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bulk_import.errors import TargetError
from bulk_import.material import wrapping
from bulk_import.material.expect import applies
from bulk_import.model import (
    KeyRotation,
    KeySpec,
    KeyState,
    KeyView,
    Target,
    WrappingAlgorithm,
)

NEAREST_EXPIRY = timedelta(hours=1)  # a ValidTo nearer than this would be gone before anyone used the key


class StepKind(StrEnum):
    """One kind of change that a run makes; each has a file in run/steps/."""

    CREATE_KEY = "create_key"
    REPLICATE_KEY = "replicate_key"
    CREATE_ALIAS = "create_alias"
    PUT_KEY_POLICY = "put_key_policy"
    TAG_RESOURCE = "tag_resource"
    UPDATE_DESCRIPTION = "update_key_description"
    IMPORT_MATERIAL = "import_material"
    ROTATE = "rotate"
    DELETE_MATERIAL = "delete_material"
    AWAIT_ROTATION = "await_rotation"  # of a replica: no call of its own; its primary rotates the key


@dataclass(frozen=True, slots=True)
class Step:
    """One change that a target needs. `cause`: why, for people."""

    kind: str  # a StepKind
    cause: str
    # Of a target with several materials:
    entry: int | None = None  # position in its `materials`
    import_type: str | None = None  # NEW_KEY_MATERIAL | EXISTING_KEY_MATERIAL
    key_material_id: str | None = None  # of material that KMS knows already
    together: bool = False  # of a multi-Region key: it waits for related keys (run/together.py)


class Action(StrEnum):
    CREATE = "create"  # no such key, and the manifest says how to create it
    IMPORT = "import"  # found PendingImport
    REIMPORT = "reimport"  # found with material whose expiry is not as wanted
    CORRECT = "correct"  # its material is as wanted; policy, tags or description are not
    UNCHANGED = "unchanged"
    BLOCKED = "blocked"


class Deleting(StrEnum):
    """What the command `delete` does, which no plan shows."""

    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What KMS must show for one target, frozen at the run's start."""

    target: Target
    valid_to: datetime | None  # None: KEY_MATERIAL_DOES_NOT_EXPIRE. Of several materials: the earliest, as KMS shows it
    parts: tuple[Wanted, ...] = ()  # of several materials: what is wanted of each


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one key: `steps`, in this order. `final_state`: what verification waits for.

    `action`: the steps in one word. `error`: why blocked.
    """

    action: Action | Deleting
    key_spec: KeySpec | None = None
    algorithm: WrappingAlgorithm | None = None
    final_state: str = KeyState.ENABLED
    detail: str = ""
    error: TargetError | None = None
    steps: tuple[Step, ...] = ()
    material_id: str | None = None  # of the material that `delete` deletes; empty: it has none
    keeps_expiry: bool = False  # the import is sent with the ValidTo that KMS has: it proves, and renews nothing

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that make a call which changes something."""
        return tuple(step for step in self.steps if step.kind != StepKind.AWAIT_ROTATION)


def wanted_of(target: Target, started_at: datetime, *, valid_to: datetime | None = None) -> Wanted:
    """What a run that started then wants. `valid_to`: as the run fixed it at its start, where it is resumed."""
    if not target.materials:
        return Wanted(target, valid_to or target.expiry.instant(started_at))
    parts = tuple(Wanted(part, part.expiry.instant(started_at)) for part in target.parts)
    return Wanted(target, min((part.valid_to for part in parts if part.valid_to), default=None), parts)


def must_wait(view: KeyView) -> bool:
    """States that pass by themselves, and are waited for."""
    return view.state in (KeyState.CREATING, KeyState.UPDATING)


def needs_rotations(view: KeyView) -> bool:
    """Whether the key may hold several materials: a symmetric key that has, or has had, material."""
    return view.key_spec == KeySpec.SYMMETRIC_DEFAULT and (
        view.state != KeyState.PENDING_IMPORT or view.current_key_material_id is not None
    )


def decide(
    wanted: Wanted, view: KeyView, rotations: Sequence[KeyRotation], *, now: datetime, import_again: bool = False
) -> Decision:
    """The action for one target. `import_again`: --prove all, for symmetric material that is as wanted."""
    keeps_expiry = False
    try:
        spec = importable(wanted.target, view)
        algorithm = algorithm_for(wanted.target, spec)
        _one_material(view, rotations)
        _stated_material(wanted.target, view, spec, rotations)
        if expiry_as_wanted(wanted, view, now) and view.state in (KeyState.ENABLED, KeyState.DISABLED):
            if not (import_again and spec.symmetric):
                return Decision(Action.UNCHANGED, spec, algorithm, view.state, "as wanted")
            detail, keeps_expiry = "as wanted; imported again as a proof", True
            wanted = replace(wanted, valid_to=view.valid_to)
        elif view.state == KeyState.PENDING_IMPORT:
            detail = "the key waits for its material"
        else:
            detail = f"expiry differs: KMS has {_expiry(view.valid_to)}, wanted is {_expiry(wanted.valid_to)}"
        check_expiry(wanted, now)
    except TargetError as error:
        return Decision(Action.BLOCKED, detail=error.message, error=error)
    action = Action.IMPORT if view.state == KeyState.PENDING_IMPORT else Action.REIMPORT
    steps = (Step(StepKind.IMPORT_MATERIAL, detail),)
    return Decision(action, spec, algorithm, final_state(view), detail, steps=steps, keeps_expiry=keeps_expiry)


def recovered(wanted: Wanted, before: KeyView) -> Decision:
    """The decision that an earlier part of the run took, by what it had found: its import took effect since.

    Raises TargetError where such a key takes no import.
    """
    spec = importable(wanted.target, before)
    action = Action.IMPORT if before.state == KeyState.PENDING_IMPORT else Action.REIMPORT
    return Decision(action, spec, algorithm_for(wanted.target, spec), final_state(before), "imported before the resume")


def expiry_as_wanted(wanted: Wanted, view: KeyView, now: datetime) -> bool:
    """Compares instants, never texts. With valid_for, any remaining life worth keeping is as wanted."""
    expiry = wanted.target.expiry
    if expiry.never:
        return view.expiration_model == "KEY_MATERIAL_DOES_NOT_EXPIRE" and view.valid_to is None
    if view.expiration_model != "KEY_MATERIAL_EXPIRES" or view.valid_to is None:
        return False
    if expiry.valid_for is not None:
        return expiry.renews_before(expiry.valid_for) < view.valid_to - now <= expiry.valid_for
    return shows_expiry(wanted, view)


def shows_expiry(wanted: Wanted, view: KeyView) -> bool:
    """Whether a read shows exactly the expiry that was imported."""
    if wanted.valid_to is None:
        return view.expiration_model == "KEY_MATERIAL_DOES_NOT_EXPIRE" and view.valid_to is None
    return view.expiration_model == "KEY_MATERIAL_EXPIRES" and view.valid_to == wanted.valid_to


def shows_effect(wanted: Wanted, before: KeyView, view: KeyView) -> bool:
    """Whether a read shows that an import took effect. One that changes nothing visible (--prove all) never does."""
    if before.state == KeyState.PENDING_IMPORT:
        return view.state == final_state(before) and shows_expiry(wanted, view)
    return shows_expiry(wanted, view) and not shows_expiry(wanted, before)


def final_state(before: KeyView) -> str:
    """The state that an import leaves a key in: a key found Disabled stays so."""
    return KeyState.ENABLED if before.state == KeyState.PENDING_IMPORT else before.state


def check_expiry(wanted: Wanted, now: datetime) -> None:
    """Raises TargetError (ExpiryTooClose). Checked when planning, and again before the import."""
    if wanted.valid_to is not None and wanted.valid_to - now < NEAREST_EXPIRY:
        raise TargetError(
            f"The wanted ValidTo {_expiry(wanted.valid_to)} is less than an hour ahead.", code="ExpiryTooClose"
        )


def floor_seconds(imports: int, rate: float, *, reads: int, interval: float) -> float:
    """The least time that the quota of GetParametersForImport and the verification make a lane take."""
    return floor_of_calls({"GetParametersForImport": (imports, rate)}, reads=reads, interval=interval)


def floor_of_calls(calls: Mapping[str, tuple[int, float]], *, reads: int, interval: float) -> float:
    """The same for all calls that change something: operation → how many, and requests per second by its quota."""
    longest = max(((count - 1) / rate for count, rate in calls.values() if count), default=None)
    return 0.0 if longest is None else longest + (reads - 1) * interval


def limit_of_calls(calls: Mapping[str, tuple[int, float]]) -> str | None:
    """Of the same: the operation whose quota takes the longest. None: there are no calls."""
    made = [(count / rate, name) for name, (count, rate) in calls.items() if count]
    return max(made)[1] if made else None


def importable(target: Target, view: KeyView) -> KeySpec:
    """The key's spec. Raises TargetError where the key cannot take the target's material."""
    if view.manager == "AWS":
        raise TargetError(f"{view.arn} is an AWS managed key.", code="NotImportableOrigin")
    if view.origin != "EXTERNAL":
        code = "NotImportableOrigin" if target.create is None else "KeyContradiction"
        raise TargetError(f"{view.arn} has Origin {view.origin}, not EXTERNAL.", code=code)
    if view.state not in (KeyState.PENDING_IMPORT, KeyState.ENABLED, KeyState.DISABLED):
        raise TargetError(f"{view.arn} is in state {view.state}.", code="KeyStateNotImportable")
    if target.key_spec is not None and target.key_spec != view.key_spec:
        raise TargetError(
            f"The manifest states {target.key_spec}, but {view.arn} is {view.key_spec}.", code="KeySpecMismatch"
        )
    if target.key_usage not in (None, view.key_usage):
        message = f"The manifest states {target.key_usage}, but {view.arn} is for {view.key_usage}."
        raise TargetError(message, code="KeyContradiction")
    if target.create is not None and target.create.multi_region not in (None, view.multi_region):
        kind = "a multi-Region" if view.multi_region else "a single-Region"
        stated = str(target.create.multi_region).lower()
        message = f"The manifest specifies multi_region: {stated}, but {view.arn} is {kind} key."
        raise TargetError(message, code="KeyContradiction")
    try:
        return KeySpec(view.key_spec)
    except ValueError:
        raise TargetError(
            f"{view.arn} has key spec {view.key_spec}, whose material this version cannot import.",
            code="KeySpecMismatch",
        ) from None


def algorithm_for(target: Target, spec: KeySpec) -> WrappingAlgorithm:
    """The wrapping algorithm to use. Raises TargetError where the key spec does not allow the stated one."""
    refusal = wrapping.refusal(spec, target.wrapping_algorithm, target.wrapping_key_spec)
    if refusal is not None:
        raise TargetError(refusal, code="WrappingNotAllowed")
    if target.expect is not None:
        misfit = applies(target.expect, spec)
        if misfit is not None:
            raise TargetError(misfit, code="CheckValueMismatch")
    return target.wrapping_algorithm or wrapping.default_algorithm(spec)


def _one_material(view: KeyView, rotations: Sequence[KeyRotation]) -> None:
    if len(rotations) > 1:
        raise TargetError(
            f"{view.arn} has {len(rotations)} key materials, and DescribeKey's ValidTo is the earliest of all.",
            code="RotatedKey",
        )


def _stated_material(target: Target, view: KeyView, spec: KeySpec, rotations: Sequence[KeyRotation]) -> None:
    stated = target.key_material_id
    if stated is None:
        return
    if not spec.symmetric:
        raise TargetError(
            f"The manifest specifies a key_material_id, but {view.arn} is {spec}: KMS assigns no ID to such material.",
            code="KeySpecMismatch",
        )
    current = (rotation.key_material_id for rotation in rotations if rotation.key_material_state == "CURRENT")
    found = view.current_key_material_id or next(current, None)
    if found is not None and found != stated:
        raise TargetError(
            f"KMS calls the material of {view.arn} {found}; the manifest states another ID.", code="MaterialMismatch"
        )


def _expiry(valid_to: datetime | None) -> str:
    return "no expiry" if valid_to is None else f"{valid_to:%Y-%m-%dT%H:%M:%SZ}"
