"""A report read back: its head at once, its results one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from bulk_import.errors import InputError, Problem

_ADVICE: Final = "Name a report or a journal as `run` wrote it, or make the report from its journal."
_RESULTS: Final = b'"results":['
_SCHEMA_VERSION: Final = 1
# What every rendering rests on: where one of these is missing, the file is no report, whatever else it is.
_HEAD: Final = {
    "tool": frozenset(("name", "version")),
    "run": frozenset(("run_id", "started_at", "finished_at", "duration_seconds", "outcome", "exit_code", "manifest",
                      "environment", "endpoints", "labels")),
    "summary": frozenset(("total", "imported", "reimported", "unchanged", "failed", "not_attempted", "unproved")),
}  # fmt: skip
_RESULT: Final = frozenset(
    ("id", "account", "region", "key_id", "key_arn", "status", "changed", "key_spec", "key_state", "expiration_model",
     "valid_to", "key_material_id", "wrapping_algorithm", "wrapping_key_spec", "verification", "attempts",
     "request_ids", "started_at", "finished_at", "error")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lazily:
    """An iterable that makes its items anew each time, so that 100,000 results need no memory."""

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


def read_report(path: Path) -> Report:
    """Reads a report. Memory stays flat for one as `run` wrote it; one that was re-indented is read whole.

    Raises InputError, naming file and line, where it cannot be read, is not JSON, or is not a report of this version;
    for a damaged result, when the iteration comes to it.
    """
    try:
        head = _streamed_head(path)
        if head is not None:
            return Report(_checked(path, head), Lazily(partial(_streamed_results, path)))
        whole = orjson.loads(path.read_bytes())
    except OSError as error:
        raise _error(path, 0, f"the report cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        raise _error(path, error.lineno, f"this is not JSON: {error.msg}.") from None
    results = whole.pop("results", None) if isinstance(whole, dict) else None
    if not isinstance(results, list):
        raise _error(path, 0, "this is not a report of bulk-import.")
    for result in results:
        _check_result(path, 0, result)
    return Report(_checked(path, whole), results)


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
                    result = orjson.loads(line.rstrip(b",\n"))
                except orjson.JSONDecodeError as error:
                    raise _error(path, number, f"this result is not JSON: {error.msg}.") from None
                yield _check_result(path, number, result)
    raise _error(path, number, "the report ends in the middle.")


def _checked(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    version = head.get("schema_version")
    if version != _SCHEMA_VERSION:
        raise _error(path, 0, f"schema_version is {version!r}; this program reads version {_SCHEMA_VERSION}.")
    missing = [name for name in ("tool", "run", "summary", "lanes") if name not in head]
    if missing:
        raise _error(path, 0, f"this is not a report of bulk-import: {', '.join(missing)} is missing.")
    for name, fields in _HEAD.items():
        value = head[name]
        lacking = fields - value.keys() if isinstance(value, dict) else fields
        if lacking:
            raise _error(path, 0, f"this is not a report of bulk-import: {name} lacks {', '.join(sorted(lacking))}.")
    if not isinstance(head["lanes"], list):
        raise _error(path, 0, "this is not a report of bulk-import: lanes is not a list.")
    return head


def _check_result(path: Path, line: int, result: Any) -> dict[str, Any]:
    if not isinstance(result, dict):
        raise _error(path, line, "this result is not an object.")
    if not result.keys() >= _RESULT:
        raise _error(path, line, f"this result lacks {', '.join(sorted(_RESULT - result.keys()))}.")
    return result


def _error(path: Path, line: int, message: str) -> InputError:
    return InputError([Problem(str(path), line, "", message, _ADVICE)])
