"""What of `create` an existing key does not show, and the steps that correct it. Pure, like plan.py.

Policies are compared as what they grant, not as text: KMS gives a policy back in its own way. The order of statements
and of lists, a list of one and its only item, an account's ID and its root's ARN make no difference.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import takewhile
from typing import Any, Final

import orjson

from bulk_import.errors import TargetError
from bulk_import.model import KeyView, Target
from bulk_import.plan import Action, Decision, Step, StepKind


class Correctable(StrEnum):
    """What --correct can name. In the order in which a run sets it: a policy may be what allows the rest."""

    POLICY = "policy"
    TAGS = "tags"
    DESCRIPTION = "description"


_OF_MATERIAL: Final = (StepKind.IMPORT_MATERIAL, StepKind.ROTATE, StepKind.AWAIT_ROTATION, StepKind.DELETE_MATERIAL)
STEPS: Final = {
    Correctable.POLICY: StepKind.PUT_KEY_POLICY,
    Correctable.TAGS: StepKind.TAG_RESOURCE,
    Correctable.DESCRIPTION: StepKind.UPDATE_DESCRIPTION,
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that `create` states and the key does not show. `wanted`, `found`: a tag as NAME=VALUE; empty: none.

    `text`: the same for people.
    """

    field: Correctable
    wanted: str
    found: str
    text: str


def drift(target: Target, view: KeyView) -> list[Difference]:
    """`view`: with its tags and its policy, where `create` states any."""
    create = target.create
    if create is None:
        return []
    found = []
    if create.policy is not None and not same_policy(create.policy, view.policy or ""):
        text = policy_difference(create.policy, view.policy or "")
        found.append(Difference(Correctable.POLICY, create.policy, view.policy or "", text))
    tags = dict(view.tags or ())
    for name, value in create.tags:
        if tags.get(name) != value:
            shown = f"{name}={tags[name]}" if name in tags else ""
            text = f"the tag {name} is {tags[name]!r}, not {value!r}" if shown else f"the tag {name} is missing"
            found.append(Difference(Correctable.TAGS, f"{name}={value}", shown, text))
    if create.description not in (None, view.description):
        text = f"the description is {view.description!r}, not {create.description!r}"
        found.append(Difference(Correctable.DESCRIPTION, create.description or "", view.description, text))
    return found


def corrected(decision: Decision, view: KeyView, found: list[Difference], correct: Collection[str]) -> Decision:
    """The decision with the steps that correct what was found. `correct`: the fields that may be corrected.

    Raises TargetError (Drift) where another field differs.
    """
    left = [one for one in found if one.field not in correct]
    if left:
        fields = " ".join(f"--correct {field}" for field in Correctable if any(one.field == field for one in left))
        raise TargetError(
            f"{view.arn} differs from `create`: {'; '.join(one.text for one in left)}.",
            code="Drift",
            advice=f"Find out who changed the key, and why. {fields} sets what the manifest states; or correct the "
            "manifest.",
        )
    if not found:
        return decision
    causes = {field: [one.text for one in found if one.field == field] for field in Correctable}
    steps = tuple(Step(STEPS[field], "; ".join(texts)) for field, texts in causes.items() if texts)
    detail = "; ".join(step.cause for step in steps)
    if decision.action is Action.UNCHANGED:
        return replace(decision, action=Action.CORRECT, detail=detail, steps=steps, keeps_expiry=True)
    # After the key and its alias, which may be what allows these; before the material, which these may allow.
    first = tuple(takewhile(lambda step: step.kind not in _OF_MATERIAL, decision.steps))
    rest = decision.steps[len(first) :]
    return replace(decision, detail=f"{decision.detail}; {detail}", steps=(*first, *steps, *rest))


# --- policies

_LISTS: Final = ("Action", "NotAction", "Resource", "NotResource")
_ROOT: Final = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):root")
# What KMS shows in place of the ARN of a principal that was deleted:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
_DELETED: Final = re.compile(r"A(?:ROA|IDA)[A-Z0-9]{12,124}")
_KINDS: Final = {"AROA": "role", "AIDA": "user"}


def same_policy(wanted: str, found: str) -> bool:
    return bool(_canonical(wanted) == _canonical(found))


def policy_digest(policy: str) -> str:
    """SHA-256, in hex, that is the same for policies that are the same to `same_policy`."""
    return hashlib.sha256(orjson.dumps(_canonical(policy), option=orjson.OPT_SORT_KEYS)).hexdigest()


def policy_difference(wanted: str, found: str) -> str:
    """How two policies that are not the same differ, for people."""
    ours, theirs = _statements(wanted), _statements(found)
    missing = [_named(one) for one in ours if one not in theirs]
    more = [_named(one) for one in theirs if one not in ours]
    parts = []
    if missing:
        parts.append(f"lacks {_counted(missing)} of `create.policy`")
    if more:
        parts.append(f"has {_counted(more)} that `create.policy` does not have")
    text = f"the policy {' and '.join(parts) or 'has another Version or Id'}"
    deleted = sorted({name for name in _DELETED.findall(found) if name not in wanted})
    gone = [f"{name} is the ID of a {_KINDS[name[:4]]} that was deleted" for name in deleted]
    return "; ".join([text, *gone])


def _counted(names: list[str]) -> str:
    return f"{len(names)} statement{'s' if len(names) > 1 else ''} ({', '.join(names)})"


def _named(statement: str) -> str:
    return str(orjson.loads(statement).get("Sid") or "without Sid")


def _canonical(policy: str) -> Any:
    document = _parsed(policy)
    return document.get("Version", "2008-10-17"), document.get("Id"), _statements(policy)


def _statements(policy: str) -> list[str]:
    given = _parsed(policy).get("Statement", [])
    statements = given if isinstance(given, list) else [given]
    return sorted(
        orjson.dumps(_statement(one), option=orjson.OPT_SORT_KEYS).decode()
        for one in statements
        if isinstance(one, Mapping)
    )


def _parsed(policy: str) -> Mapping[str, Any]:
    try:
        document = orjson.loads(policy)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _statement(given: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in given.items():
        if name in _LISTS:
            made[name] = _texts(value)
        elif name in ("Principal", "NotPrincipal"):
            kinds = value if isinstance(value, Mapping) else {"AWS": value}
            made[name] = {kind: sorted({_ROOT.sub(r"\1", text) for text in _texts(of)}) for kind, of in kinds.items()}
        elif name == "Condition" and isinstance(value, Mapping):
            made[name] = {
                operator: {key: _texts(values) for key, values in block.items()}
                for operator, block in value.items()
                if isinstance(block, Mapping)
            }
        else:
            made[name] = value
    return made


def _texts(value: Any) -> list[str]:
    values: Iterable[Any] = value if isinstance(value, list) else [value]
    return sorted({str(one).lower() if isinstance(one, bool) else str(one) for one in values})
