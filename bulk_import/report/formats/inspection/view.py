"""What several renderings say of a check: its headline, its order, what is wrong with a key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from bulk_import.run.inspected import ORDER, Standing
from bulk_import.words import not_aws, plural

Target = Mapping[str, Any]
COUNTS: Final = tuple(one.value for one in ORDER)
WRONG_FIRST: Final = ("drift", "missing", "empty", "unreadable", "expiring", "as_wanted")  # how urgent each state is
ADVICE: Final = {
    "drift": "Find out who changed the key, then correct the key or the manifest.",
    "missing": "Check key_id, account and Region. Somebody may have deleted the key or its alias.",
    "empty": "Run `bulk-import run`: it imports the material again.",
    "expiring": "Run `bulk-import run` before the material expires, with a later valid_to or with valid_for.",
}


def headline(found: Mapping[str, Any]) -> str:
    """One line: `2 of 10 keys need attention: 1 drift, 1 expiring`."""
    summary, run = found["summary"], found["run"]
    total = summary["total"]
    if not total:
        return f"shard {run['shard']} has no target" if run.get("shard") else "no target"
    wrong = [f"{summary[name]:,} {name}" for name in WRONG_FIRST if name != "as_wanted" and summary[name]]
    if not wrong:
        return f"all {plural(total, 'key')} as wanted"
    count = total - summary["as_wanted"]
    return f"{count:,} of {plural(total, 'key')} {'needs' if count == 1 else 'need'} attention: {', '.join(wrong)}"


def environment_warning(found: Mapping[str, Any]) -> str | None:
    run = found["run"]
    return not_aws("status check", run["environment"], run["endpoints"])


def urgent_first(found: Mapping[str, Any]) -> list[Target]:
    """All targets: by urgency, then nearest expiry first."""
    return sorted(
        found["targets"], key=lambda one: (WRONG_FIRST.index(one["state"]), one["valid_to"] or "9", one["index"])
    )


def wrong(found: Mapping[str, Any]) -> list[Target]:
    return [one for one in urgent_first(found) if one["state"] != Standing.AS_WANTED]


def why(target: Target) -> str:
    """What is wrong with a key, in one line. Empty where nothing is."""
    error = target["error"]
    found = [f"{error['code']}: {error['message']}"] if error else []
    found += [difference(one) for one in target["drift"] if not (error and one["field"] == "material")]
    if found:
        return "; ".join(found)
    if target["state"] == Standing.EXPIRING:
        return f"expires {day(target['valid_to'])}, {left(target)}"
    if target["state"] == Standing.EMPTY:
        return "the key has no material"
    if target["state"] == Standing.MISSING:
        return "there is no such key"
    return ""


def advice(target: Target) -> str:
    return target["error"]["advice"] if target["error"] else ADVICE.get(target["state"], "")


def difference(one: Mapping[str, Any]) -> str:
    """`description: wanted 'A', found 'B'`"""
    return f"{one['field']}: wanted {_value(one['wanted'])}, found {_value(one['found'])}"


def _value(text: str | None) -> str:
    return "nothing" if text is None else repr(text)


def day(instant: str | None) -> str:
    return instant[:10] if instant else "never"


def left(target: Target) -> str:
    """`in 12 days`"""
    days = target["days_left"]
    return "" if days is None else "in less than a day" if days == 0 else f"in {plural(days, 'day')}"


def place(target: Target) -> str:
    return f"{target['account']}/{target['region']}"


def proof(target: Target) -> str:
    """`compared (hmac)`, `not compared`"""
    how = f" ({target['proof']})" if target["proof"] != "none" else ""
    return f"{target['material'].replace('_', ' ')}{how}"


def calendar(found: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, list[Target]]]]]:
    """Month (`March 2027`) → day → the targets whose material expires then. In order of time."""
    days: dict[str, list[Target]] = {}
    for target in sorted((one for one in found["targets"] if one["valid_to"]), key=lambda one: one["valid_to"]):
        days.setdefault(day(target["valid_to"]), []).append(target)
    months: dict[str, list[tuple[str, list[Target]]]] = {}
    for when, targets in days.items():
        months.setdefault(date.fromisoformat(when).strftime("%B %Y"), []).append((when, targets))
    return list(months.items())
