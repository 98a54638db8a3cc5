"""How the text of a setting becomes its value: durations, lists, pairs. And what counts as given but empty."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w)?")
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def _duration(value: Any) -> Any:
    """`2`, `2s`, `500ms`, `10m`, `1h`, `30d` or `2w` → seconds."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError("write a number of seconds, or a number with ms, s, m, h, d or w: 2s, 10m, 30d")
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _listed(value: Any) -> Any:
    """A variable's commas → a list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _mapping(value: Any) -> Any:
    """`["A=1", "B=2"]` or `"A=1,B=2"` → {"A": "1", "B": "2"}. A name that comes twice is a mistake: whichever of the
    two was meant, the other would be forgotten in silence."""
    value = _listed(value)
    if not isinstance(value, list | tuple):
        return value
    found: dict[str, str] = {}
    for item in value:
        name, equals, text = (part.strip() for part in str(item).partition("="))
        if not (name and equals):
            raise ValueError(f"{name!r} is not NAME=VALUE")
        if name in found:
            raise ValueError(f"{name} is given twice, as {found[name]} and as {text}. Keep one of them")
        found[name] = text
    return found


Seconds = Annotated[float, BeforeValidator(_duration)]
Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Mapped = Annotated[dict[str, str], NoDecode, BeforeValidator(_mapping)]
Rates = Annotated[dict[str, float], NoDecode, BeforeValidator(_mapping)]


def gives_nothing(value: Any, *, several: bool) -> bool:
    """Whether `value` was given and holds nothing: an empty or blank text, a list without items or with a blank one.

    `several`: whether the setting is a list; text then holds items between commas. A guard that is given a list
    without items would guard nothing, and a selection would select everything.
    """
    if isinstance(value, str):
        return not (value.replace(",", "") if several else value).strip()
    if isinstance(value, list | tuple):
        return not value or any(isinstance(item, str) and not item.replace(",", "").strip() for item in value)
    return several and isinstance(value, dict) and not value
