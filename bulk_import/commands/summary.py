"""What a run says on the terminal: a line every so often, failures as they come, a table at the end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import Self

from rich.console import Console
from rich.table import Table

from bulk_import.api import RunResult
from bulk_import.commands import output
from bulk_import.errors import ReportNotWritten
from bulk_import.model import Manifest, Outcome, Status

EVERY = 10.0  # seconds between two lines of progress


class Progress:
    """An asynchronous context manager that tells how far a run is."""

    def __init__(self, manifest: Manifest, *, quiet: bool) -> None:
        self._total = len(manifest.targets)
        self._lanes = len({target.lane for target in manifest.targets})
        self._quiet = quiet
        self._ended = 0
        self._failed = 0
        self._started = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if not self._quiet:
            output.say(f"{self._total} targets in {self._lanes} lanes.")
            self._task = asyncio.create_task(self._tell())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def ended(self, outcome: Outcome) -> None:
        """Hears of a target's end."""
        self._ended += 1
        if outcome.status is Status.FAILED and outcome.error is not None:
            self._failed += 1
            output.say(
                f"FAILED {outcome.id} in {outcome.account}/{outcome.region}: {outcome.error.code}: "
                f"{outcome.error.message}"
            )

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            seconds = time.monotonic() - self._started
            output.say(f"{seconds:.0f} s: {self._ended} of {self._total} targets ended, {self._failed} failed.")


def tell(result: RunResult, *, quiet: bool) -> None:
    """The end of a run. What ended the whole run is said even with --quiet."""
    if result.error is not None:
        output.say(f"{result.error.code}: {result.error.message}\n{result.error.advice}")
    if quiet:
        return
    counts = result.summary
    table = Table(title=f"run {result.run_id}", title_justify="left")
    table.add_column("status")
    table.add_column("targets", justify="right")
    rows = {
        "failed": counts.failed,
        "not attempted": counts.not_attempted,
        "imported": counts.imported,
        "reimported": counts.reimported,
        "unchanged": counts.unchanged,
        "total": counts.total,
    }
    for name, count in rows.items():
        table.add_row(name, str(count))
    Console(file=sys.stderr, highlight=False).print(table)
    if counts.unproved:
        output.say(f"Without a proof of which bytes KMS holds: {counts.unproved}.")
    if result.environment not in ("aws", None):
        output.say(f"This run talked to a {result.environment} endpoint, not to AWS.")
    where = "see above" if isinstance(result.error, ReportNotWritten) else result.report or "stdout"
    output.say(f"Report: {where}   Journal: {result.journal}   Exit code: {int(result.exit_code)}")
