"""Text from outside (responses, names of files, reports, variables) as text that is harmless where it is shown.

Terminals obey control characters, CI runners obey lines such as `::error::` and `##[command]`, and text with lone
surrogates cannot be encoded at all. The text is made harmless where it enters the program, so that terminal, log,
journal, report and renderings need not think of it.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
https://learn.microsoft.com/en-us/azure/devops/pipelines/scripts/logging-commands
"""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 controls, DEL, the line separators of Unicode, what reorders or hides text (bidirectional controls,
# zero-width characters, tags), and lone surrogates: bytes that were not UTF-8, or half a character.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# Commands of CI runners: ::name key=value::value of GitHub, ##[name] and ##vso[name] of Azure, ##teamcity[name].
_COMMAND = re.compile(r"::(?=[a-z][a-z-]*(?:[ \t][^:]*)?::)|##(?=[a-z]*\[)", re.IGNORECASE)
_SUSPICIOUS = re.compile(f"{_UNSAFE.pattern}|::|##")
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def harmless(text: str) -> str:
    """`text` in one line without control characters: they are shown as escapes, such as \\x1b or \\u2028."""
    if not _SUSPICIOUS.search(text):
        return text
    return _COMMAND.sub(lambda found: " ".join(found[0]), _UNSAFE.sub(_escaped, text))


def harmless_lines(text: str) -> str:
    """The same for text of several lines, whose line feeds stay."""
    return "\n".join(map(harmless, text.split("\n")))


def harmless_values(value: Any) -> Any:
    """A value of JSON, or a parsed response, with every text in it (names of members included) made harmless."""
    texts: list[str] = []
    _collect(value, texts)
    # Nearly all are plain: one look at all of them costs a third of one at each.
    return value if is_plain(" ".join(texts)) else _each_harmless(value)


def is_plain(text: str) -> bool:
    """Whether nothing in it can be harmful. Most text has this form; other text may be harmless, too."""
    return text.isascii() and text.isprintable() and "::" not in text and "##" not in text


def _collect(value: Any, texts: list[str]) -> None:
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, dict):
        for name, item in value.items():
            texts.append(name if isinstance(name, str) else "")
            _collect(item, texts)
    elif isinstance(value, list):
        for item in value:
            _collect(item, texts)


def _each_harmless(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, dict):
        return {_each_harmless(name): _each_harmless(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_each_harmless(item) for item in value]
    return value


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"  # a byte that was not UTF-8, as Python's surrogateescape keeps it
    if character in _NAMES:
        return _NAMES[character]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
