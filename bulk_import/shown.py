"""Values of a manifest, a variable or a setting as text for people: never what may be key material or a password.

People paste keys into the oddest places: behind `file:` and `env:`, into key_id, a label, an option. Code that quotes
such a value sends it through `shown`. The file, line, field and id next to it say where it is.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from bulk_import.text import harmless

HIDDEN: Final = "<not shown>"

# What may stay although it is long: key IDs, the digest of an image or of a public key, a commit.
_KNOWN: Final = re.compile(
    r"(?<![0-9A-Za-z+/=_-])(?:[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|mrk-[0-9A-Fa-f]{32}|[0-9a-f]{40})"
    r"(?![0-9A-Za-z+/=_-])|(?<=[:/])(?:[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|mrk-[0-9A-Fa-f]{32})"
    r"(?![0-9A-Za-z+/=_-])|\bsha256:[0-9a-f]{64}(?![0-9A-Za-z+/=_-])"
)
_HEX: Final = re.compile(
    r"[0-9A-Fa-f]{32,}"
    r"|(?:[0-9A-Fa-f]{2}[ :,;._-]+){15,}[0-9A-Fa-f]{2}"  # in pairs, words or double words
    r"|(?:[0-9A-Fa-f]{4}[ :,;._-]+){7,}[0-9A-Fa-f]{4}"
    r"|(?:[0-9A-Fa-f]{8}[ :,;._-]+){3,}[0-9A-Fa-f]{8}"
    r"|(?:(?:0[xX]|\\+x)[0-9A-Fa-f]{2}[ :,;]*){16,}"
    r"|(?:[0-9A-Fa-f]{4,12}-){5,}[0-9A-Fa-f]{4,12}"  # UUIDs joined together
    r"|[0-9A-Za-z._~+-]{0,8}%[0-9A-Fa-f]{2}"  # percent-encoded; `/` stays as it is in a URL
    r"(?:[0-9A-Za-z._~+/-]{0,8}%[0-9A-Fa-f]{2}){7,}[0-9A-Za-z._~+/-]{0,16}"
    r"|(?:-?[0-9]{1,3}(?:[ \t]*[,;|][ \t]*|[ \t]+)){15,}-?[0-9]{1,3}"  # bytes as decimal numbers
    r"|(?:\\+[0-7]{3}){8,}"  # and as octal ones
    # 16 bytes of base64: too short for the rule below
    r"|(?<![0-9A-Za-z+/_-])(?:[0-9A-Za-z+/_-]|%2[BbFf]){22}(?:=|%3[Dd]){2}"
)
_BASE32: Final = re.compile(r"(?<![0-9A-Za-z])(?=(?:[A-Z]*[2-7]){3})[A-Z2-7]{32,}=*")
_RUN: Final = re.compile(r"(?:[A-Za-z0-9+/_-]|%2[BbFf]){24,}(?:=|%3[Dd])*")
_WINDOW: Final = 24  # letters and digits: 18 bytes of base64, less than any key has
_CHANGES: Final = 10  # random base64 has 14 of 23 on the average, names in any style have fewer
_WORDS: Final = 6  # the same without the change from a capital to a small letter, which begins a word: 10 of 23
_SMALL, _CAPITAL = 1, 2
# A user and a password before the @ of a URL, or of what was meant to be one.
_WITH_SCHEME: Final = re.compile(r"((?::/|//)/?)[^\n]*@")
_WITHOUT_SCHEME: Final = re.compile(r"(?<![^\s'\"(=])(?!arn:)[^\s'\"/@:]+:[^\s'\"@]*@")


def shown(text: str) -> str:
    """`text`, harmless, with everything replaced that looks like key material, or like the user of a URL."""
    text = harmless(text)
    if "@" in text:
        text = _WITHOUT_SCHEME.sub(f"{HIDDEN}@", _WITH_SCHEME.sub(rf"\1{HIDDEN}@", text))
    if len(text) < _WINDOW:
        return text
    parts, at = [], 0
    for known in _KNOWN.finditer(text):
        parts += [_masked(text[at : known.start()]), known[0]]
        at = known.end()
    return "".join([*parts, _masked(text[at:])])


def shown_lines(text: str) -> str:
    """The same for text of several lines, whose line feeds stay."""
    return "\n".join(map(shown, text.split("\n")))


def _masked(text: str) -> str:
    return _RUN.sub(_random, _BASE32.sub(HIDDEN, _HEX.sub(HIDDEN, text)))


def _random(run: re.Match[str]) -> str:
    """Names are words: letters and digits, capital and small, change seldom. In base64 they change all the time."""
    text = run[0]
    kinds = [character.islower() + 2 * character.isupper() for character in text if character.isalnum()]
    changes = [one != other for one, other in pairwise(kinds)]
    words = [one != other and (one, other) != (_CAPITAL, _SMALL) for one, other in pairwise(kinds)]
    # Padding, + and a length without any separator are no signs of a name.
    less = 4 if text.endswith("=") or "+" in text else 2 if len(text) >= 36 and text.isalnum() else 0
    if _most(changes) >= _CHANGES - less and _most(words) >= _WORDS - less // 2:
        return HIDDEN
    return text


def _most(changes: list[bool]) -> int:
    """The largest number of changes in any window; 0 if the text is shorter."""
    if len(changes) < _WINDOW - 1:
        return 0
    count = most = sum(changes[: _WINDOW - 1])
    for leaving, coming in zip(changes, changes[_WINDOW - 1 :], strict=False):
        count += coming - leaving
        most = max(most, count)
    return most
