"""A key that is missing: what to create, and whether a key that exists is the one. Pure, like plan.py.

https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-create-cmk.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from bulk_import.errors import TargetError
from bulk_import.model import KeyState, KeyView, NewKey, Target, key_usages
from bulk_import.plan import Action, Decision, Step, StepKind, Wanted, algorithm_for, check_expiry, importable
from bulk_import.rotation import EXISTING, decide_several, filling

ALIAS_TAG = "bulk-import:alias"  # of every key that this program creates; its value is the alias


def decide_missing(
    wanted: Wanted, unfinished: KeyView | None, *, now: datetime, imported: Mapping[str, str] | None = None
) -> Decision:
    """The steps for an alias that points to no key. `unfinished`: a key that this program created for the alias.

    Without `unfinished`, also what `plan` shows for a key that would be created. `imported`: as for decide_several.
    """
    target = wanted.target
    if target.create is None or target.key_spec is None:
        raise RuntimeError("only a target with `create` and a key spec can be created")
    try:
        if unfinished is not None:
            importable(target, unfinished)
        algorithm = [algorithm_for(part, target.key_spec) for part in target.parts][-1]
        for part in wanted.parts or (wanted,):
            check_expiry(part, now)
        if target.materials and unfinished is not None:
            several = decide_several(wanted, unfinished, now=now, imported=imported or {})
            if several.error is not None:
                raise several.error
            material = several.steps
        elif target.materials:
            material = filling(target)
        else:
            material = (Step(StepKind.IMPORT_MATERIAL, "the key waits for its material"),)
    except TargetError as error:
        return Decision(Action.BLOCKED, detail=error.message, error=error)
    if unfinished is None:
        create = [Step(StepKind.CREATE_KEY, f"no key has the alias {target.alias}")]
        detail = f"no key has the alias {target.alias}: create the key, create the alias, import"
    else:
        create = []
        detail = f"{unfinished.arn} was created for {target.alias} before: create the alias, import"
    steps = (
        *create,
        Step(StepKind.CREATE_ALIAS, "the key has no alias"),
        *material,
    )
    return Decision(Action.CREATE, target.key_spec, algorithm, KeyState.ENABLED, detail, steps=steps)


def decide_replica(wanted: Wanted, *, now: datetime) -> Decision:
    """The steps for a replica that is missing and whose primary is filled."""
    target = wanted.target
    if target.create is None or target.key_spec is None or target.alias is None:
        raise RuntimeError("only a target with `create`, a key spec and an alias can be created")
    try:
        algorithm = [algorithm_for(part, target.key_spec) for part in target.parts][-1]
        for part in wanted.parts or (wanted,):
            check_expiry(part, now)
    except TargetError as error:
        return Decision(Action.BLOCKED, detail=error.message, error=error)
    region = target.lane.region
    material = [
        Step(StepKind.IMPORT_MATERIAL, f"{entry.name} is missing", at, EXISTING)
        for at, entry in enumerate(target.materials)
    ] or [Step(StepKind.IMPORT_MATERIAL, "the replica waits for its material")]
    steps = (
        Step(StepKind.REPLICATE_KEY, f"the key has no replica in {region}"),
        Step(StepKind.CREATE_ALIAS, "the replica has no alias"),
        *material,
    )
    detail = f"the key has no replica in {region}: replicate it, create the alias, import"
    return Decision(Action.CREATE, target.key_spec, algorithm, KeyState.ENABLED, detail, steps=steps)


def new_key(target: Target) -> NewKey:
    """What CreateKey is asked for. The tag is how an unfinished key is found again."""
    if target.create is None or target.key_spec is None or target.alias is None:
        raise RuntimeError("only a target with `create`, a key spec and an alias can be created")
    return NewKey(
        key_spec=target.key_spec,
        key_usage=target.key_usage or key_usages(target.key_spec)[0],
        description=target.create.description,
        tags={**dict(target.create.tags), ALIAS_TAG: target.alias},
        multi_region=bool(target.create.multi_region),
        policy=target.create.policy,
    )


def adoptable(target: Target, view: KeyView, aliases: Sequence[str]) -> bool:
    """Whether a key with the tag is one that this program created for the target, and did not finish."""
    wanted = new_key(target)
    shape = (view.origin, view.key_spec, view.key_usage, view.multi_region)
    return (
        not aliases
        and view.state == KeyState.PENDING_IMPORT
        and view.current_key_material_id is None
        and shape == ("EXTERNAL", wanted.key_spec, wanted.key_usage, wanted.multi_region)
    )
