"""The benchmark: `make bench` (about 14 minutes), `make bench-full`.

    python -m tests.bench.run [--full] [--only wall,cpu]

Every measurement is printed as a table and written as JSON into `.bench/`. The exit code is 1 when a bound is
missed, or when a measurement could not be made; the last lines say which.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson
from rich.console import Console
from rich.table import Table

from tests.bench.bounds import BOUNDS
from tests.bench.harness import ROOT, RunFailedError
from tests.bench.measurements import MEASUREMENTS, TOGETHER, Row

OUT = ROOT / ".bench"
WIDTH = 150  # of the tables where no terminal says its own


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row.values()))
    return table


def _save(name: str, rows: Sequence[Row], seconds: float, *, full: bool) -> None:
    OUT.mkdir(exist_ok=True)
    document = {
        "measurement": name,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "full": full,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "seconds": seconds,
        "rows": rows,
    }
    (OUT / f"{name}.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _groups(wanted: Sequence[str]) -> list[list[str]]:
    """What is measured at once, in order: mostly one at a time."""
    groups: list[list[str]] = []
    for name in wanted:
        mates = next((names for names in TOGETHER if name in names), {name})
        if groups and mates & set(groups[-1]):
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _measure(name: str, *, full: bool) -> tuple[list[Row], float]:
    started = time.monotonic()
    rows = MEASUREMENTS[name][1](full=full)
    seconds = time.monotonic() - started
    _save(name, rows, seconds, full=full)
    return rows, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures bulk-import on a simulated KMS.")
    parser.add_argument("--full", action="store_true", help="more keys, 100,000 targets; half an hour")
    parser.add_argument("--only", default="", help=f"some of: {','.join(MEASUREMENTS)}")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else list(MEASUREMENTS)
    if unknown := set(wanted) - set(MEASUREMENTS):
        parser.error(f"unknown measurement: {', '.join(sorted(unknown))}")
    console, trouble, began = Console(), [], time.monotonic()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for names in _groups(wanted):
        with ThreadPoolExecutor(len(names)) as pool:
            for name, done in [(name, pool.submit(_measure, name, full=options.full)) for name in names]:
                try:
                    rows, seconds = done.result()
                except RunFailedError as error:
                    trouble.append(f"{name} could not be measured: {error}")
                    continue
                console.print(_table(f"{MEASUREMENTS[name][0]} ({seconds:.0f} s)", rows))
                trouble += [line for bound in BOUNDS if bound.measurement == name for line in bound.missed(rows)]
    console.print(f"{time.monotonic() - began:.0f} s in all; figures in {OUT}/")
    for line in trouble:
        console.print(f"MISSED  {line}", style="bold red", markup=False, highlight=False)
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
