"""The live view of a terminal: an overall bar, the lanes that take longest, the rate, the time left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bulk_import.commands import output
from bulk_import.commands.terminal.tally import LaneTally, Tally
from bulk_import.report.formats.view import duration, plural

LANES = 10  # the most that are shown
ROOM = 8  # lines of the terminal that are left to the log
WIDE = 70  # columns from which on a lane has a bar


class LiveView:
    """Draws only when told to. Text for stderr goes above the view while it is shown."""

    def __init__(self, console: Console, tally: Tally, head: str) -> None:
        self._console = console
        self._tally = tally
        self._head = head
        self._pending: list[str] = []
        self._live = Live(
            self, console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def start(self) -> None:
        self._live.start()
        output.divert(self._pending.append)

    def stop(self) -> None:
        """Takes the view away; what was still to be said is said."""
        output.divert(None)
        self._flush()
        self._live.stop()

    def draw(self) -> None:
        """Pending lines first, all in one: each piece of output draws the view again."""
        self._flush()
        self._live.refresh()

    def _flush(self) -> None:
        if self._pending:
            text = Text.from_ansi("".join(self._pending).rstrip("\n"))
            self._pending.clear()
            self._console.print(text, soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        tally, wide = self._tally, options.max_width >= WIDE
        counts = f"{tally.ended:,} of {plural(tally.total, 'target')}, {tally.failed:,} failed"
        pace = f"{tally.rate():.1f} imports/s of {tally.quota_now():g}/s, {duration(tally.seconds_left())} left"
        whole = Table.grid(expand=True)  # a bar alone would not end its line
        whole.add_row(_bar(tally.ended, tally.total, tally.failed))
        lines: list[RenderableType] = [_cut(self._head), whole]
        lines += [_cut(f"{counts}, {pace}")] if wide else [_cut(counts), _cut(pace)]
        lanes = tally.longest()
        shown = lanes[: max(1, min(LANES, options.size.height - ROOM))]
        if shown:
            lines.append(_lanes(tally, shown, wide=wide))
        if len(lanes) > len(shown):
            lines.append(_cut(f"+{len(lanes) - len(shown)} more lanes, all nearer to their end"))
        yield Group(*lines)


def _lanes(tally: Tally, lanes: Sequence[LaneTally], *, wide: bool) -> Table:
    table = Table.grid(padding=(0, 1), expand=wide)
    table.add_column(no_wrap=True, overflow="ellipsis")
    if wide:
        table.add_column(ratio=1)
    table.add_column(no_wrap=True, justify="right")
    for lane in lanes:
        bar = [_bar(lane.ended, lane.total, lane.failed)] if wide else []
        left = f", {duration(lane.seconds_left(tally.elapsed))} left" if wide else ""
        failed = f", {lane.failed:,} failed" if lane.failed else ""
        table.add_row(f"{lane.account}/{lane.region}", *bar, f"{lane.ended:,}/{lane.total:,}{failed}{left}")
    return table


def _bar(ended: int, total: int, failed: int) -> ProgressBar:
    style = "red" if failed else "cyan"
    return ProgressBar(total=max(1, total), completed=ended, complete_style=style, finished_style=style)


def _cut(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
