"""Characters that make a reviewer see something other than what the program reads.

A YAML parser ends a line, and with it a comment, at U+0085, U+2028, U+2029 and a lone carriage return; editors and
web pages show none of them as a line end. So what looks like one comment could set a field. Bidirectional controls
reorder what is seen (https://trojansource.codes).
"""

from __future__ import annotations

import re
from typing import Final

import yaml
from yaml._yaml import CParser
from yaml.events import ScalarEvent

from bulk_import.manifest.problems import fail

_LINE_ENDS: Final = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]|\r(?!\n)")
_REORDER: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ANY: Final = re.compile(f"{_LINE_ENDS.pattern}|{_REORDER.pattern}")
_BYTES: Final = re.compile(  # the same in UTF-8, for lines that are not decoded
    rb"[\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xd8\x9c|\r(?!\n)"
)


def check_text(text: str, file: str, *, is_yaml: bool) -> None:
    """Raises ManifestError for such a character; in YAML, quotes allow those that end a line."""
    if not _ANY.search(text):
        return
    quoted = _quoted(text) if is_yaml else []
    for found in _ANY.finditer(text):
        at = found.start()
        if not _REORDER.match(text, at) and any(start <= at < end for start, end in quoted):
            continue
        raise _refused(file, text.count("\n", 0, at) + 1, found[0])


def check_line(raw: bytes, file: str, line: int, *, quoted: bool) -> None:
    """For one line of JSON Lines or CSV, with its end. `quoted`: quotes may hold a CR, and the reader checks that."""
    found = _BYTES.search(raw.removesuffix(b"\n").removesuffix(b"\r"))
    if found and not (quoted and found[0] == b"\r"):
        raise _refused(file, line, found[0].decode("utf-8", "replace"))


def _quoted(text: str) -> list[tuple[int, int]]:
    """Where the quoted scalars of a YAML text are, in characters. Up to its first syntax error."""
    found = []
    parser = CParser(text)
    try:
        while (event := parser.get_event()) is not None:
            if type(event) is ScalarEvent and event.style in ("'", '"') and event.start_mark and event.end_mark:
                found.append((event.start_mark.index, event.end_mark.index))
    except yaml.YAMLError:
        pass  # what follows the error counts as not quoted; the error itself is reported by the reader
    return found


def _refused(file: str, line: int, character: str) -> Exception:
    if character == "\r":
        return fail(
            file, line, "has a carriage return (CR) that is not part of a line end: text after it can hide",
            "Save it with LF or CRLF line ends.",
        )  # fmt: skip
    name = f"U+{ord(character):04X}"
    what = "reorders the text that is seen" if _REORDER.match(character) else "ends a line without being seen"
    return fail(file, line, f"holds the character {name}, which {what}", "Remove it.")
