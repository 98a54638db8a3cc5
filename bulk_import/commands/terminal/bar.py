"""A progress bar in the colours of the statuses: only the share that failed is red."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

FULL, REST = "━", "─"  # different characters, so that the bar can be read without colours
OK, FAILED, VERIFYING, LEFT = "green", "red", "cyan", "bright_black"
NARROWEST = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """As wide as it may be. `parts`: (how many, style) from the left; what `total` has more is the rest."""

    total: int
    parts: Sequence[tuple[int, str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for cells, style in _cells(self.total, self.parts, options.max_width):
            yield Segment((REST if style == LEFT else FULL) * cells, Style.parse(style))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(NARROWEST, options.max_width)


def _cells(total: int, parts: Sequence[tuple[int, str]], width: int) -> Iterator[tuple[int, str]]:
    """Every part that is not 0 has at least one cell, as long as there is package; the largest one gives it."""
    cells = [max(1, round(width * count / max(1, total))) if count else 0 for count, _ in parts]
    while sum(cells) > width:
        cells[cells.index(max(cells))] -= 1
    yield from zip(cells, (style for _, style in parts), strict=True)
    yield width - sum(cells), LEFT
