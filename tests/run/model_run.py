"""A run of the program in the modelled world, part by part: each resume is a process of its own."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bulk_import.journal import narrate
from bulk_import.journal.begin import begin
from bulk_import.material import Materials
from bulk_import.material.sources.base import Opening
from bulk_import.model import AccountAccess, Manifest, Target
from bulk_import.settings import Settings
from bulk_import.work import Work
from tests.run.model_kms import LANE, READS_OF_A_RESUME, Choices, ChosenJournal, Killed, World, explore
from tests.virtual_time import VirtualTimeLoop

PARTS = 12  # of one run; far more than faults and resumes can make


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch, **sources: bytes) -> Path:
    """`sources`: materials by the name of their variable. Returns the folder of the journal: in memory, if possible."""
    for name, material in sources.items():
        monkeypatch.setenv(name, base64.b64encode(material).decode())
    monkeypatch.setattr("bulk_import.journal.begin.Journal", ChosenJournal)
    monkeypatch.setattr("os.fsync", ChosenJournal.fsync)
    return folder


def manifest_with(*targets: Target) -> Manifest:
    access = {LANE.account: AccountAccess(LANE.account, None)}
    return Manifest("-", "0" * 64, targets, access, len(targets), "aws", None)


@cache  # settings look at the environment: that takes longer than a life
def settings_in(folder: Path) -> Settings:
    return Settings(
        report=str(folder / "report.json"), journal=str(folder / "journal.jsonl"), reads=READS_OF_A_RESUME,
        read_interval=1.0, verify_timeout=5.0, grace=3.0,
    )  # fmt: skip


async def one_part(world: World, manifest: Manifest, settings: Settings) -> None:
    """What job.run does between the settings and the report."""
    begun = begin(manifest, settings, labels={}, command=world.command)
    with begun.open() as journal:
        begun.write(journal)
        materials = Materials(Opening(settings, None))
        session: Any = world.session()
        silent: Callable[..., None] = lambda *_: None  # noqa: E731 - one line
        work = Work(
            manifest, settings, session, journal, begun, materials, world.stop, silent, silent,
            lane_type=world.lane_type,
        )  # fmt: skip
        failure = await work.done_by(work.connect, work.run_lanes)
        if world.left is None:
            await narrate.end(journal, stopped=world.stop.stopped_by, failure=failure)


def run_part(world: World, manifest: Manifest, settings: Settings) -> None:
    """Waits for its end; what it left on the disk is complete then."""
    world.begin_part()
    try:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(one_part(world, manifest, settings))
    except (Killed, BaseExceptionGroup):
        assert world.left is not None
    if world.left is not None:
        Path(settings.journal or "").write_bytes(world.left)


def live(world: World, manifest: Manifest, settings: Settings, check: Callable[[Path], bool | None]) -> None:
    """A run and its resumes, to a good end. `check`: after each part; True: this is it; None: a new run, no resume."""
    journal = Path(settings.journal or "")
    journal.unlink(missing_ok=True)
    resume = False
    for _ in range(PARTS):
        run_part(world, manifest, settings.model_copy(update={"resume": resume}))
        resume = b"\n" in journal.read_bytes()
        if not resume:
            journal.unlink()  # killed before its first line: the next one is a first run
            continue
        ended = check(journal)
        if ended:
            return
        resume = ended is not None
    raise AssertionError("it comes to no good end")


def every_way(budget: int, lead: Callable[[Choices], None]) -> tuple[int, set[str]]:
    """Every life with at most so many deviations. Returns how many there were, and all that happened in one."""
    lives, met = 0, set[str]()
    for choices in explore(budget):
        try:
            lead(choices)
        except BaseException as error:
            error.add_note(f"on the way: {'; '.join(choices.names)}")
            raise
        lives += 1
        met.update(choices.names)
    return lives, met


def some_ways(seeds: Iterable[int], budget: int, lead: Callable[[Choices, int], None]) -> tuple[int, set[str]]:
    """For each seed a life with one deviation, then with one more, and so on. `lead` gets the seed, too.

    Every kind of deviation is as likely as any other, however often its step comes. Returns as every_way does.
    """
    lives, met = 0, set[str]()
    for seed in seeds:
        chance, beginning = random.Random(seed), tuple[int, ...]()  # noqa: S311 - not for secrets
        for so_many in range(budget + 1):
            choices = Choices(beginning)
            try:
                lead(choices, seed)
            except BaseException as error:
                error.add_note(f"seed {seed}, on the way: {'; '.join(choices.names)}")
                raise
            lives += bool(so_many)
            met.update(choices.names)
            found: dict[tuple[str, str], list[tuple[int, int]]] = {}
            for at in range(len(beginning), len(choices.taken)):
                step, options = choices.offered[at]
                for other, option in enumerate(options[1:], 1):
                    found.setdefault((step, option), []).append((at, other))
            at, other = chance.choice(found[chance.choice(sorted(found))])
            beginning = (*choices.taken[:at], other)
    return lives, met
