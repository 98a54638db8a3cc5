"""A report read back: its head at once, its results one after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from bulk_import.errors import InputError, Problem

_RESULTS: Final = b'"results":['
_SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Report:
    """`head`: every member but `results`. `results` may be iterated once."""

    head: dict[str, Any]
    results: Iterator[dict[str, Any]]


def read_report(path: Path) -> Report:
    """Reads a report. Memory stays flat for one as `run` wrote it; one that was re-indented is read whole.

    Raises InputError, naming file and line, where it cannot be read, is not JSON, or is not a report of this version;
    for a damaged result, when the iteration comes to it.
    """
    try:
        head = _streamed_head(path)
        if head is not None:
            return Report(_checked(path, head), _streamed_results(path))
        whole = orjson.loads(path.read_bytes())
    except OSError as error:
        raise _error(path, 0, f"the report cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        raise _error(path, error.lineno, f"this is not JSON: {error.msg}.") from None
    results = whole.pop("results", None) if isinstance(whole, dict) else None
    if not isinstance(results, list):
        raise _error(path, 0, "this is not a report of bulk-import.")
    return Report(_checked(path, whole), iter(results))


def _streamed_head(path: Path) -> dict[str, Any] | None:
    """None where the file is not laid out as `run` writes it."""
    lines = []
    with path.open("rb") as stream:
        if stream.readline(16) != b"{\n":
            return None
        stream.seek(0)
        for line in stream:
            if line.startswith(_RESULTS):
                lines.append(b'"results":null}')
                break
            lines.append(line)
        else:
            return None
    head = orjson.loads(b"".join(lines))
    del head["results"]
    return dict(head)


def _streamed_results(path: Path) -> Iterator[dict[str, Any]]:
    number, inside = 0, False
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not inside:
                inside = line.startswith(_RESULTS)
                if line.rstrip().endswith(b"]"):
                    return
            elif line.startswith(b"]"):
                return
            else:
                try:
                    yield orjson.loads(line.rstrip(b",\n"))
                except orjson.JSONDecodeError as error:
                    raise _error(path, number, f"this result is not JSON: {error.msg}.") from None
    raise _error(path, number, "the report ends in the middle.")


def _checked(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    version = head.get("schema_version")
    if version != _SCHEMA_VERSION:
        raise _error(path, 0, f"schema_version is {version!r}; this program reads version {_SCHEMA_VERSION}.")
    missing = [name for name in ("tool", "run", "summary", "lanes") if name not in head]
    if missing:
        raise _error(path, 0, f"this is not a report of bulk-import: {', '.join(missing)} is missing.")
    return head


def _error(path: Path, line: int, message: str) -> InputError:
    return InputError([Problem(str(path), line, "", message)])
