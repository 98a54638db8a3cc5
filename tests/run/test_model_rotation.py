"""The model check of rotation: every step of a run that rotates a key, each way it can go; explored completely.

As in test_model_check.py, what runs is the program's own code, and the world around it is modelled: here a key with
several materials. At most two steps go wrong, and the run is resumed until the target is OK.

What holds on every way, after every part of the run:
- No material is lost, each has the bytes of its source, and the key is rotated once to each new material.
- No request is sent before its intent would survive a power cut. A rotation is sent only while the intended material is
  pending, or already the current one.
- Nothing is OK unless KMS has every material in its place.
- `changed` is false only where KMS carried nothing out; the last part comes to a good end.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulk_import.errors import ServiceError
from bulk_import.model import (
    AccountAccess,
    AmongSeveral,
    Entry,
    KeyRotation,
    KeyView,
    Manifest,
    Target,
    WrappingKeySpec,
)
from bulk_import.ports import Trace
from bulk_import.report.fold import fold
from bulk_import.report.summary import exit_code_of
from tests.run.model_kms import (
    FOREVER,
    LANE,
    OAEP,
    Choices,
    ChosenJournal,
    ModelKms,
    ModelSession,
    World,
    durable,
    explore,
    wrapping_key,
)
from tests.run.test_model_check import PARTS, WELL, run_part, settings_in

ARN = "arn:aws:kms:us-east-1:111122223333:key/0"
SOURCES = {"2024": bytes(range(32)), "2025": bytes(range(1, 33))}
CURRENT, NON_CURRENT, PENDING = "CURRENT", "NON_CURRENT", "PENDING_ROTATION"


def material(name: str, state: str) -> KeyRotation:
    return KeyRotation(name.encode().hex(), state, "IMPORTED", FOREVER, None, name)


@dataclass
class Rotating(World):
    """A key that holds 2024, and is to hold 2025 too."""

    choices: Choices
    materials: tuple[KeyRotation, ...] = (material("2024", CURRENT),)
    before: tuple[KeyRotation, ...] = (material("2024", CURRENT),)  # the last change: what a stale host shows
    rotated: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)  # requests, by operation

    def __post_init__(self) -> None:
        super().__init__(self.choices, ("SYMMETRIC_DEFAULT",))

    def change(self, materials: tuple[KeyRotation, ...]) -> None:
        if materials != self.materials:
            self.before, self.materials = self.materials, materials


class RotatingKms(ModelKms):
    """KMS as the lane sees it. No signals: test_model_check.py has them."""

    def __init__(self, world: Rotating) -> None:
        super().__init__(world)
        self.world = world

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        trace.sent("DescribeKey")
        current = next(each for each in self.world.materials if each.key_material_state == CURRENT)
        return KeyView(
            ARN, "Enabled", "EXTERNAL", "CUSTOMER", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", FOREVER,
            current_key_material_id=current.key_material_id,
        )  # fmt: skip

    async def list_key_rotations(self, key_id: str, trace: Trace) -> list[KeyRotation]:
        trace.sent("ListKeyRotations")
        world = self.world
        options = ["good", "no answer", *(["stale"] if world.before != world.materials else [])]
        answer = world.choices.among("ListKeyRotations", *options)
        if answer == "no answer":
            raise lost("ListKeyRotations")
        return list(world.materials if answer == "good" else world.before)

    async def import_key_material(
        self, key_id: str, trace: Trace, *, sealed: bytes, among: AmongSeveral | None = None, **_: Any
    ) -> str | None:  # fmt: skip
        assert among is not None
        world, name = self.world, among.description
        answer = await self._send("ImportKeyMaterial", trace)
        found = material(name, PENDING)
        known = next((each for each in world.materials if each.key_material_id == found.key_material_id), None)
        if "carried out" in answer:
            assert wrapping_key().decrypt(sealed, OAEP) == SOURCES[name], "the bytes of another source"
            assert among.key_material_id in (None, found.key_material_id)
            if (among.import_type == "NEW_KEY_MATERIAL") is (known is not None):
                raise refused("IncorrectKeyMaterialException")
            if known is None:
                world.change((*world.materials, found))
        self._end(answer, "ImportKeyMaterial", trace)
        return found.key_material_id

    async def rotate_key_on_demand(self, key_id: str, trace: Trace) -> None:
        world = self.world
        answer = await self._send("RotateKeyOnDemand", trace)
        pending = next((each for each in world.materials if each.key_material_state == PENDING), None)
        if "carried out" in answer:
            if pending is None:
                raise refused("KMSInvalidStateException")
            world.rotated[pending.key_material_id] += 1
            world.change(
                tuple(
                    replace(each, key_material_state=CURRENT if each is pending else NON_CURRENT)
                    for each in world.materials
                )
            )
        self._end(answer, "RotateKeyOnDemand", trace)

    async def _send(self, operation: str, trace: Trace) -> str:
        world = self.world
        await asyncio.sleep(0.01)
        trace.sent(operation)
        world.sent[operation] += 1
        assert durable(world, "intent", operation)[ARN] >= world.sent[operation], "a request without a durable intent"
        return world.choices.among(
            operation, "carried out", "no answer", "carried out, no answer", "throttled", "carried out, killed",
            "carried out, power cut",
        )  # fmt: skip

    def _end(self, answer: str, operation: str, trace: Trace) -> None:
        if answer in ("carried out, killed", "carried out, power cut"):
            self.world.kill(answer.removeprefix("carried out, "))
        if answer == "throttled":
            raise refused("ThrottlingException", retryable=True)
        if answer != "carried out":
            raise lost(operation)
        trace.note(operation, f"request-{operation}")


class Session(ModelSession):
    async def lane(self, *_: Any) -> ModelKms:
        assert isinstance(self._world, Rotating)
        return RotatingKms(self._world)


def lost(operation: str) -> ServiceError:
    return ServiceError(
        "No answer.", code="ConnectionFailed", operation=operation, retryable=True, outcome_unknown=True
    )


def refused(code: str, *, retryable: bool = False) -> ServiceError:
    return ServiceError("No.", code=code, operation="", retryable=retryable, request_id="request-r")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in SOURCES.items():
        monkeypatch.setenv(f"MATERIAL_{name}", base64.b64encode(source).decode())
    monkeypatch.setattr("bulk_import.journal.begin.Journal", ChosenJournal)
    monkeypatch.setattr("os.fsync", ChosenJournal.fsync)
    monkeypatch.setattr("tests.run.test_model_check.ModelSession", Session)
    return tmp_path


def manifest() -> Manifest:
    entries = tuple(Entry(name, f"env:MATERIAL_{name}") for name in SOURCES)
    target = Target(
        0, "key-0", LANE, "alias/0", entries[-1].material, materials=entries,
        wrapping_key_spec=WrappingKeySpec.RSA_2048,
    )  # fmt: skip
    return Manifest("-", "0" * 64, (target,), {LANE.account: AccountAccess(LANE.account, None)}, 1, "aws", None)


def live(choices: Choices, folder: Path) -> None:
    """A run and its resumes, to a good end."""
    world = Rotating(choices)
    journal = folder / "journal.jsonl"
    journal.unlink(missing_ok=True)
    resume = False
    for _ in range(PARTS):
        run_part(world, manifest(), settings_in(folder).model_copy(update={"resume": resume}))
        resume = b"\n" in journal.read_bytes()
        if not resume:
            journal.unlink()  # killed before its first line: the next one is a first run
        elif check(world, journal):
            return
    raise AssertionError("it comes to no good end")


def check(world: Rotating, journal: Path) -> bool:
    """The rules above, after a part of the run. Returns whether it has come to its good end."""
    folded = fold(journal)
    entries = [orjson.loads(entry) for entry in folded.entries()]
    assert [each.description for each in world.materials][:1] == ["2024"], "lost"
    assert max(world.rotated.values(), default=0) <= 1, "rotated twice"
    changed = len(world.materials) > 1
    for entry in entries:
        assert (entry["error"] or {}).get("code") != "InternalError", entry
        if entry["changed"] is False:
            assert not changed or entry["status"] == "unchanged", entry
        if entry["status"] in WELL:
            assert [each.key_material_state for each in world.materials] == [NON_CURRENT, CURRENT], entry
            assert [each["state"] for each in entry["materials"]] == [NON_CURRENT, CURRENT]
            assert entry["materials"][1]["proof"] == "material_id"
    return exit_code_of(folded.summary, folded.ending) == 0


@pytest.mark.timeout(400)  # some ten seconds of work, on a machine that may have much else to do
def test_every_way_of_a_rotation(folder: Path) -> None:
    met: set[str] = set()
    lives = 0
    for choices in explore(2):
        try:
            live(choices, folder)
        except BaseException as error:
            error.add_note(f"on the way: {'; '.join(choices.names)}")
            raise
        lives += 1
        met.update(choices.names)
    assert lives > 1000
    for operation in ("ImportKeyMaterial", "RotateKeyOnDemand"):
        answers = ("no answer", "carried out, no answer", "throttled", "carried out, killed", "carried out, power cut")
        assert {f"{operation}: {answer}" for answer in answers} <= met
    assert {"ListKeyRotations: stale", "ListKeyRotations: no answer"} <= met
