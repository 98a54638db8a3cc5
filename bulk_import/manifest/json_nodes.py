"""JSON documents as the same trees as YAML's.

orjson judges whether the text is JSON (RFC 8259); the tokenizer here only finds the lines. It is not left to the
YAML parser, because YAML's idea of JSON lacks surrogate escapes and allows what JSON does not. Numbers stay the text
that was written: an account is text, and typed by the schema like everything else.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from bulk_import.manifest.problems import Findings, fail
from bulk_import.manifest.yaml_nodes import Builder, Map, Seq, too_deep

# Only ever run over text that orjson has accepted.
_TOKEN = re.compile(r'([ \t\r\n]*)(?:[,:]|([\[{])|([\]}])|"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s,:\[\]{}"]+))')


def is_json(text: str) -> bool:
    """Whether `text` is a JSON object or array. The file's name does not count."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def read_json(text: str, findings: Findings) -> Any:
    """The document of `text`. Duplicate keys go to `findings`; raises ManifestError where reading must end."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise not_json(findings.file, error.lineno, error) from None
    return compose(text, findings, 1)


def not_json(file: str, line: int, error: orjson.JSONDecodeError) -> Exception:
    """orjson's words, which never quote the text."""
    if "depth" in error.msg or "recursion" in error.msg.lower():
        return too_deep(file, line)
    reason = error.msg.partition(": line ")[0]
    advice = "The file may be cut off: fetch or write it again." if "end of data" in reason else ""
    return fail(file, line, f"is not JSON: {reason} (column {error.colno})", advice)


def compose(text: str, findings: Findings, line: int) -> Any:
    """The tree of a valid JSON `text` that begins on `line`."""
    builder = Builder(findings)
    for match in _TOKEN.finditer(text):
        space, opening, closing, string, literal = match.groups()
        line += space.count("\n")
        if string is not None:
            builder.scalar(orjson.loads(f'"{string}"') if "\\" in string else string, line)
        elif literal is not None:
            builder.scalar(None if literal == "null" else literal, line)
        elif opening:
            builder.start(Map(line) if opening == "{" else Seq(line))
        elif closing:
            builder.end()
    return builder.root
