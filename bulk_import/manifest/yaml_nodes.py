"""YAML and JSON documents as plain dicts and lists of text that know their lines.

YAML goes through PyYAML's C parser, event by event, and without a resolver: every scalar stays the text that was
written, except a plain `null`, `~` or nothing at all, which is None. So an unquoted account keeps its leading zeros,
and there is no octal, sexagesimal or yes/no surprise. The tree is built without recursion and under limits, so that
a hostile document costs little. JSON has a tokenizer of its own (json_nodes.py) that feeds the same builder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from bulk_import.errors import ManifestError
from bulk_import.manifest.problems import Findings, fail, path

MAX_DEPTH = 16  # a manifest needs five
MAX_SCALAR = 65_536  # characters of one value
MAX_ALIASED = 1_000_000  # nodes that aliases may add: enough for honest repetition, not for a bomb
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))


class Map(dict[str, Any]):
    """A mapping; `lines` are those of its keys."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}

    def line_of(self, key: str) -> int:
        return self.lines.get(key, self.line)


class Seq(list[Any]):
    """A sequence; `lines` are those of its items."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


def line_at(node: Any, loc: tuple[str | int, ...], line: int) -> int:
    """The line of the value at `loc` below `node`, or of its nearest parent that is there."""
    for part in loc:
        if isinstance(node, Map) and isinstance(part, str) and part in node:
            line, node = node.line_of(part), node[part]
        elif isinstance(node, Seq) and isinstance(part, int) and part < len(node):
            line, node = node.lines[part], node[part]
        else:
            break
    return line


class Builder:
    """Puts scalars and the starts and ends of collections together to a tree, without recursion."""

    def __init__(self, findings: Findings) -> None:
        self.root: Any = None
        self.done = False
        self.nodes = 0  # made so far, with those that aliases repeat
        self._findings = findings
        self._open: list[Map | Seq] = []
        self._keys: list[str | None] = []  # of each open collection: the key that waits for its value
        self._key_lines: list[int] = []
        self._texts: dict[str, str] = {}  # one object for equal short texts: manifests repeat themselves

    def scalar(self, text: str | None, line: int, *, written: str | None = None) -> None:
        """A value or, inside a mapping, a key. `written`: the text of a null, should it stand as a key."""
        self.nodes += 1
        if text is not None:
            if len(text) > MAX_SCALAR:
                raise fail(
                    self._findings.file,
                    line,
                    f"a value of {len(text):,} characters; no field accepts more than {MAX_SCALAR:,}",
                    "Name key material by URI (file:…, env:…); never write it into the manifest.",
                )
            if len(text) < 64:
                text = self._texts.setdefault(text, text)
        if self._open and isinstance(self._open[-1], Map) and self._keys[-1] is None:
            self._keys[-1] = (written or "") if text is None else text
            self._key_lines[-1] = line
        else:
            self.value(text, line)

    def value(self, value: Any, line: int) -> None:
        """Puts a finished value where it belongs."""
        if not self._open:
            self.root, self.done = value, True
            return
        parent = self._open[-1]
        if isinstance(parent, Seq):
            parent.append(value)
            parent.lines.append(line)
            return
        key, key_line = self._keys[-1], self._key_lines[-1]
        if key is None:
            raise fail(self._findings.file, line, "the key of a mapping must be text", "Write a field's name there.")
        if key in parent:
            message = f"is specified twice; first on line {parent.line_of(key)}"
            self._findings.add(key_line, path(self._loc()), message, "Keep one of them.")
        else:
            parent[key] = value
            parent.lines[key] = key_line
        self._keys[-1] = None

    def _loc(self) -> list[str | int]:
        """Where the builder stands, as a field path."""
        return [
            len(parent) if isinstance(parent, Seq) else key or ""
            for parent, key in zip(self._open, self._keys, strict=True)
        ]

    def start(self, collection: Map | Seq) -> None:
        self.nodes += 1
        if len(self._open) == MAX_DEPTH:
            raise too_deep(self._findings.file, collection.line)
        if self._open and isinstance(self._open[-1], Map) and self._keys[-1] is None:
            raise fail(
                self._findings.file, collection.line, "the key of a mapping must be text", "Write a field's name there."
            )
        self._open.append(collection)
        self._keys.append(None)
        self._key_lines.append(0)

    def end(self) -> Map | Seq:
        collection = self._open.pop()
        self._keys.pop()
        self._key_lines.pop()
        self.value(collection, collection.line)
        return collection


def too_deep(file: str, line: int) -> ManifestError:
    return fail(file, line, f"nested more than {MAX_DEPTH} deep", "A manifest needs five levels.")


def read_yaml(text: str, findings: Findings) -> Any:
    """The one document of `text`. Duplicate keys go to `findings`; raises ManifestError where reading must end."""
    try:
        return _Composer(findings).compose(CParser(text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise fail(findings.file, line, "holds a character that YAML does not allow", "Remove it.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        # The parser's own words never quote the text; its context may name an anchor, so it is left out.
        message = f"is not YAML: {error.problem or 'it cannot be parsed'}"
        raise fail(findings.file, line, message, "Check indentation, quotes and brackets there.") from None
    except yaml.YAMLError:
        raise fail(findings.file, 0, "is not YAML", "Check indentation, quotes and brackets.") from None


class _Composer:
    """Events of the parser → calls of the builder; anchors and aliases are resolved here."""

    def __init__(self, findings: Findings) -> None:
        self._file = findings.file
        self._builder = Builder(findings)
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # name → value, its nodes, its line
        self._pending: list[tuple[str | None, int]] = []  # of each open collection: its anchor, nodes before it
        self._aliased = 0

    def compose(self, parser: CParser) -> Any:
        get: Callable[[], Any] = parser.get_event  # Any: its attributes depend on its class
        scalar = self._builder.scalar
        while (event := get()) is not None:
            kind = type(event)
            if kind is ScalarEvent:
                if event.tag is None and event.anchor is None:  # by far the most
                    value = event.value
                    if value in _NULLS and not event.style:
                        scalar(None, event.start_mark.line + 1, written=value)
                    else:
                        scalar(value, event.start_mark.line + 1)
                else:
                    self._marked_scalar(event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self._start(event, kind is MappingStartEvent)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._end()
            elif kind is AliasEvent:
                self._alias(event)
            elif kind is DocumentStartEvent and self._builder.done:
                message = "holds more than one YAML document"
                raise fail(self._file, event.start_mark.line + 1, message, "Keep one, without further `---` lines.")
        return self._builder.root

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            message = "YAML tags (`!…`) are not allowed in a manifest"
            raise fail(self._file, event.start_mark.line + 1, message, "Write the value without the tag.")

    def _marked_scalar(self, event: Any) -> None:
        self._refuse_tag(event)
        line = event.start_mark.line + 1
        value = None if event.value in _NULLS and not event.style else event.value
        self._anchors[event.anchor] = (value, 1, line)
        self._builder.scalar(value, line, written=event.value)

    def _start(self, event: Any, mapping: bool) -> None:  # noqa: FBT001 - which of two collections, from one caller
        self._refuse_tag(event)
        self._pending.append((event.anchor, self._builder.nodes))
        line = event.start_mark.line + 1
        self._builder.start(Map(line) if mapping else Seq(line))

    def _end(self) -> None:
        collection = self._builder.end()
        anchor, before = self._pending.pop()
        if anchor is not None:
            self._anchors[anchor] = (collection, self._builder.nodes - before, collection.line)

    def _alias(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if any(anchor == event.anchor for anchor, _ in self._pending):
            raise fail(self._file, line, "a YAML alias repeats the collection that contains it", "Remove it.")
        if event.anchor not in self._anchors:
            raise fail(self._file, line, "a YAML alias names an anchor that is not there", "Check its name.")
        value, nodes, _ = self._anchors[event.anchor]
        self._aliased += nodes
        self._builder.nodes += nodes
        if self._aliased > MAX_ALIASED:
            message = f"YAML aliases make this document more than {MAX_ALIASED:,} nodes larger"
            raise fail(self._file, line, message, "Write the repeated part into `defaults` instead.")
        if value is None or isinstance(value, str):
            self._builder.scalar(value, line)
        else:
            self._builder.value(value, line)
