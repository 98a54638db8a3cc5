"""`create.policy`: a key policy, in a JSON file inside the manifest's folder or written in the manifest itself.

Scalars are text, as everywhere in a manifest: IAM reads "true" and "3600" as it reads true and 3600.
https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from bulk_import.errors import ManifestError
from bulk_import.manifest import fields
from bulk_import.manifest.json_nodes import read_json
from bulk_import.manifest.problems import Findings, Loc
from bulk_import.manifest.problems import path as path_of
from bulk_import.manifest.yaml_nodes import line_at
from bulk_import.model import Lane
from bulk_import.shown import shown

FILE: Final = "file:"
LARGEST: Final = 32 * 1024  # bytes: https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
_TOP: Final = frozenset(("Version", "Id", "Statement"))
_STATEMENT: Final = frozenset(
    ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
)
_ONE_OF: Final = (("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource"))
_VARIABLES: Final = "A policy variable needs doubled braces: ${{aws:username}}."

Read = Callable[[str], bytes]  # a file by its path in the manifest's folder; raises Unusable
Mistake = tuple[Loc, str, str]  # where in the policy, what, and what to do


class Unusable(Exception):
    """A policy that cannot be used. `message` is empty where the findings have the mistakes already."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class Policies:
    """The key policies of one manifest. Each file is read once."""

    def __init__(self, read: Read, findings: Findings) -> None:
        self.files: dict[str, Any] = {}  # path → its document; None where it has mistakes
        self._read = read
        self._findings = findings
        self._used: dict[int, tuple[Any, frozenset[str]]] = {}  # id of a document → itself, and its placeholders
        self._filled: dict[tuple[int, tuple[str, ...]], str] = {}
        self._texts: dict[str, str] = {}  # one object for equal policies: fleets repeat themselves

    def text(self, stated: str | Mapping[str, Any], lane: Lane, key: str) -> str:
        """The policy document of one target as JSON, placeholders filled in. `key`: the entry's id. Raises Unusable."""
        document: Any = stated
        if isinstance(stated, str):
            document = self._file(fields.fill(stated.removeprefix(FILE), lane, key))
        if id(document) not in self._used:
            self._used[id(document)] = document, frozenset(_placeholders(document))
        values = {"partition": lane.partition, "account": lane.account, "region": lane.region, "id": key}
        known = id(document), tuple(values[name] for name in sorted(self._used[id(document)][1]))
        if known not in self._filled:
            text = orjson.dumps(_filled(document, lane, key)).decode()
            if len(text.encode()) > LARGEST:
                raise Unusable(f"has {len(text.encode()):,} bytes", f"KMS allows {LARGEST:,} for a key policy.")
            self._filled[known] = self._texts.setdefault(text, text)
        return self._filled[known]

    def _file(self, path: str) -> Any:
        if path not in self.files:
            self.files[path] = None
            self.files[path] = self._document(path, self._read(path))
        if self.files[path] is None:
            raise Unusable("")
        return self.files[path]

    def _document(self, path: str, data: bytes) -> Any:
        """None where it has mistakes, which are in the findings then."""
        findings = Findings(path)
        try:
            document = read_json(data.removeprefix(b"\xef\xbb\xbf").decode(), findings)
        except UnicodeDecodeError:
            raise Unusable(f"{path} is not UTF-8", "Save it as UTF-8.") from None
        except ManifestError as error:
            findings.problems += error.problems
            document = {}
        else:
            for loc, message, advice in check(document):
                findings.add(line_at(document, loc, 1), path_of(loc), message, advice)
        self._findings.problems += findings.problems
        return None if findings.problems else document


def check(document: Any) -> Iterator[Mistake]:
    """Mistakes of form in a key policy, of which KMS would refuse the whole request."""
    if not isinstance(document, Mapping):
        yield (), "is not a JSON object", 'Write {"Version": "2012-10-17", "Statement": […]}.'
        return
    for name in document.keys() - _TOP:
        yield (name,), "is not an element of a key policy", "Known: Version, Id, Statement."
    statements = document.get("Statement")
    listed = [statements] if isinstance(statements, Mapping) else statements
    if not isinstance(listed, list) or not listed:
        yield ("Statement",), "is missing or empty", "A key policy needs at least one statement."
        return
    for index, statement in enumerate(listed):
        loc: Loc = ("Statement",) if listed is not statements else ("Statement", index)
        yield from ((loc, message, advice) for message, advice in _of_statement(statement))
    yield from _of_texts(document, ())


def _of_statement(statement: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(statement, Mapping):
        yield "is not a statement", "Write a mapping with Effect, Principal, Action and Resource."
        return
    for name in statement.keys() - _STATEMENT:
        yield "has an element that no statement has", f"Known: {', '.join(sorted(_STATEMENT))}. Not: {shown(name)}."
    if statement.get("Effect") not in ("Allow", "Deny"):
        yield "has no Effect", "Write Allow or Deny."
    for one, other in _ONE_OF:
        if (one in statement) == (other in statement):
            yield f"needs exactly one of {one} and {other}", 'In a key policy, Resource is "*": the key itself.'


def _of_texts(node: Any, loc: Loc) -> Iterator[Mistake]:
    if node is None:
        yield loc, "is null", "Write a value, or leave the element out."
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from _of_texts(value, (*loc, name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _of_texts(value, (*loc, index))
    elif said := fields.template(str(node)):
        yield loc, said[0], f"{said[1]} {_VARIABLES}"


def _placeholders(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _placeholders(value)
    else:
        yield from (name for name in fields.PLACEHOLDERS if re.search(rf"\{{{name}\}}", str(node)))


def _filled(node: Any, lane: Lane, key: str) -> Any:
    if isinstance(node, Mapping):
        return {name: _filled(value, lane, key) for name, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, lane, key) for value in node]
    return fields.fill(str(node), lane, key)
