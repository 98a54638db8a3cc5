"""Characters that people do not see, and that make a right value wrong: named, so that nobody searches for hours."""

from __future__ import annotations

from typing import Final

_NAMED: Final = {
    "\u00a0": "a no-break space (U+00A0)",
    "\u2007": "a figure space (U+2007)",
    "\u202f": "a narrow no-break space (U+202F)",
    "\u200b": "a zero-width space (U+200B)",
    "\u200c": "a zero-width character (U+200C)",
    "\u200d": "a zero-width character (U+200D)",
    "\u200e": "an invisible mark (U+200E)",
    "\u200f": "an invisible mark (U+200F)",
    "\u2060": "a zero-width character (U+2060)",
    "\ufeff": "a byte order mark (U+FEFF)",
    "\u00ad": "a soft hyphen (U+00AD)",
    "\r": "a carriage return (CR)",
    "\n": "a line break",
    "\t": "a tab",
    "\x00": "a NUL character",
}
_QUOTES: Final = frozenset(map(chr, (0xAB, 0xBB, *range(0x2018, 0x2020), 0x201E, 0x201F)))
_DASHES: Final = frozenset(map(chr, (*range(0x2010, 0x2016), 0x2212)))


def blemish(text: str) -> tuple[str, str] | None:
    """(message, advice) for the first such character; None without one. Shows nothing of the text."""
    for character in text:
        if character in _NAMED:
            return f"contains {_NAMED[character]}", "Remove it: copy the value as plain text."
        if character in _QUOTES:
            return "contains a curly quote", "Write straight quotes, or none."
        if character in _DASHES:
            return "contains a dash that is not the ASCII hyphen", "Write the hyphen of the keyboard: -."
    if text[:1].isspace():
        return "begins with a blank", "Remove the blank."
    if text[-1:].isspace():
        return "ends with a blank", "Remove the blank."
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        return "has quotes inside the value", "Remove the inner quotes."
    return None
