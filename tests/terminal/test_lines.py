"""Without a terminal, or with --quiet, a line every so often: by a clock that jumps, since no test waits minutes."""

from __future__ import annotations

import asyncio

import pytest

from bulk_import.commands.terminal.progress import Progress
from bulk_import.model import Lane, Manifest, Status
from bulk_import.settings import load
from bulk_import.work import Started
from tests.journal import journals
from tests.virtual_time import run

LANE = Lane("aws", journals.ACCOUNTS[0], "us-east-1")
MANIFEST = Manifest("keys.yaml", "0" * 64, (), {}, 100, "aws", None)


async def a_run(seconds: float, **flags: object) -> None:
    async with Progress(MANIFEST, load(flags)) as progress:
        progress.started(Started("run-1", {LANE: 100}, 0, lambda _: 1.0, {}))
        for index in range(round(seconds)):
            progress.event("intent", {"index": index})
            progress.event("answered", {"index": index, "outcome": "ok"})
            await asyncio.sleep(1)
            progress.event("ended", {"index": index})
            progress.ended(journals.outcome(0, Status.IMPORTED, account=LANE.account, region=LANE.region, attempts=1))


def test_without_a_terminal_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    run(a_run(35))
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "Run run-1, keys.yaml: 100 targets in 1 lane."
    assert lines == [
        f"{at} s: {done}%, waiting {99 - done}, importing 0, verifying 1, done {done} of 100 targets; {rest} left."
        for at, done, rest in (
            (10, 9, "0.9 imports/s of 1/s, about 1 min 31 s"),
            (20, 19, "1.0 imports/s of 1/s, about 1 min 25 s"),
            (30, 29, "1.0 imports/s of 1/s, about 1 min 13 s"),
        )
    ]


def test_quiet_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    run(a_run(95, quiet=True))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("1 min 0 s: ")


def test_a_short_quiet_run_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run(a_run(50, quiet=True))
    assert capsys.readouterr().err == ""
