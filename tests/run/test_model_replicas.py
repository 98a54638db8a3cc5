"""The model check of ReplicateKey: a filled primary, whose replica is created, gets its alias, and is filled.

At most two steps go wrong, in two lanes that wait for each other, and the run is resumed until both targets are OK. On
every way: there is one replica, with the alias and the primary's material; nothing is OK before; what somebody else
made first is not reported as made by the run; the primary's material is never touched.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulk_import.model import Create, KeySpec, KeyView, Lane, NewReplica, Primary, Target, WrappingKeySpec
from bulk_import.ports import Trace
from bulk_import.report.fold import fold
from bulk_import.report.summary import exit_code_of
from tests.run.model_changes import CHANGE_ANSWERS, ChangingKms, ChangingWorld, refused
from tests.run.model_kms import LANE, MATERIAL, Choices, Key, ModelSession, lost
from tests.run.model_run import every_way, live, manifest_with, prepare, settings_in

SECOND = Lane("aws", "111122223333", "eu-west-1")
LANES = (LANE, SECOND)
ALIAS, KEY_ID = "alias/0", "mrk-0"
REPLICATE = "ReplicateKey"
COMMON: dict[str, Any] = {
    "material": "env:MODEL_CHECK", "key_spec": KeySpec.SYMMETRIC_DEFAULT, "create": Create(),
    "wrapping_key_spec": WrappingKeySpec.RSA_2048,
}  # fmt: skip
MANIFEST = manifest_with(
    Target(0, "key-0", LANE, ALIAS, replicas=(SECOND.region,), **COMMON),
    Target(1, "key-0", SECOND, ALIAS, primary=Primary(LANE, ALIAS), **COMMON),
)


def arn_in(lane: Lane) -> str:
    return f"arn:aws:kms:{lane.region}:{lane.account}:key/{KEY_ID}"


class Related(ChangingWorld):
    """A primary that holds its material. `aliases`: the Regions in which the alias exists."""

    def __init__(self, choices: Choices) -> None:
        super().__init__(choices, ())
        self.keys[arn_in(LANE)] = Key.of("SYMMETRIC_DEFAULT held")
        self.aliases = {LANE.region}
        self.hidden = False  # one read that does not find the new replica yet was chosen

    def session(self) -> ModelSession:
        return Session(self)

    def replicate(self) -> None:
        if arn_in(SECOND) in self.keys:
            raise refused("AlreadyExistsException", REPLICATE)
        self.keys[arn_in(SECOND)] = Key("SYMMETRIC_DEFAULT")

    def name(self, region: str) -> None:
        if region in self.aliases:
            raise refused("AlreadyExistsException", "CreateAlias")
        self.aliases.add(region)

    @property
    def complete(self) -> bool:
        return self.aliases == {lane.region for lane in LANES} and all(
            arn_in(lane) in self.keys and self.keys[arn_in(lane)].material == MATERIAL for lane in LANES
        )


class RegionKms(ChangingKms):
    def __init__(self, world: Related, lane: Lane) -> None:
        super().__init__(world)
        self.world = world
        self.lane = lane

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        trace.sent("DescribeKey")
        world, arn = self.world, arn_in(self.lane)
        there = arn in world.keys and (self.lane.region in world.aliases or not key_id.startswith("alias/"))
        fresh = there and self.lane == SECOND and not world.hidden
        answer = world.choices.among("DescribeKey", "good", "no answer", *(["not found yet"] if fresh else []))
        if answer == "no answer":
            raise lost("DescribeKey")
        world.hidden |= answer == "not found yet"
        if not there or answer == "not found yet":
            raise refused("NotFoundException", "DescribeKey")
        key = world.keys[arn]
        key.doubt, key.read_since = False, True
        view = replace(key.view(arn, stale=False), multi_region=True, primary_region=LANE.region)
        return replace(view, replica_regions=(SECOND.region,) if arn_in(SECOND) in world.keys else ())

    async def replicate_key(self, key_id: str, trace: Trace, *, wanted: NewReplica) -> KeyView:
        assert (self.lane, key_id, wanted.region) == (LANE, KEY_ID, SECOND.region)
        world = self.world
        # After a response that was lost, nobody can know whose replica it is.
        alone = arn_in(SECOND) not in world.keys and not world.unknown[REPLICATE, 1]
        if alone and world.choices.among(REPLICATE, "", "somebody was first"):
            world.replicate()
        await self.change(REPLICATE, trace, 1, world.replicate)
        view = KeyView(arn_in(SECOND), "Creating", "EXTERNAL", "CUSTOMER", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
        return replace(view, multi_region=True, primary_region=LANE.region)

    async def count_replica(self) -> None:
        """There is no quota here."""

    async def create_alias(self, key_id: str, trace: Trace, *, alias: str) -> None:
        assert (self.lane, key_id, alias) == (SECOND, arn_in(SECOND), ALIAS)
        await self.change("CreateAlias", trace, 1, partial(self.world.name, self.lane.region))

    async def import_key_material(self, key_id: str, trace: Trace, *, sealed: bytes, **fields: Any) -> str | None:
        assert (self.lane, fields["import_type"]) == (SECOND, "EXISTING_KEY_MATERIAL"), "the primary's was touched"
        try:
            return await super().import_key_material(key_id, trace, sealed=sealed, **fields)
        finally:
            self.world.made["ImportKeyMaterial", 1] = self.world.keys[key_id].imports


class Session(ModelSession):
    async def lane(self, lane: Lane, *_: Any) -> RegionKms:  # type: ignore[override]
        assert isinstance(self._world, Related)
        return RegionKms(self._world, lane)


def check(world: Related, journal: Path) -> bool:
    """The rules above, after a part of the run. Returns whether it has come to its good end."""
    folded = fold(journal)
    for entry in map(orjson.loads, folded.entries()):
        index = entry["index"]
        if entry["error"] is not None:
            world.check_unwell(index, entry)
        elif index == 0:
            assert (entry["status"], entry["changed"], entry["changes"]) == ("unchanged", False, []), entry
        else:
            assert world.complete, entry
            assert (entry["status"], entry["key_arn"]) == ("imported", arn_in(SECOND)), entry
            # A refusal that said that somebody was first can be lost: then nobody knows whose replica it is.
            lost_refusal = not world.made[REPLICATE, 1] and (world.killed or world.unknown[REPLICATE, 1])
            unclear = {"replicated"} if lost_refusal else set()
            assert (entry["changed"], set(entry["changes"]) - unclear) == (True, world.carried_out(1)), entry
    assert world.made[REPLICATE, 1] <= 1
    assert world.made["CreateAlias", 1] <= 1
    return exit_code_of(folded.summary, folded.ending) == 0


@pytest.mark.timeout(400)  # some ten seconds of work, on a machine that may have much else to do
def test_every_way_of_a_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = prepare(tmp_path, monkeypatch, MODEL_CHECK=MATERIAL)

    def lead(choices: Choices) -> None:
        world = Related(choices)
        live(world, MANIFEST, settings_in(folder), partial(check, world))

    lives, met = every_way(2, lead)
    assert lives > 1000
    assert {
        f"{operation}: {answer}" for operation in (REPLICATE, "CreateAlias") for answer in CHANGE_ANSWERS[1:]
    } <= met
    assert {f"{REPLICATE}: somebody was first", "DescribeKey: not found yet"} <= met
