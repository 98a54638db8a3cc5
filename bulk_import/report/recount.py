"""What the results of one or several reports say, counted again: a summary that contradicts them is not believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from bulk_import.errors import InputError, Problem
from bulk_import.model import Status
from bulk_import.model.result import unproved
from bulk_import.model.run import Summary
from bulk_import.report.reread import Report

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One report, and its name in messages."""

    name: str
    report: Report

    @property
    def run(self) -> Values:
        run: Values = self.report.head["run"]
        return run

    @property
    def runs(self) -> list[Values]:
        """Those that it was merged from, or its own."""
        return list(self.run.get("runs") or [self.run])

    def refuse(self, message: str, advice: str) -> NoReturn:
        """Raises InputError."""
        raise InputError([Problem(self.name, 0, "", message, advice)])


@dataclass(slots=True)
class Recount:
    """`lanes`: (account, Region) → how many results, and the index of the first."""

    counts: Counter[str] = field(default_factory=Counter)
    unproved: int = 0
    lanes: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    highest: int = -1  # index

    @property
    def summary(self) -> Summary:
        counted = {status.value: self.counts[status.value] for status in Status}
        return Summary(total=self.counts.total(), **counted, unproved=self.unproved)


def recount(parts: Sequence[Part]) -> Recount:
    """Reads each part's results once; about 150 bytes per target stay in memory.

    Raises InputError where a target or an index occurs twice, or results are not in manifest order.
    """
    found = Recount()
    targets: dict[tuple[str, str, str], int] = {}
    indexes: dict[int, int] = {}
    for number, part in enumerate(parts):
        last = -1
        for result in part.report.results:
            index, lane = result["index"], (result["account"], result["region"])
            where = f"{result['id']} in {lane[0]}/{lane[1]}"
            before = targets.setdefault((result["id"], *lane), number)
            if before != number:
                part.refuse(
                    f"{where} is in {parts[before].name} too.",
                    "Merge the parts of one run, not two runs of the same targets.",
                )
            if index <= last:
                part.refuse(f"{where}: index {index} follows index {last}: results are in manifest order.", _EDITED)
            if indexes.setdefault(index, number) != number:
                part.refuse(f"{where}: {parts[indexes[index]].name} has index {index} too.", _SHARDS)
            last = index
            if contradiction := _contradiction(result):
                part.refuse(f"{where}: {contradiction}.", _EDITED)
            _count(found, result, lane)
        found.highest = max(found.highest, last)
        if len(targets) != found.counts.total():
            part.refuse("a target occurs twice.", _EDITED)
    return found


MAKE: Final = "bulk-import report JOURNAL --format json --output REPORT"
_EDITED: Final = f"The report was changed after it was written. Make it again from its journal: {MAKE}"
_SHARDS: Final = "Merge the shards of one run: same manifest, same selection, same N."


def _contradiction(result: Values) -> str:
    """What no run writes of a target that is OK; empty if there is nothing."""
    status, verification = Status(result["status"]), result["verification"]
    if not status.well:
        return ""
    if result["error"] is not None:
        return f"its status is {status}, and it has an error"
    if verification is None or not verification["verified"] or verification["consecutive"] < 1:
        return f"its status is {status}, and it was not verified"
    return ""


def _count(found: Recount, result: Values, lane: tuple[str, str]) -> None:
    status, verification = Status(result["status"]), result["verification"]
    found.counts[status.value] += 1
    if unproved(status, verification):
        found.unproved += 1
    count, first = found.lanes.get(lane, (0, result["index"]))
    found.lanes[lane] = (count + 1, min(first, result["index"]))
