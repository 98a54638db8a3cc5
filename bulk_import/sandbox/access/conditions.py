"""The Condition element: operators, set operators, IfExists, policy variables.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

Context = Mapping[str, Any]  # condition key → text, number, truth value, or a list of texts


def like(pattern: str, text: str) -> bool:
    """`*` and `?` as IAM has them; `[` is an ordinary character."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=16_384)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(c, re.escape(c)) for c in pattern), re.DOTALL)


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _instant(value: Any) -> float:
    text = str(value)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _in_network(wanted: str, found: Any) -> bool:
    return ipaddress.ip_address(str(found)) in ipaddress.ip_network(wanted, strict=False)


Test = Callable[[str, Any], bool]  # what the policy wants, what the request has
POSITIVE: dict[str, Test] = {
    "StringEquals": lambda wanted, found: wanted == _text(found),
    "StringEqualsIgnoreCase": lambda wanted, found: wanted.lower() == _text(found).lower(),
    "StringLike": lambda wanted, found: like(wanted, _text(found)),
    "ArnEquals": lambda wanted, found: like(wanted, _text(found)),
    "ArnLike": lambda wanted, found: like(wanted, _text(found)),
    "Bool": lambda wanted, found: wanted.lower() == _text(found).lower(),
    "NumericEquals": lambda wanted, found: float(found) == float(wanted),
    "NumericLessThan": lambda wanted, found: float(found) < float(wanted),
    "NumericLessThanEquals": lambda wanted, found: float(found) <= float(wanted),
    "NumericGreaterThan": lambda wanted, found: float(found) > float(wanted),
    "NumericGreaterThanEquals": lambda wanted, found: float(found) >= float(wanted),
    "DateEquals": lambda wanted, found: _instant(found) == _instant(wanted),
    "DateLessThan": lambda wanted, found: _instant(found) < _instant(wanted),
    "DateLessThanEquals": lambda wanted, found: _instant(found) <= _instant(wanted),
    "DateGreaterThan": lambda wanted, found: _instant(found) > _instant(wanted),
    "DateGreaterThanEquals": lambda wanted, found: _instant(found) >= _instant(wanted),
    "IpAddress": _in_network,
}
NEGATIVE = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}
OPERATORS = frozenset([*POSITIVE, *NEGATIVE, "Null"])


def known(operator: str) -> bool:
    return operator.removeprefix("ForAllValues:").removeprefix("ForAnyValue:").removesuffix("IfExists") in OPERATORS


def holds(conditions: Mapping[str, Any], context: Context) -> bool:
    """Whether all conditions of a statement hold. Keys are compared without regard to case."""
    lowered = {name.lower(): value for name, value in context.items()}
    return all(
        _holds(operator, [_filled(_text(value), lowered) for value in as_list(values)], lowered.get(key.lower()))
        for operator, block in conditions.items()
        for key, values in block.items()
    )


def _holds(operator: str, wanted: list[str], found: Any) -> bool:
    base = operator.removeprefix("ForAllValues:").removeprefix("ForAnyValue:").removesuffix("IfExists")
    if base == "Null":
        return (found is None) == (wanted[0].lower() == "true")
    if operator.startswith("ForAllValues:"):
        return all(_one(base, wanted, value) for value in as_list(found)) if found is not None else True
    if found is None:
        return operator.endswith("IfExists") or (base in NEGATIVE and not operator.startswith("ForAnyValue:"))
    return any(_one(base, wanted, value) for value in as_list(found))


def _one(base: str, wanted: list[str], value: Any) -> bool:
    """One value of the request against all of the policy. A value of another kind fits no operator."""
    test = POSITIVE[NEGATIVE.get(base, base)]
    try:
        found = any(test(text, value) for text in wanted)
    except ValueError:
        return False
    return not found if base in NEGATIVE else found


def _filled(text: str, context: Context) -> str:
    """Policy variables, `${key}` and `${key, 'default'}`; one without a value matches nothing."""

    def value(match: re.Match[str]) -> str:
        found = context.get(match[1].strip().lower())
        if found is None:
            return match[2] if match[2] is not None else "\0"
        return _text(found)

    return re.sub(r"\$\{([^},]+)(?:,\s*'([^']*)')?\}", value, text)
