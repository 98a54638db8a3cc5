"""A run's progress: a live view on a terminal, otherwise one line per interval.

A failure is reported once. For people: counted by cause here, named at the end (ending.py). With --quiet, which has no
end, and in JSON, which machines read: as a log event when it happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import structlog
from rich.console import Console

from bulk_import.commands import output
from bulk_import.commands.terminal.live import LiveView, causes, phases
from bulk_import.commands.terminal.tally import IMPORTS, Tally
from bulk_import.model import Manifest, Outcome, Status
from bulk_import.settings import Settings
from bulk_import.words import duration, plural

if TYPE_CHECKING:
    from bulk_import.api import Started

EVERY = 10.0  # seconds between two lines
QUIET_EVERY = 60.0  # the same with --quiet
DRAWN_EVERY = 0.25  # seconds between two frames of the live view

log = structlog.get_logger()


class Progress:
    """An asynchronous context manager. Pass `started`, `event` and `ended` to the run."""

    def __init__(self, manifest: Manifest, settings: Settings, words: tuple[str, str] = IMPORTS) -> None:
        self._words = words
        self.elsewhere = False  # whether the run's endpoints are not AWS's; known once it has started
        self._manifest = manifest
        self._quiet = settings.quiet
        self._json = settings.log_format == "json"
        self._console = Console(file=sys.stderr, highlight=False)
        self._live: LiveView | None = None
        self._tally: Tally | None = None
        self._held: list[str] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        # A run that does not talk to AWS says so in its first line. Until that is known, nothing is said.
        output.divert(self._held.append)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._live is not None:
            self._live.stop()
        self._release()

    def started(self, run: Started) -> None:
        """Called before the run's first call."""
        self.elsewhere = bool(run.endpoints)
        self._tally = Tally(run.lanes, run.import_rate, asyncio.get_running_loop().time, self._words)
        first = _first_line(self._manifest, run)
        output.divert(None)
        if self._json:
            log.warning(first, run=run.run_id) if run.endpoints else log.info(first, run=run.run_id)
        elif run.endpoints or not self._quiet:  # a run that does not talk to AWS says so in any case
            output.say(first)
        self._release()
        able = self._console.is_terminal and not self._console.is_dumb_terminal
        if able and not self._json and not self._quiet:
            head = f"{'Not AWS: ' if run.endpoints else ''}{run.run_id}, {self._manifest.shown_uri}"
            self._live = LiveView(self._console, self._tally, head)
            self._live.start()
        self._task = asyncio.create_task(self._tell(self._tally))

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Called with each event that the journal gets."""
        if self._tally is not None:
            self._tally.event(name, fields)

    def ended(self, outcome: Outcome) -> None:
        """Called at a target's end."""
        if self._tally is not None:
            self._tally.end(outcome)
        if (self._json or self._quiet) and outcome.status is Status.FAILED and outcome.error is not None:
            log.error(
                "failed",
                target=outcome.id,
                account=outcome.account,
                region=outcome.region,
                code=outcome.error.code,
                message=outcome.error.message,
            )

    def _release(self) -> None:
        output.divert(None)
        for text in self._held:
            output.say(text)
        self._held.clear()

    async def _tell(self, tally: Tally) -> None:
        while True:
            if self._live is not None:
                self._live.draw()
                await asyncio.sleep(DRAWN_EVERY)
                continue
            await asyncio.sleep(QUIET_EVERY if self._quiet else EVERY)
            if self._json:
                log.info(
                    "progress",
                    ended=tally.ended,
                    total=tally.total,
                    failed=tally.failed,
                    percent=tally.percent,
                    waiting=tally.waiting,
                    importing=tally.importing,
                    verifying=tally.verifying,
                    imports_per_second=round(tally.rate(), 2),
                    quota_per_second=tally.quota_now(),
                    seconds_left=round(tally.seconds_left()),
                )
            else:
                failed = f"; failed: {causes(tally)}" if tally.failed else ""
                pace = f"{tally.rate():.1f} {tally.words[1]}/s of {tally.quota_now():g}/s"
                output.say(
                    f"{duration(tally.elapsed)}: {tally.percent}%, {phases(tally)}{failed}; {pace}, "
                    f"about {duration(tally.seconds_left())} left."
                )


def _first_line(manifest: Manifest, run: Started) -> str:
    where = ", ".join(sorted(set(run.endpoints.values())))
    warning = f"Not AWS: this run talks to {where}. " if where else ""
    done = f" ({run.finished:,} of them ended before, and are read again)" if run.finished else ""
    work = f"{plural(sum(run.lanes.values()), 'target')} in {plural(len(run.lanes), 'lane')}{done}"
    return f"{warning}Run {run.run_id}, {manifest.shown_uri}: {work}."
