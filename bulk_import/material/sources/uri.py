"""The grammar that all sources share: `scheme:path?name=value&name=value`.

The query begins at the first `?`. Its names and values are percent-decoded; `+` is literal; the path is taken as it
stands. A name that the source does not know, or that is repeated, is an error. RFC 3986, section 3.4. No message
quotes a value: somebody may have written the material itself into the URI.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Uri(NamedTuple):
    """A source's URI without its scheme."""

    path: str
    query: dict[str, str]


def parse(rest: str, names: Collection[str]) -> Uri:
    """`rest`: what follows the scheme and its colon. `names`: those that the query may have.

    Raises ValueError with a message for people.
    """
    path, mark, text = rest.partition("?")
    return Uri(path, pairs(text, names) if mark else {})


def pairs(text: str, names: Collection[str], *, separator: str = "&") -> dict[str, str]:
    """`name=value&name=value` → a mapping. Raises ValueError with a message for people."""
    known = ", ".join(f"{name}=" for name in names)
    found: dict[str, str] = {}
    for part in text.split(separator):
        name, equals, value = part.partition("=")
        name = decoded(name)
        if not equals:
            raise ValueError(f"its query must be name=value pairs joined by {separator}")
        if name not in names:
            shown = name if re.fullmatch(r"[a-z_-]{1,24}", name) else "(not shown)"
            raise ValueError(f"its query has the unknown name {shown}; known: {known or 'none'}")
        if name in found:
            raise ValueError(f"its query has {name}= twice")
        if not value:
            raise ValueError(f"its query has {name}= without a value")
        found[name] = decoded(value)
    return found


def decoded(text: str) -> str:
    """Percent-decoded UTF-8. Raises ValueError with a message for people."""
    if _BAD_PERCENT.search(text):
        raise ValueError("its query has a % that two hex digits do not follow; write %25 for a literal %")
    try:
        value = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("its query is not UTF-8 after percent-decoding") from None
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("its query holds a control character")
    return value


def segments(path: str, *, least: int = 1) -> list[str]:
    """The parts of a path between slashes. Raises ValueError for fewer than `least`, and for empty or dot parts.

    `.` and `..` would be removed on their way to the server, so a path could leave the prefix that --allow-source
    names.
    """
    parts = path.split("/")
    if len(parts) < least or any(part in ("", ".", "..") for part in parts):
        raise ValueError("its path must have names between single slashes, none of them `.` or `..`")
    return parts


def vault_path(path: str) -> list[str]:
    """The parts of a path in Vault: a mount and more.

    Raises ValueError as `segments` does, and for what a policy of Vault would not take literally: `+` means there
    any segment, `*` for any ending, `{{…}}` for something of the token's.
    """
    parts = segments(path, least=2)
    if "+" in parts or any(mark in path for mark in ("*", "{{", "}}", '"', "\\")):
        raise ValueError('its path must not hold *, ", \\, {{, }} or a segment +: they mean more in a policy')
    return parts


def number(query: dict[str, str], name: str) -> int | None:
    """A whole number from 1. Raises ValueError with a message for people."""
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ValueError(f"{name}= must be a whole number from 1")
    return int(text)
