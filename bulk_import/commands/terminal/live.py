"""The live view of a terminal: phases, an overall bar, causes of failure, the slowest lanes, the time left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bulk_import.commands import output
from bulk_import.commands.terminal.bar import FAILED, OK, VERIFYING, Bar
from bulk_import.commands.terminal.tally import LaneTally, Tally
from bulk_import.words import duration, plural

LANES = 10  # the most that are shown
ROOM = 9  # lines of the terminal that are not for lanes
WIDE = 70  # columns from which on a lane has a bar
CAUSES = 3  # the most that are named


class LiveView:
    """Draws only when asked to. Text for stderr goes above the view while it is shown."""

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
        """Removes the view; text that was held back is written."""
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
        lines: list[RenderableType] = [_cut(self._head), _overall(tally)]
        times = f"{duration(tally.elapsed)} elapsed, about {duration(tally.seconds_left())} left"
        pace = f"{tally.rate():.1f} {tally.words[1]}/s of {tally.quota_now():g}/s"
        lines += [_cut(phases(tally))]
        lines += [_cut(f"{times}, {pace}")] if wide else [_cut(times), _cut(pace)]
        if tally.failed:
            lines.append(Text(f"Failed: {causes(tally)}", style=FAILED, no_wrap=True, overflow="ellipsis"))
        lanes = tally.longest()
        shown = lanes[: max(1, min(LANES, options.size.height - ROOM))]
        if shown:
            lines.append(_lanes(tally, shown, wide=wide))
        if len(lanes) > len(shown):
            lines.append(_cut(_others(tally, lanes[len(shown) :])))
        yield Group(*lines)


def phases(tally: Tally) -> str:
    """`waiting 40, importing 3, verifying 12, done 23 of 78 targets`"""
    return (
        f"waiting {tally.waiting:,}, {tally.words[0]} {tally.importing:,}, verifying {tally.verifying:,}, "
        f"done {tally.ended:,} of {plural(tally.total, 'target')}"
    )


def causes(tally: Tally) -> str:
    """`12 NotFoundException, 3 AccessDeniedException, 2 others`"""
    named = tally.causes.most_common(CAUSES)
    others = tally.failed - sum(count for _, count in named)
    return ", ".join([*(f"{count:,} {code}" for code, count in named), *([f"{others:,} others"] if others else [])])


def _overall(tally: Tally) -> Table:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True, justify="right")
    parts = [(tally.ended - tally.failed, OK), (tally.failed, FAILED), (tally.verifying, VERIFYING)]
    row.add_row(Bar(tally.total, parts), f"{tally.percent}%")
    return row


def _lanes(tally: Tally, lanes: Sequence[LaneTally], *, wide: bool) -> Table:
    table = Table.grid(padding=(0, 1), expand=wide)
    table.add_column(no_wrap=True, overflow="ellipsis")
    if wide:
        table.add_column(ratio=1)
    table.add_column(no_wrap=True, justify="right")
    for lane in lanes:
        bar = [Bar(lane.total, [(lane.ended - lane.failed, OK), (lane.failed, FAILED)])] if wide else []
        left = f", {duration(lane.seconds_left(tally.elapsed))} left" if wide else ""
        failed = f", {lane.failed:,} failed" if lane.failed else ""
        table.add_row(f"{lane.account}/{lane.region}", *bar, f"{lane.ended:,}/{lane.total:,}{failed}{left}")
    return table


def _others(tally: Tally, lanes: Sequence[LaneTally]) -> str:
    """What the lanes that are not shown add up to; the first of them takes longest."""
    ended, total, failed = (sum(getattr(lane, name) for lane in lanes) for name in ("ended", "total", "failed"))
    said = f", {failed:,} failed" if failed else ""
    left = duration(lanes[0].seconds_left(tally.elapsed))
    return f"{plural(len(lanes), 'faster lane')}: {ended:,}/{total:,}{said}, at most {left} left"


def _cut(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
