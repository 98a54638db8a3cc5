"""Collecting what is wrong with a manifest: where it stands, what it is, what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache

from bulk_import.errors import ManifestError, Problem

# What may be quoted of a name no one knows: people paste key material into the oddest places, and 28 characters of
# hex or base64 are less than any importable key has.
_QUOTABLE = re.compile(r"[A-Za-z0-9_.+< -]{1,28}")

Loc = tuple[str | int, ...]


class Findings:
    """The problems of one file, in the order found; `raise_if_any` sorts them by line."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def add(self, line: int, field: str, message: str, advice: str = "") -> None:
        self.problems.append(problem(self.file, line, field, message, advice))

    def raise_if_any(self) -> None:
        """Raises ManifestError with every problem, sorted by line, each once."""
        if self.problems:
            unique = dict.fromkeys(self.problems)
            raise ManifestError(sorted(unique, key=lambda p: (p.line, p.file != self.file, p.field, p.message)))


def fail(file: str, line: int, message: str, advice: str, *, field: str = "") -> ManifestError:
    """A problem after which nothing else can be read: reported alone."""
    return ManifestError([problem(file, line, field, message, advice)])


def problem(file: str, line: int, field: str, message: str, advice: str = "") -> Problem:
    """A Problem whose message is a sentence: advice follows it."""
    return Problem(file, line, field, message if message.endswith((".", "!", "?")) else message + ".", advice)


def quotable(name: object) -> str:
    """`name` if it is short and plain, else a stand-in: it could be a secret in the wrong place."""
    text = str(name)
    return text if _QUOTABLE.fullmatch(text) else "<not shown>"


def path(loc: Iterable[str | int], prefix: str = "") -> str:
    """A field path for people: ("keys", 3, "valid_to") → keys[3].valid_to."""
    text = prefix
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + quotable(part)
    return text


def nearest(value: str, known: Iterable[str]) -> str:
    """`Did you mean X?`, or nothing where nothing is near."""
    return _nearest(value, tuple(known)) if len(value) <= 64 else ""


@lru_cache(maxsize=4096)  # the same mistake often is on every line
def _nearest(value: str, known: tuple[str, ...]) -> str:
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(value.casefold(), by_folded, n=1)
    return f"Did you mean {by_folded[found[0]]}?" if found else ""


def joined(words: Iterable[str]) -> str:
    return ", ".join(words)
