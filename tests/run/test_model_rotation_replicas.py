"""The model check of rotation with replicas: a primary and its replicas, in lanes that wait for each other.

What runs is the program's own code (Work, lanes, barrier, together, steps, journal, report); what is modelled is the
world around it (model_family.py, model_region_kms.py). One thing that goes wrong is tried everywhere, also with calls
of one Region that are slow and where the lanes meet in other orders; two are chosen at random, with another time for
every call. A life is a run, and its resumes or new runs, until all targets are OK.

What holds in every life, after each of its parts:
- No material is lost: every member holds each material that was ever current, with the bytes of its source.
- New material is imported only where KMS takes it. RotateKeyOnDemand is sent only where every member holds the new
  material, and as many reads as --reads have shown it in each Region; the key is rotated once to each material.
- A target is OK only where its Region holds every material in its place, in as many reads as --reads, and no response
  was for another key. `changed` and `changes` say what KMS carried out.
- Nobody waits for ever, or for one that has failed: who is not OK says why, and whom it waited for is not OK either.
- The last part comes to a good end. One more run finds everything as wanted, and sends nothing.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import orjson
import pytest

from bulk_import.errors import ExitCode
from bulk_import.model import Entry, Manifest, Primary, Target, WrappingKeySpec
from bulk_import.report.fold import fold
from bulk_import.report.summary import exit_code_of
from bulk_import.settings import Settings
from tests.run.model_family import (
    ALIAS,
    IMPORT,
    IMPORT_ANSWERS,
    LANES,
    REGIONS,
    ROTATE,
    ROTATE_ANSWERS,
    SOURCES,
    STRANGE,
    Beginning,
    Facts,
    material_id,
)
from tests.run.model_kms import Choices, Story
from tests.run.model_region_kms import ServedFamily
from tests.run.model_run import every_way, live, manifest_with, prepare, run_part, settings_in, some_ways

SHOWN = "ListKeyRotations"
EVEN = dict.fromkeys(REGIONS, 0.01)


def manifest_of(begins: Beginning) -> Manifest:
    entries = tuple(Entry(name, f"env:MATERIAL_{name}") for name in begins.listed)
    targets = (
        Target(
            at, "key-0", LANES[at], ALIAS, entries[-1].material, materials=entries,
            wrapping_key_spec=WrappingKeySpec.RSA_2048, replicas=() if at else begins.regions[1:],
            primary=Primary(LANES[0], ALIAS) if at else None,
        )
        for at in range(len(begins.regions))
    )  # fmt: skip
    return manifest_with(*targets)


# Of changes (a read without an answer was repeated by the port until it gave up), and of reads that can be repeated.
_REPEATED = ("carried out, no answer", "no answer", "throttled", "carried out, 500", "token refused")
_AWAITED = ("carried out, late", "carried out, seen late here", "carried out, seen late elsewhere")
HARMLESS = (
    *(f"{IMPORT}: {answer}" for answer in IMPORT_ANSWERS if answer in (*_REPEATED, *_AWAITED)),
    *(f"{ROTATE}: {answer}" for answer in ROTATE_ANSWERS if answer in (*_REPEATED, *_AWAITED)),
    *(f"{SHOWN}: {happens}" for happens in ("late", "stale")),
    *(f"{SHOWN}: somebody {deed}" for deed in ("imports it", "imports it into the primary", "rotates")),
    "DescribeKey: late", "DescribeKey: stale", "GetParametersForImport: late",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepare(tmp_path, monkeypatch, **{f"MATERIAL_{name}": source for name, source in SOURCES.items()})


def lead(
    choices: Choices, begins: Beginning, pace: dict[str, float] | int, folder: Path, calm: set[Facts], *, resumes: bool
) -> None:
    """A life. `resumes`: a run that was killed is resumed; else a new one is started.

    `calm`: what KMS holds where it is known that a new run changes nothing. A new run knows of nothing else.
    """
    world, manifest, settings = ServedFamily(choices, begins, pace), manifest_of(begins), settings_in(folder)
    live(world, manifest, settings, partial(check, world, resumes=resumes))
    if pace == EVEN and all(name.endswith(HARMLESS) for name in choices.names):
        assert world.parts == 1, "it fails where it has only to wait, or to look"
    if world.facts not in calm:
        run_again(world, manifest, settings)
        calm.add(world.facts)


def run_again(world: ServedFamily, manifest: Manifest, settings: Settings) -> None:
    """A new run changes nothing; except that it puts right what somebody did after the last read of the one before."""
    world.choices = Choices()  # from here on all goes well
    for _ in range(2 if world.acted else 1):
        world.begin_new_run()
        journal = Path(settings.journal or "")
        journal.unlink()
        run_part(world, manifest, settings)
        entries = check_entries(world, journal)
        assert {entry["error"] is None for entry in entries} == {True}, entries
    assert {entry["status"] for entry in entries} == {"unchanged"}, entries
    assert not world.sent


def check(world: ServedFamily, journal: Path, *, resumes: bool) -> bool | None:
    """The rules above, after a part. What model_run.live asks for."""
    entries = check_entries(world, journal)
    folded = fold(journal)
    if exit_code_of(folded.summary, folded.ending) == 0:
        return True
    if world.pending == STRANGE:
        if world.choices.names == [f"{SHOWN}: somebody imports another"]:
            assert entries[0]["error"]["code"] == "RotationConflict", entries
        advice = [entry["error"]["advice"] for entry in entries if entry["error"]]
        if any(material_id(STRANGE) in each and "DeleteImportedKeyMaterial" in each for each in advice):
            world.drop(REGIONS[0], STRANGE)  # a person reads it, and does it
    if world.killed_now and not resumes:
        world.begin_new_run()
        return None
    return False


def check_entries(world: ServedFamily, journal: Path) -> list[dict[str, object]]:
    held = [name for name in world.used if not all(name in copies for copies in world.copies.values())]
    assert not held or world.acted or world.begins.lost or world.begins.fresh, f"lost: {held}"
    assert max(world.rotated.values(), default=0) <= 1, "rotated twice"
    if world.broken is not None:
        raise world.broken
    folded = fold(journal)
    assert exit_code_of(folded.summary, folded.ending) != ExitCode.INTERNAL, folded.failure
    entries = [orjson.loads(entry) for entry in folded.entries()]
    by_region = {entry["region"]: entry for entry in entries}
    for entry in entries:
        index, error = entry["index"], entry["error"]
        made = world.carried_out(index)
        # What somebody else did looks like what a lost request did.
        unknown = world.killed or any(world.unknown[request] for request in world.sent if request[1] == index)
        unclear = unknown and world.acted
        if error is None:
            assert entry["changed"] is bool(made) or unclear, (entry, made)
            assert set(entry["changes"]) == made or unclear, (entry, made)
            assert made or entry["status"] == "unchanged" or unclear, entry
        elif unclear:
            assert error["code"] != "InternalError", entry
            assert entry["changed"] is not False or not made, (entry, made)
        else:
            world.check_unwell(index, entry)
        if world.killed_now or error is None:
            continue  # where it was killed, an entry can be that of an earlier part
        stopped = world.stop.requested.is_set()
        assert index not in world.wrong or stopped or "WrongKey" in (error["code"] + error["message"]), entry
        if index not in world.changed_now and entry["region"] in world.verified and not world.begins.begun:
            # The material was seen, and only this run can have imported it.
            unknown = error["code"] == "OutcomeUnknown" and IMPORT in error["message"].partition(" took effect")[0]
            assert not unknown or world.acted or len(world.begins.listed) > 2, entry
        # All sources are right, and nobody waits for what will not come.
        assert error["code"] != "IncorrectKeyMaterialException" or world.acted, entry
        assert "as rotated to within" not in error["message"] or world.used[-1] == world.begins.listed[-1], entry
        if error["code"] == "PrimaryNotReady":
            assert by_region[REGIONS[0]]["error"] is not None, entries
        if "only together with its replica in" in error["message"]:
            region = error["message"].partition("its replica in ")[2].partition(",")[0]
            assert by_region[region]["error"] is not None, entries
    return entries


BEGINNINGS = {
    "rotated": Beginning(),
    "adopted": Beginning(named=False),
    "begun": Beginning(begun=(0,)),
    "begun everywhere": Beginning(begun=(0, 1)),
    "renewed": Beginning(expires=True),
    "lost": Beginning(lost=(0, 1)),
    "lost in a replica": Beginning(lost=(1,)),
    "fresh": Beginning(fresh=(1,)),
    "two": Beginning(listed=("2024", "2025", "2026")),
    "two replicas": Beginning(replicas=2),
    "two replicas, one of them slow to begin": Beginning(replicas=2, lost=(2,), begun=(0, 1)),
}
PACES = {"even": EVEN, "a slow primary": EVEN | {REGIONS[0]: 1.7}, "a slow replica": EVEN | {REGIONS[1]: 1.7}}
SEEDS = 180  # of ways at random; a longer walk: 10,000
DEEDS = (
    "imports it",
    "imports it into the primary",
    "imports another",
    "rotates",
    "deletes what is pending",
    "deletes 2024",
)
READS = ("no answer", "wrong key", "late", "stale")


@pytest.mark.timeout(400)  # some ten seconds of work, on a machine that may have much else to do
def test_every_way_of_one(folder: Path) -> None:
    """One thing goes wrong. Where that is a kill, the run is resumed, and in another life a new one is started."""
    calm: set[Facts] = set()

    def go(choices: Choices) -> None:
        lead(choices, BEGINNINGS["rotated"], EVEN, folder, calm, resumes=True)
        if any(name.endswith(("killed", "power cut")) for name in choices.names):
            again = Choices(tuple(choices.taken[: max(at for at, taken in enumerate(choices.taken) if taken) + 1]))
            lead(again, BEGINNINGS["rotated"], EVEN, folder, calm, resumes=False)

    lives, met = every_way(1, go)
    assert lives > 200
    assert {f"{IMPORT}: {answer}" for answer in IMPORT_ANSWERS[1:]} <= met
    assert {f"{ROTATE}: {answer}" for answer in ROTATE_ANSWERS[1:]} <= met
    assert {f"DescribeKey: {answer}" for answer in (*READS, "a signal", "two signals")} <= met
    assert {f"ListKeyRotations: {answer}" for answer in (*READS, "stale for good")} <= met
    assert {f"ListKeyRotations: somebody {deed}" for deed in DEEDS} <= met


@pytest.mark.parametrize("begins", BEGINNINGS)
def test_what_is_only_late_or_can_be_repeated_fails_nobody(folder: Path, begins: str) -> None:
    """The first time that it can happen. The run is not interrupted, and all its targets are OK."""
    calm: set[Facts] = set()
    untold = 0
    for happens in HARMLESS:
        step, _, option = happens.partition(": ")
        story = Story((step, option))
        lead(story, BEGINNINGS[begins], EVEN, folder, calm, resumes=True)
        untold += bool(story.untold)
    assert untold <= 2, "not every beginning needs all kinds of changes"


@pytest.mark.timeout(400)  # as above
def test_ways_of_two_at_random(folder: Path) -> None:
    """Two things go wrong, with every beginning, and in orders in which the lanes never met before."""
    calm: dict[str, set[Facts]] = {name: set() for name in BEGINNINGS}
    names = list(BEGINNINGS)

    def go(choices: Choices, seed: int) -> None:
        name = names[seed % len(names)]
        pace = seed if seed % 4 else PACES[list(PACES)[seed // 4 % len(PACES)]]
        lead(choices, BEGINNINGS[name], pace, folder, calm[name], resumes=seed % 3 > 0)

    lives, _ = some_ways(range(SEEDS), 2, go)
    assert lives == 2 * SEEDS


STORIES = {
    # Longer ways, or ways of two that a random choice may miss.
    "verified, killed, and a host that lags far behind": (("journal run_ended", "killed"), (SHOWN, "stale for good")),
    "verified, killed, and twice such a host": (
        ("journal run_ended", "killed"), (SHOWN, "stale for good"), (SHOWN, "stale for good"),
    ),
    "such a host, killed, and such a host again": (
        (SHOWN, "stale for good"), ("journal pinned", "killed"), (SHOWN, "stale for good"),
    ),
    "such a host, and a rotation that is denied": ((SHOWN, "stale for good"), (ROTATE, "denied")),
    "imported, and the looks do not show it": (
        (IMPORT, "carried out, no answer"), (SHOWN, "stale"), (SHOWN, "stale"),
    ),
    "no answer, and a look without an answer": ((IMPORT, "no answer"), (SHOWN, "no answer")),
    "a response for another key, and a look without an answer": ((IMPORT, "wrong key"), (SHOWN, "no answer")),
    "a response for another key, and a look that shows the rotation": ((ROTATE, "carried out, wrong key"),),
    "no answer, and somebody rotates": (
        (ROTATE, "no answer"), (SHOWN, "somebody rotates"), ("journal ended", "killed"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("begins", ["rotated", "two replicas"])
def test_a_longer_way(folder: Path, begins: str, name: str) -> None:
    story = Story(*STORIES[name])
    lead(story, BEGINNINGS[begins], EVEN, folder, set(), resumes=True)
    assert not story.untold, "the story did not come so far"
