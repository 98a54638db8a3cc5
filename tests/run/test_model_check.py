"""The model check: a run's every step, each way it can go, a kill and a stale read among them; explored whole.

What runs is the program's own code, from the first line of the journal to the report and through every resume: Work,
lanes, change, verifier, journal, fold, past. What is modelled is the world around it (model_kms.py). Every way in
which at most two steps go wrong is tried, and for each the run is resumed until all is OK.

What holds on every way, after every part of the run:
- Every target has exactly one entry, and `summary` adds up.
- Nothing is OK without its consecutive good reads, the last ones there were, and (`unchanged`) a proof; KMS then
  holds exactly the source's material.
- `changed` is true only where KMS carried an import out, false only where it did not; where a request was sent (or
  may have been, before a kill) and it cannot be known the target is `failed` with OutcomeUnknown.
- No import is sent before its intent would survive a power cut; none is repeated before a look at the key; none is
  sent for a target that was well; all are of one material.
- KMS carries out one import, and at most one more for each whose answer was lost.
- No response for another key ends OK. What was once well is read again by each resume, and imported again only
  where as many reads as verify an import agree that it must. An undisturbed resume brings all that is left to a good
  end.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulk_import.journal.events import FIELDS
from bulk_import.journal.reader import JournalReader
from bulk_import.model import Target, WrappingKeySpec
from bulk_import.report.fold import fold
from bulk_import.report.summary import exit_code_of
from tests.run.invented import ORDERS, plan_paint
from tests.run.model_kms import (
    ANSWERS,
    LANE,
    MATERIAL,
    PAINT_ANSWERS,
    READS_OF_A_RESUME,
    Choices,
    Key,
    Story,
    World,
)
from tests.run.model_run import every_way, manifest_with, prepare, settings_in
from tests.run.model_run import live as live_in

READS = READS_OF_A_RESUME
WELL = ("imported", "reimported", "unchanged")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepare(tmp_path, monkeypatch, MODEL_CHECK=MATERIAL)


def live(choices: Choices, folder: Path, specs: tuple[str, ...], *, signals: bool = True) -> World:
    """A run and its resumes, to a good end."""
    world = World(choices, specs, signals=signals)
    targets = (
        Target(n, f"key-{n}", LANE, f"alias/{n}", "env:MODEL_CHECK", wrapping_key_spec=WrappingKeySpec.RSA_2048)
        for n in range(len(specs))
    )
    live_in(world, manifest_with(*targets), settings_in(folder), partial(check, world))
    return world


def check(world: World, journal: Path) -> bool:
    """The rules above, after a part of the run. Returns whether it has come to its good end."""
    folded = fold(journal)
    entries = [orjson.loads(entry) for entry in folded.entries()]
    summary = folded.summary
    counts = Counter(entry["status"] for entry in entries)
    listed = len(entries)
    assert [entry["id"] for entry in entries] == [f"key-{n}" for n in range(listed)]
    assert listed == len(world.keys) or not any(key.sent or key.paints_sent for key in world.keys.values())
    assert summary.total == listed == counts.total()
    assert (summary.imported, summary.failed, summary.not_attempted) == tuple(
        counts[status] for status in ("imported", "failed", "not_attempted")
    )
    told = answers_in(journal)
    for index, entry in enumerate(entries):
        arn, key = list(world.keys.items())[index]
        if entry["status"] in WELL:
            check_well(world, entry, arn, key)
        else:
            # Of a target that was well, a resume may fail to read it again; what it is is known all the same.
            assert arn not in world.well or key.held or entry["changed"] is not False, entry
            check_unwell(world, entry, key)
        # One more for each whose answer no one has, and each that was never seen to take effect.
        assert key.imports <= 1 + (key.imports - told[index, "ok"]) + told[index, "VerificationTimeout"] + key.again
        assert told[index, "ended"] <= 1 or told[index, "resumed"], "two ends in one part"
    green = exit_code_of(folded.summary, folded.ending) == 0
    assert green is (folded.finished_at is not None and sum(counts[status] for status in WELL) == len(world.keys))
    return green


def check_well(world: World, entry: dict[str, Any], arn: str, key: Key) -> None:
    if entry["status"] == "unchanged":
        check_unchanged(world, entry, arn, key)
        return
    assert entry["status"] == "imported"
    assert (entry["changed"], key.material, entry["error"]) == (True, MATERIAL, None), entry
    verification = entry["verification"]
    assert verification["verified"]
    assert verification["consecutive"] >= READS
    assert arn in world.well or not key.wrong, entry
    if arn not in world.well:
        assert key.answers[-READS:] == ["good"] * READS, (key.answers, entry)
    if key.spec == "HMAC_256":
        assert verification["proof"] == "hmac"
    elif verification["proof"] != "material_id":
        assert verification["detail"] == "import_answer_lost"
    world.well.add(arn)


def check_unchanged(world: World, entry: dict[str, Any], arn: str, key: Key) -> None:
    """Found as wanted: as many equal reads as after an import, the last ones there were, and then the proof."""
    assert key.held
    assert (key.sent, key.imports, key.material) == (0, 0, MATERIAL), entry
    assert (entry["changed"], entry["attempts"], entry["error"]) == (False, 0, None)
    verification = entry["verification"]
    assert verification["consecutive"] >= READS
    if arn not in world.well:
        assert not key.wrong, entry
        assert key.answers[-READS:] == ["good"] * READS, (key.answers, entry)
        assert entry["key_state"] == key.state
    if key.spec == "HMAC_256":
        assert verification["proof"] == ("none" if entry["key_state"] == "Disabled" else "hmac")
    world.well.add(arn)


def check_unwell(world: World, entry: dict[str, Any], key: Key) -> None:
    code = entry["error"]["code"]
    assert code != "InternalError", entry
    assert (code == "OutcomeUnknown") is (entry["changed"] is None), entry
    if entry["changed"] is None:
        assert key.sent or key.paints_sent or world.killed, "nothing was ever sent, and that is known"
    else:
        assert entry["changed"] is (key.imports > 0 or key.paints > 0), entry
    if entry["status"] == "not_attempted":
        assert key.sent == key.paints_sent == 0, entry
    if entry["changed"] is not False and entry["key_state"] is not None:
        assert key.read_since, "what was found before an import is told as if it were so after it"


def answers_in(journal: Path) -> Counter[tuple[int, str]]:
    """By target: answers to imports, ends, and ends by a verification that never came to its own."""
    found: Counter[tuple[int, str]] = Counter()
    for _, event in JournalReader(journal):
        if event["event"] == "answered" and event["operation"] == "ImportKeyMaterial":
            found[event["index"], event["outcome"]] += 1
        elif event["event"] == "ended":
            found[event["index"], "ended"] += 1
            found[event["index"], str((event["result"]["error"] or {}).get("code"))] += 1
        elif event["event"] == "resumed":
            for index in range(2):
                found[index, "resumed"] += 1
                found[index, "ended"] = 0
    return found


@pytest.mark.parametrize(
    ("specs", "budget", "signals"),
    [(("HMAC_256",), 2, True), (("SYMMETRIC_DEFAULT",), 2, False), (("HMAC_256", "SYMMETRIC_DEFAULT"), 1, True)],
    ids=["hmac", "symmetric", "two targets"],
)
@pytest.mark.timeout(400)  # some ten seconds of work, on a machine that may have much else to do
def test_every_way(folder: Path, specs: tuple[str, ...], budget: int, signals: bool) -> None:
    """A symmetric key differs only in its proof, so that signals come to the others only."""
    lives, met = every_way(budget, lambda choices: live(choices, folder, specs, signals=signals))
    assert lives > {1: 50, 2: 500}[budget]
    # The walk came everywhere: killed at every event of the journal, every answer, every stale read.
    events = FIELDS.keys() - NEVER - RARE[budget] - (set() if signals else {"stopping"})
    assert {f"journal {event}: {end}" for event in events for end in ("killed", "power cut")} <= met
    assert {f"ImportKeyMaterial: {answer}" for answer in list(ANSWERS)[1:]} <= met
    reads = ("no answer", "wrong key", "stale", "stale for good", *(("a signal", "two signals") if signals else ()))
    assert {f"DescribeKey: {answer}" for answer in reads} <= met


@pytest.mark.parametrize(
    "specs",
    [("HMAC_256 held",), ("SYMMETRIC_DEFAULT held",), ("HMAC_256 emptied",), ("HMAC_256 held", "HMAC_256")],
    ids=["held", "symmetric, held", "emptied", "held, and one to import"],
)
@pytest.mark.timeout(400)  # as above
def test_every_way_of_a_key_found_as_wanted(folder: Path, specs: tuple[str, ...]) -> None:
    """Somebody disables or empties it between two reads, or a stale read shows what it was."""
    budget, signals = 2 if len(specs) == 1 else 1, specs != ("HMAC_256 emptied",)  # they come to HMAC_256 above
    _, met = every_way(budget, lambda choices: live(choices, folder, specs, signals=signals))
    reads = ("stale",) if "emptied" in specs[0] else ("disabled by somebody", "emptied by somebody")
    assert {f"DescribeKey: {answer}" for answer in ("wrong key", *reads)} <= met
    proof = "ListKeyRotations" if "SYMMETRIC" in specs[0] else "GenerateMac"
    assert f"{proof}: wrong key" in met


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.timeout(400)  # as above
def test_every_way_of_two_kinds(folder: Path, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    """A second kind of change, whose repeat does harm, makes its change once and never forgets it.

    Two things that go wrong: test_model_check_create.py, where CreateKey is such a kind.
    """
    worlds: list[World] = []
    plan_paint(monkeypatch, order, lambda arn: worlds[-1].keys[arn].paints > 0)
    monkeypatch.setattr(World, "begin_part", lambda world: (worlds.append(world), begin_part(world)))

    def lead(choices: Choices) -> None:
        world = live(choices, folder, ("HMAC_256",))
        assert [key.paints for key in world.keys.values()] == [1]
        worlds.clear()

    lives, met = every_way(1, lead)
    assert lives > 60
    assert {f"PaintKey: {answer}" for answer in list(PAINT_ANSWERS)[1:]} <= met


begin_part = World.begin_part
IMPORT, READ = "ImportKeyMaterial", "DescribeKey"
STORIES = {
    # Longer ones than the walk goes.
    "hidden, then denied": ((IMPORT, "carried out, no answer"), (READ, "stale for good"), (IMPORT, "denied")),
    "hidden, then denied, then killed": (
        (IMPORT, "carried out, 500"), (READ, "stale for good"), (IMPORT, "denied"), ("journal ended", "killed"),
    ),
    "hidden, then throttled, then a power cut": (
        (IMPORT, "carried out, no answer"), (READ, "stale for good"), (IMPORT, "throttled"), (READ, "no answer"),
        ("journal run_ended", "power cut"),
    ),
    "killed in four parts": (
        (IMPORT, "carried out, killed"), ("journal pinned", "killed"), (READ, "stale"), ("journal ended", "power cut"),
        ("journal run_ended", "killed"),
    ),
    "never seen, and killed when it is made again": (
        (READ, "stale for good"), ("journal lane_ended", "killed"), (READ, "stale for good"), (IMPORT, "no answer"),
        ("journal answered", "power cut"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("spec", ["HMAC_256", "SYMMETRIC_DEFAULT"])
def test_a_longer_way(folder: Path, spec: str, name: str) -> None:
    story = Story(*STORIES[name])
    live(story, folder, (spec,))
    assert not story.untold, "the story did not come so far"


NEVER = {"lane", "wrapping_key"}  # of quotas that are read from KMS's own service, and of the source transit:: not here
RARE: dict[int, set[str]] = {1: {"resumed", "confirmed", "stopping"}, 2: set()}  # the second thing that happens
