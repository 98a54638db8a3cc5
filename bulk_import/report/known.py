"""--known: what earlier reports prove of symmetric keys, so that a later run can prove them without an import.

An entry counts if it ended well, was proved by `material_id` with the source compared, and has a material_check. The
newest entry for a target counts. Anyone who may write these reports can forge a proof.

A run that fails, or is killed, leaves a report without proofs, or none. So one report stands for its series: also for
the older ones that runs set aside next to it, newest first, until one proves every target of its manifest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from bulk_import.errors import InputError, Problem
from bulk_import.files import real
from bulk_import.kept import is_older_of
from bulk_import.model import KnownMaterial, Proof, Status, Target, in_s3
from bulk_import.report.reread import read_report

log = structlog.get_logger()

SOURCE_NOT_COMPARED = "source_not_compared"
# id, account, Region, key ARN; of one of several materials its KeyMaterialId, else empty
_Key = tuple[str, str, str, str, str]
Choose = Callable[[list[str]], list[str]]
Download = Callable[[str, Choose], Iterable[tuple[str, bytes]]]  # an s3:// prefix → (URI, content) of those chosen
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_SUFFIX: Final = ".json"


class Known:
    """What the reports of --known prove."""

    def __init__(self) -> None:
        # By environment, and outside AWS by the endpoint of KMS too: what a sandbox holds shows nothing about AWS.
        self._entries: dict[tuple[str, str], dict[_Key, tuple[datetime, KnownMaterial]]] = {}

    def add(self, path: Path) -> bool:
        """One report. Returns whether it proves every target of its manifest. Raises InputError."""
        report = read_report(path)
        run = report.head["run"]
        if run["environment"] is None:
            return False  # it made no call
        proved = 0
        entries = self._entries.setdefault(_place(run["environment"], run["endpoints"]), {})
        for result in report.results:
            proved += _proved(result)
            for key, at, material in _entries(result):
                if key not in entries or entries[key][0] < at:
                    entries[key] = (at, material)
        return proved == int(run["manifest"]["targets"])

    def of(self, environment: str, endpoints: dict[str, str]) -> Callable[[Target, str, str], KnownMaterial | None]:
        """What is known of a target and its key's ARN, by runs against the same environment.

        Of a target with several materials: of one, by its KeyMaterialId; else that is empty.
        """
        entries = self._entries.get(_place(environment, endpoints), {})

        def look_up(target: Target, key_arn: str, material_id: str) -> KnownMaterial | None:
            found = entries.get((target.id, target.lane.account, target.lane.region, key_arn, material_id))
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
            found += 1
            if known.add(path) and _one(place):
                break
        if not found:
            log.warning("the known report does not exist yet: nothing is known from it", known=place)
    return known


def _one(place: str) -> bool:
    """Whether the place names one report and so its series, not a folder or a prefix."""
    return place.endswith(_SUFFIX) if in_s3(place) else not Path(place).is_dir()


def _local(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(entry for entry in path.glob(f"*{_SUFFIX}") if entry.is_file())
    if path.exists() and not path.is_file():
        raise InputError([Problem(str(path), 0, "--known", "this is not a file or folder.", "Name a report.")])
    path = real(path)
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    older = sorted((other for other in beside if is_older_of(other.name, path.name)), reverse=True)
    return [path, *older] if path.exists() else older


def _chosen(place: str, uris: list[str]) -> list[str]:
    """Of the objects whose URI begins like that of a series, or with a prefix."""
    if not _one(place):
        return [uri for uri in uris if uri.endswith(_SUFFIX)]
    return sorted((uri for uri in uris if uri == place or is_older_of(uri, place)), key=lambda uri: (uri == place, uri),
                  reverse=True)  # fmt: skip


def _in_s3(prefix: str, download: Download) -> Iterator[Path]:
    begins = prefix.removesuffix(_SUFFIX[1:]) if _one(prefix) else prefix
    with tempfile.TemporaryDirectory(prefix="bulk-import-") as folder:
        for number, (uri, content) in enumerate(download(begins, partial(_chosen, prefix))):
            path = Path(folder) / f"{number}-{uri.rpartition('/')[2]}"
            path.write_bytes(content)
            yield path
            path.unlink()


def _place(environment: str, endpoints: dict[str, str]) -> tuple[str, str]:
    return environment, "" if environment == "aws" else endpoints.get("kms", "")


def _proved(result: dict[str, Any]) -> bool:
    verification = result["verification"]
    if verification is None or not Status(result["status"]).well:
        return False
    return verification["proof"] != Proof.NONE and SOURCE_NOT_COMPARED not in verification["detail"]


def _entries(result: dict[str, Any]) -> Iterator[tuple[_Key, datetime, KnownMaterial]]:
    """What one result proves of symmetric material; of a key with several, some of them may be proved."""
    verification = result["verification"]
    if verification is None or not Status(result["status"]).well or not result["key_arn"]:
        return
    if SOURCE_NOT_COMPARED in verification["detail"]:
        return
    of_key = (result["id"], result["account"], result["region"], result["key_arn"])
    at = datetime.fromisoformat(result["finished_at"]) if result["finished_at"] else _NEVER
    for each in result["materials"] or (result | {"proof": verification["proof"]},):
        if each["proof"] == Proof.MATERIAL_ID and each["material_check"] and each["key_material_id"]:
            material = KnownMaterial(each["key_material_id"], each["material_check"])
            yield (*of_key, material.key_material_id if result["materials"] else ""), at, material
