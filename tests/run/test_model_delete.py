"""The model check of DeleteImportedKeyMaterial: a key with one material, and one material of a key with several.

At most two steps go wrong, and the run is resumed until the material is gone. On every way: only the named material is
deleted; nothing is `deleted` before as many reads as --reads show that it is gone, also where somebody fills the key
again in between; `unchanged` is said only where nothing was deleted.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
import pytest

from bulk_import.errors import ServiceError
from bulk_import.model import KeyRotation, KeyView, Target, WrappingKeySpec
from bulk_import.ports import Trace
from bulk_import.report.fold import fold
from bulk_import.report.summary import exit_code_of
from bulk_import.run.deleter import LaneDeleter
from tests.run.model_changes import CHANGE_ANSWERS, ChangingKms, ChangingWorld, list_materials
from tests.run.model_kms import FOREVER, LANE, READS_OF_A_RESUME, Choices, ModelSession, lost
from tests.run.model_run import every_way, live, manifest_with, prepare, settings_in

ARN = "arn:aws:kms:us-east-1:111122223333:key/0"
DELETE = "DeleteImportedKeyMaterial"
MANIFEST = manifest_with(
    Target(0, "key-0", LANE, "alias/0", "env:NOT_READ", wrapping_key_spec=WrappingKeySpec.RSA_2048)
)  # fmt: skip


def material(name: str, state: str, import_state: str = "IMPORTED") -> KeyRotation:
    return KeyRotation(name.encode().hex(), state, import_state, FOREVER, None, name)


class Deleting(ChangingWorld):
    """A key with materials; with one without a name, a key whose material has no ID. `before`: of a stale read."""

    command = "delete"
    lane_type = LaneDeleter

    def __init__(self, choices: Choices, names: tuple[str, ...]) -> None:
        super().__init__(choices, ("SYMMETRIC_DEFAULT held" if names[0] else "HMAC_256 held",))
        states = ["NON_CURRENT"] * (len(names) - 1) + ["CURRENT"]
        self.materials = self.before = tuple(map(material, names, states))
        self.to_delete = self.materials[0].key_material_id
        self.refills = 0
        self.reads: list[bool] = []  # whether each read of this part showed that the material is gone

    def session(self) -> ModelSession:
        return Session(self)

    def begin_part(self) -> None:
        super().begin_part()
        self.reads.clear()

    def set(self, import_state: str) -> None:
        now = tuple(
            replace(each, import_state=import_state) if each.key_material_id == self.to_delete else each
            for each in self.materials
        )
        if now != self.materials:
            self.before, self.materials = self.materials, now

    @property
    def gone(self) -> bool:
        return self.materials[0].import_state != "IMPORTED"


class DeletingKms(ChangingKms):
    def __init__(self, world: Deleting) -> None:
        super().__init__(world)
        self.world = world

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        trace.sent("DescribeKey")
        world = self.world
        options = ["good", "no answer"]
        options += ["stale"] if world.before != world.materials else []
        options += ["filled again by somebody"] if world.gone and not world.refills else []
        answer = world.choices.among("DescribeKey", *options)
        if answer == "no answer":
            raise lost("DescribeKey")
        if answer == "filled again by somebody":
            world.refills += 1
            world.set("IMPORTED")
        shown = world.before if answer == "stale" else world.materials
        filled = all(each.import_state == "IMPORTED" for each in shown)
        world.reads.append(not filled)
        view = replace(world.keys[ARN].view(ARN, stale=False), current_key_material_id=shown[-1].key_material_id)
        if not self.world.materials[0].description:
            view = replace(view, current_key_material_id=None)
        return view if filled else replace(view, state="PendingImport", expiration_model=None)

    async def list_key_rotations(self, key_id: str, trace: Trace) -> list[KeyRotation]:
        return list_materials(self.world, trace)

    async def delete_imported_key_material(self, key_id: str, trace: Trace, *, key_material_id: str | None) -> None:
        world = self.world
        if world.materials[0].description:
            assert key_material_id == world.to_delete, "the deletion of another material"
        else:
            assert key_material_id is None
        await self.change(DELETE, trace, 0, partial(world.set, "PENDING_IMPORT"))

    async def import_key_material(self, *_: object, **__: object) -> str | None:  # type: ignore[override]
        raise ServiceError("`delete` imports nothing.", code="InternalError", operation="ImportKeyMaterial")


class Session(ModelSession):
    async def lane(self, *_: object) -> DeletingKms:
        assert isinstance(self._world, Deleting)
        return DeletingKms(self._world)


def check(world: Deleting, journal: Path) -> bool:
    """The rules above, after a part of the run. Returns whether it has come to its good end."""
    folded = fold(journal)
    assert [each.import_state for each in world.materials[1:]] == ["IMPORTED"] * (len(world.materials) - 1), "lost"
    world.check_repeats(DELETE, more=world.refills)
    for entry in map(orjson.loads, folded.entries()):
        if entry["error"] is not None:
            world.check_unwell(0, entry)
            continue
        assert entry["status"] == "deleted", (entry, journal.read_text())
        assert (entry["changed"], entry["changes"]) == (True, ["deleted"])
        if entry["verification"]["consecutive"] and world.reads:
            assert world.reads[-READS_OF_A_RESUME:] == [True] * READS_OF_A_RESUME, entry
    green = exit_code_of(folded.summary, folded.ending) == 0
    assert world.gone or not green, "the material is there"
    return green


@pytest.mark.parametrize("names", [("",), ("2024", "2025")], ids=["its only one", "one of two"])
@pytest.mark.timeout(400)  # some ten seconds of work, on a machine that may have much else to do
def test_every_way_of_a_deletion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    folder = prepare(tmp_path, monkeypatch)
    settings = settings_in(folder).model_copy(update={"material_name": names[0] or None})

    def lead(choices: Choices) -> None:
        world = Deleting(choices, names)
        live(world, MANIFEST, settings, partial(check, world))

    lives, met = every_way(2, lead)
    assert lives > 300
    assert {f"{DELETE}: {answer}" for answer in CHANGE_ANSWERS[1:]} <= met
    reads = ("stale", "no answer", "filled again by somebody")
    assert {f"DescribeKey: {answer}" for answer in reads} <= met
    assert not names[0] or "ListKeyRotations: stale" in met
