"""A report read back: its head at once, its results one after another, each checked against the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from bulk_import import strict_json
from bulk_import.errors import InputError, Problem
from bulk_import.journal.entry import plain
from bulk_import.model import Outcome
from bulk_import.model.result import FIELDS
from bulk_import.model.run import ReportHead
from bulk_import.text import harmless_values

_ADVICE: Final = "Name a report or a journal as `run` wrote it, or make the report from its journal."
_RESULTS: Final = b'"results":['
_NO_RESULTS: Final = b'"results":[]'
_SCHEMA_VERSION: Final = 1
_BATCH: Final = 1 << 14  # bytes of a report that are in memory at once
_LONGEST_LINE: Final = 1 << 26  # bytes; a result has about 1,500, and 80 more for each read of a long verification
_HEAD: Final = TypeAdapter(ReportHead)
_RESULT: Final = TypeAdapter(Outcome)
_FIELDS: Final = frozenset(FIELDS)


@dataclass(frozen=True, slots=True)
class Lazily:
    """An iterable that makes its items each time, so that 100,000 results need no memory."""

    make: Callable[[], Iterator[dict[str, Any]]]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.make()


@dataclass(frozen=True, slots=True)
class Report:
    """`head`: every member but `results`, in the report's order. `results` may be iterated again and again."""

    head: dict[str, Any]
    results: Iterable[dict[str, Any]]

    def whole(self) -> dict[str, Any]:
        """In the shape that the renderings take."""
        return {**self.head, "results": self.results}


def read_report(path: Path, name: str = "") -> Report:
    """Reads a report; messages call it `name`, or by its path.

    Memory stays flat for one as `run` wrote it; one that was re-indented is read completely. Raises InputError, naming
    file and line, where it cannot be read, is not JSON, or is not a report of this version; for a damaged result, when
    the iteration comes to it.
    """
    name = name or str(path)
    try:
        head = _streamed_head(path)
        if head is not None:
            return Report(_checked(name, head), Lazily(partial(_streamed_results, path, name)))
        whole = strict_json.loads(path.read_bytes())
    except OSError as error:
        raise _error(name, 0, f"the report cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        raise _error(name, error.lineno, f"this is not JSON: {error.msg}.") from None
    results = whole.pop("results", None) if isinstance(whole, dict) else None
    if not isinstance(results, list):
        raise _error(name, 0, "this is not a report of bulk-import.")
    head = _checked(name, whole)
    return Report(head, [_result(name, 0, _bytes(name, result), at) for at, result in enumerate(results)])


def checked(report: Report, name: str) -> Report:
    """A report that was made from a journal, with the same checks: a journal is a file from outside too."""

    def results() -> Iterator[dict[str, Any]]:
        for at, result in enumerate(report.results):
            yield _result(name, 0, orjson.dumps(result), at)

    return Report(_checked(name, report.head), Lazily(results))


def _bytes(name: str, result: object) -> bytes:
    try:
        return orjson.dumps(result)
    except TypeError:
        raise _error(name, 0, "a result is nested too deep.") from None


def _streamed_head(path: Path) -> dict[str, Any] | None:
    """None where the file is not laid out as `run` writes it."""
    lines = []
    with path.open("rb") as stream:
        if stream.readline(16) != b"{\n":
            return None
        stream.seek(0)
        for line in iter(partial(stream.readline, _LONGEST_LINE), b""):
            if line.startswith(_RESULTS):
                if line.rstrip() not in (_RESULTS, _NO_RESULTS):
                    return None
                lines.append(b'"results":null}')
                break
            lines.append(line)
        else:
            return None
    head = strict_json.loads(b"".join(lines))
    del head["results"]
    return dict(head)


def _streamed_results(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """As `run` writes them: one a line, and nothing after them but the end of the report."""
    number, at, inside, comma = 0, 0, False, False
    lines = _lines(path, name)
    for number, line in enumerate(lines, 1):
        if inside and not line.startswith(b"]"):
            if at and not comma:
                raise _error(name, number, "there is no comma before this result.")
            comma = line.endswith(b",\n")
            yield _result(name, number, line.rstrip(b",\n"), at)
            at += 1
        elif inside or line.rstrip() == _NO_RESULTS:
            rest = b"".join(islice(lines, 2))
            if comma or line.rstrip() not in (b"]", _NO_RESULTS) or rest not in (b"}", b"}\n"):
                raise _error(name, number, "the results do not end as they should.")
            return
        else:
            inside = line.rstrip() == _RESULTS
    raise _error(name, number, "the report ends in the middle.")


def _lines(path: Path, name: str) -> Iterator[bytes]:
    """A few at a time, with the file closed in between: a merge reads as many reports as there are shards at once."""
    offset = 0
    while True:
        batch, size = [], 0
        try:
            with path.open("rb") as stream:
                stream.seek(offset)
                while size < _BATCH and (line := stream.readline(_LONGEST_LINE)):
                    batch.append(line)
                    size += len(line)
        except OSError as error:
            raise _error(name, 0, f"the report cannot be read: {error.strerror}.") from None
        if not batch:
            return
        offset += size
        yield from batch


def _checked(name: str, head: dict[str, Any]) -> dict[str, Any]:
    head = harmless_values(head)
    version = head.get("schema_version")
    if version != _SCHEMA_VERSION:
        shown = version if isinstance(version, int) else "not a number"
        raise _error(name, 0, f"schema_version is {shown}; this program reads version {_SCHEMA_VERSION}.")
    missing = [field.name for field in fields(ReportHead) if field.name not in head]
    if missing:
        raise _error(name, 0, f"this is not a report of bulk-import: {', '.join(missing)} is missing.")
    try:
        known = _plain(_HEAD.validate_json(orjson.dumps(head), strict=True))
    except TypeError:
        raise _error(name, 0, "this is not a report of bulk-import: it is nested too deep.") from None
    except ValidationError as error:
        raise _error(name, 0, f"this is not a report of bulk-import: {_first(error)}.") from None
    run = known["run"] | head["run"]
    if "runs" not in head["run"]:
        del run["runs"]
    lanes = [lane | given for lane, given in zip(known["lanes"], head["lanes"], strict=True)]
    return head | {"run": run, "summary": known["summary"] | head["summary"], "lanes": lanes}


def _result(name: str, line: int, data: bytes, at: int) -> dict[str, Any]:
    """One result as values. A field that reports of earlier versions lack gets the model's default."""
    try:
        given = harmless_values(strict_json.loads(data))
        if isinstance(given, dict) and "index" not in given:
            given = {"index": at, **given}
            data = orjson.dumps(given)
        known = _RESULT.validate_json(data, strict=True)
    except TypeError:
        raise _error(name, line, "this result is nested too deep.") from None
    except orjson.JSONDecodeError as error:
        raise _error(name, line, f"this result is not JSON: {error.msg}.") from None
    except ValidationError as error:
        raise _error(name, line, f"this is not a result: {_first(error)}.") from None
    return dict(given) if given.keys() >= _FIELDS else _plain(known) | given


def _plain(known: object) -> dict[str, Any]:
    return dict(orjson.loads(orjson.dumps(known, plain, orjson.OPT_PASSTHROUGH_DATETIME)))


def _first(error: ValidationError) -> str:
    """The first mistake, without the value: it may be anything."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) if str(part).isidentifier() or isinstance(part, int) else "…" for part in first["loc"])
    return f"{where or 'it'}: {first['msg'].removeprefix('Value error, ')}"


def _error(name: str, line: int, message: str) -> InputError:
    return InputError([Problem(name, line, "", message, _ADVICE)])
