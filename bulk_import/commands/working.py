"""What `run`, `submit` and `delete` have in common: a stop that signals request, and a view that shows the progress."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from bulk_import import api
from bulk_import.commands.signals import Signals
from bulk_import.commands.terminal.progress import Progress
from bulk_import.run.stop import Stop


async def watched(
    work: Callable[..., Coroutine[Any, Any, api.RunResult]], progress: Progress, signals: Signals
) -> api.RunResult:
    """Calls `work` (api.run, or one like it) with its stop and what it reports to. Raises what it raises."""
    stop = Stop()
    signals.attach(stop)
    async with progress:
        return await work(stop=stop, on_start=progress.started, on_end=progress.ended, on_event=progress.event)
