"""What earlier runs of a saved plan did, by their journals: the state that the plan's own steps left.

A later run of the same plan finds keys as those runs left them. Only their journals show that it was they: KMS does
not say who imported material.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bulk_import.errors import JournalError
from bulk_import.journal.reader import JournalReader
from bulk_import.kept import is_older_of
from bulk_import.model import Own, Status

CREATES: Final = frozenset({"CreateKey", "ReplicateKey"})
IMPORTS: Final = "ImportKeyMaterial"
_WELL: Final = frozenset(status.value for status in Status if status.well)


def by_runs_of(plan_sha256: str, journal: Path) -> dict[int, Own]:
    """By the report's index. `journal`: where this run's journal goes; those that were set aside next to it count too.

    A journal that cannot be read shows nothing.
    """
    found: dict[int, Own] = {}
    for path in _series(journal):
        try:
            _read(JournalReader(path), plan_sha256, found)
        except (JournalError, KeyError, TypeError, ValueError, AttributeError):
            continue  # what was read before the damage counts
    return found


def _series(journal: Path) -> Iterator[Path]:
    if not journal.parent.is_dir():
        return
    for path in sorted(journal.parent.iterdir()):
        if path.is_file() and (path.name == journal.name or is_older_of(path.name, journal.name)):
            yield path


def _read(reader: JournalReader, plan_sha256: str, found: dict[int, Own]) -> None:
    positions: dict[int, int] = {}
    creates: set[int] = set()
    before: dict[int, tuple[bool, bool]] = {}  # the request for an import that is not answered yet
    for number, (_, event) in enumerate(reader):
        name = event["event"]
        if not number and (name != "run_started" or (event.get("plan") or {}).get("sha256") != plan_sha256):
            return
        if name == "target":
            positions[event["index"]] = event.get("position", event["index"])
        elif name in ("pinned", "intent", "answered", "ended"):
            index = event["index"]
            own = found.setdefault(positions[index], Own())
            refused = name == "answered" and event["outcome"] == "refused"
            if name == "intent" and event["operation"] in CREATES:
                creates.add(index)
            elif refused and event["operation"] in CREATES:
                creates.discard(index)
            elif name == "pinned" and index in creates:
                own.arns.add(event["key_arn"])
            elif name == "intent" and event["operation"] == IMPORTS:
                before[index] = own.imported, own.unsure
                own.imported = own.unsure = True
            elif refused and event["operation"] == IMPORTS:
                own.imported, own.unsure = before[index]  # it changed nothing; an earlier one may have
            else:
                _note(own, name, event)


def _note(own: Own, name: str, event: dict[str, Any]) -> None:
    if name == "answered" and event["operation"] == IMPORTS and event["outcome"] == "ok":
        own.unsure = False
        own.ids.add(event.get("key_material_id") or "")
    elif name == "answered" and event["operation"] in CREATES and event["outcome"] == "ok":
        own.arns.add(event.get("key_arn") or "")
    elif name == "ended" and event["result"]["status"] in _WELL:
        result = event["result"]
        own.imported = True
        own.arns.add(result["key_arn"])
        own.ids.add(result["key_material_id"] or "")
        own.ids.update(each["key_material_id"] or "" for each in result.get("materials") or ())
