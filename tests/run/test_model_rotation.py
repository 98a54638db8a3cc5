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
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulk_import.errors import ServiceError
from bulk_import.model import (
    AmongSeveral,
    Entry,
    KeyRotation,
    KeyView,
    Target,
    WrappingKeySpec,
)
from bulk_import.ports import Trace
from bulk_import.report.fold import fold
from bulk_import.report.summary import exit_code_of
from tests.run.model_changes import list_materials
from tests.run.model_kms import (
    FOREVER,
    LANE,
    OAEP,
    Choices,
    ModelKms,
    ModelSession,
    World,
    durable,
    wrapping_key,
)
from tests.run.model_run import every_way, live, manifest_with, prepare, settings_in
from tests.run.test_model_check import WELL

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
        super().__init__(self.choices, ("SYMMETRIC_DEFAULT",), signals=False)

    def session(self) -> ModelSession:
        return Session(self)

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
        return list_materials(self.world, trace)

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
    return prepare(tmp_path, monkeypatch, **{f"MATERIAL_{name}": source for name, source in SOURCES.items()})


ENTRIES = tuple(Entry(name, f"env:MATERIAL_{name}") for name in SOURCES)
MANIFEST = manifest_with(
    Target(
        0, "key-0", LANE, "alias/0", ENTRIES[-1].material, materials=ENTRIES,
        wrapping_key_spec=WrappingKeySpec.RSA_2048,
    )
)  # fmt: skip


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
    def lead(choices: Choices) -> None:
        world = Rotating(choices)
        live(world, MANIFEST, settings_in(folder), partial(check, world))

    lives, met = every_way(2, lead)
    assert lives > 1000
    for operation in ("ImportKeyMaterial", "RotateKeyOnDemand"):
        answers = ("no answer", "carried out, no answer", "throttled", "carried out, killed", "carried out, power cut")
        assert {f"{operation}: {answer}" for answer in answers} <= met
    assert {"ListKeyRotations: stale", "ListKeyRotations: no answer"} <= met
