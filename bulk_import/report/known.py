"""--known: what earlier reports prove of symmetric keys, so that a later run can prove them without an import.

An entry counts if it ended well, was proved by `material_id` with the source compared, and has a material_check. The
newest entry for a target counts. Anyone who may write these reports can forge a proof.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import structlog

from bulk_import.errors import InputError, Problem
from bulk_import.model import KnownMaterial, Status, Target, in_s3
from bulk_import.report.reread import read_report

log = structlog.get_logger()

SOURCE_NOT_COMPARED = "source_not_compared"
_Key = tuple[str, str, str, str]  # id, account, Region, key ARN
Download = Callable[[str], Iterable[tuple[str, bytes]]]  # an s3:// prefix → (URI, content) of each report there


class Known:
    """What the reports of --known prove."""

    def __init__(self) -> None:
        # By environment, and outside AWS by the endpoint of KMS too: what a sandbox holds shows nothing about AWS.
        self._entries: dict[tuple[str, str], dict[_Key, tuple[str, KnownMaterial]]] = {}

    def add(self, path: Path) -> None:
        """One report. Raises InputError."""
        report = read_report(path)
        run = report.head["run"]
        if run["environment"] is None:
            return  # it made no call
        entries = self._entries.setdefault(_place(run["environment"], run["endpoints"]), {})
        for result in report.results:
            found = _entry(result)
            if found is None:
                continue
            key, at, material = found
            if key not in entries or entries[key][0] < at:
                entries[key] = (at, material)

    def of(self, environment: str, endpoints: dict[str, str]) -> Callable[[Target, str], KnownMaterial | None]:
        """What is known of a target and its key's ARN, by runs against the same environment."""
        entries = self._entries.get(_place(environment, endpoints), {})

        def look_up(target: Target, key_arn: str) -> KnownMaterial | None:
            found = entries.get((target.id, target.lane.account, target.lane.region, key_arn))
            return found[1] if found else None

        return look_up


def load(places: Iterable[str], download: Download) -> Known:
    """Reads every report: files, folders of reports (*.json), s3:// prefixes. Raises InputError, CallerError.

    A report that does not exist yet is no error: the first of many runs has none. One line says so.
    """
    known = Known()
    for place in places:
        found = 0
        for path in _in_s3(place, download) if in_s3(place) else _local(Path(place)):
            known.add(path)
            found += 1
        if not found:
            log.warning("the known report does not exist yet: nothing is known from it", known=place)
    return known


def _local(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(entry for entry in path.glob("*.json") if entry.is_file())
    if path.exists() and not path.is_file():
        raise InputError([Problem(str(path), 0, "--known", "this is not a file or folder.", "Name a report.")])
    return [path] if path.exists() else []


def _in_s3(prefix: str, download: Download) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bulk-import-") as folder:
        for number, (uri, content) in enumerate(download(prefix)):
            path = Path(folder) / f"{number}-{uri.rpartition('/')[2]}"
            path.write_bytes(content)
            yield path
            path.unlink()


def _place(environment: str, endpoints: dict[str, str]) -> tuple[str, str]:
    return environment, "" if environment == "aws" else endpoints.get("kms", "")


def _entry(result: dict[str, Any]) -> tuple[_Key, str, KnownMaterial] | None:
    verification = result["verification"]
    if (
        not Status(result["status"]).well
        or verification is None
        or verification["proof"] != "material_id"
        or SOURCE_NOT_COMPARED in verification["detail"]
        or not result["material_check"]
        or not result["key_material_id"]
        or not result["key_arn"]
    ):
        return None
    key = (result["id"], result["account"], result["region"], result["key_arn"])
    return key, result["finished_at"] or "", KnownMaterial(result["key_material_id"], result["material_check"])
