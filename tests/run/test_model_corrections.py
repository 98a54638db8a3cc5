"""The model check of corrections: PutKeyPolicy, TagResource and UpdateKeyDescription, alone and before an import.

At most two steps go wrong (one, with the import), stale reads among them, and the run is resumed until all is OK.
On every way: nothing is sent before its intent is durable, in the contract's order; nothing is OK before the key shows
what `create` states; a tag that the manifest does not name stays; the report lists exactly the changes that were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulk_import.model import Create, KeySpec, KeyView, Target, WrappingKeySpec
from bulk_import.ports import Trace
from bulk_import.report.fold import fold
from bulk_import.report.summary import exit_code_of
from tests.run.model_changes import CHANGE_ANSWERS, ChangingKms, ChangingWorld
from tests.run.model_kms import LANE, MATERIAL, Choices, ModelSession, lost
from tests.run.model_run import every_way, live, manifest_with, prepare, settings_in

ARN = "arn:aws:kms:us-east-1:111122223333:key/0"
POLICY, OTHERS = '{"Statement":[]}', '{"Statement":[{"Effect":"Allow","Sid":"x"}]}'
CREATE = Create(description="New", tags=(("Team", "x"), ("Stage", "live")), policy=POLICY)
ORDER = ("PutKeyPolicy", "TagResource", "UpdateKeyDescription")
MANIFEST = manifest_with(
    Target(
        0, "key-0", LANE, "alias/0", "env:MODEL_CHECK", key_spec=KeySpec.HMAC_256, create=CREATE,
        wrapping_key_spec=WrappingKeySpec.RSA_2048,
    )
)  # fmt: skip


@dataclass(frozen=True)
class Metadata:
    description: str
    tags: tuple[tuple[str, str], ...]
    policy: str


WANTED = Metadata("New", (("Owner", "me"), ("Stage", "live"), ("Team", "x")), POLICY)


class Drifted(ChangingWorld):
    """A key that shows nothing of what `create` states. `before`: what a stale read shows."""

    def __init__(self, choices: Choices, spec: str) -> None:
        super().__init__(choices, (spec,))
        self.shown = self.before = Metadata("Old", (("Owner", "me"), ("Team", "y")), OTHERS)

    def session(self) -> ModelSession:
        return Session(self)

    def set(self, **fields: Any) -> None:
        """Makes a change, if it is one."""
        shown = replace(self.shown, **fields)
        if shown != self.shown:
            self.before, self.shown = self.shown, shown


class DriftedKms(ChangingKms):
    def __init__(self, world: Drifted) -> None:
        super().__init__(world)
        self.world = world

    def _read(self, operation: str, trace: Trace, field: str) -> Any:
        """A field, as one of KMS's hosts shows it."""
        trace.sent(operation)
        world = self.world
        shown, before = getattr(world.shown, field), getattr(world.before, field)
        options = ["good", *(["stale"] if shown != before else []), *(["no answer"] if field == "description" else [])]
        answer = world.choices.among(operation, *options)
        if answer == "no answer":
            raise lost(operation)
        return before if answer == "stale" else shown

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        key = self.world.keys[ARN]
        key.doubt, key.read_since = False, True
        return replace(key.view(ARN, stale=False), description=self._read("DescribeKey", trace, "description"))

    async def list_resource_tags(self, key_id: str, trace: Trace) -> dict[str, str]:
        return dict(self._read("ListResourceTags", trace, "tags"))

    async def get_key_policy(self, key_id: str, trace: Trace) -> str:
        return str(self._read("GetKeyPolicy", trace, "policy"))

    async def _correct(self, operation: str, trace: Trace, **fields: Any) -> None:
        earlier = ORDER[: ORDER.index(operation)]
        assert all(self.world.made[each, 0] for each in earlier), f"{operation} before {earlier}"
        assert not self.world.made["ImportKeyMaterial", 0]
        await self.change(operation, trace, 0, partial(self.world.set, **fields))

    async def put_key_policy(self, key_id: str, trace: Trace, *, policy: str) -> None:
        await self._correct("PutKeyPolicy", trace, policy=policy)

    async def tag_resource(self, key_id: str, trace: Trace, *, tags: Mapping[str, str]) -> None:
        assert set(tags) == {"Team", "Stage"}
        merged = dict(self.world.shown.tags) | dict(tags)
        await self._correct("TagResource", trace, tags=tuple(sorted(merged.items())))

    async def update_key_description(self, key_id: str, trace: Trace, *, description: str) -> None:
        await self._correct("UpdateKeyDescription", trace, description=description)

    async def import_key_material(self, key_id: str, trace: Trace, *, sealed: bytes, **fields: Any) -> str | None:
        assert self.world.shown == WANTED, "material before what may allow its import"
        try:
            return await super().import_key_material(key_id, trace, sealed=sealed, **fields)
        finally:
            self.world.made["ImportKeyMaterial", 0] = self.world.keys[ARN].imports


class Session(ModelSession):
    async def lane(self, *_: Any) -> DriftedKms:
        assert isinstance(self._world, Drifted)
        return DriftedKms(self._world)


def check(world: Drifted, journal: Path) -> bool:
    """The rules above, after a part of the run. Returns whether it has come to its good end."""
    folded = fold(journal)
    for entry in map(orjson.loads, folded.entries()):
        if entry["error"] is not None:
            world.check_unwell(0, entry)
            continue
        held = world.keys[ARN].held
        assert entry["status"] == ("corrected" if held else "imported"), entry
        assert (world.shown, world.keys[ARN].material) == (WANTED, MATERIAL), entry
        assert (entry["changed"], set(entry["changes"])) == (True, world.carried_out(0)), entry
        assert entry["verification"]["verified"]
        assert entry["verification"]["proof"] == "hmac"
    assert dict(world.shown.tags)["Owner"] == "me"
    world.check_repeats(*ORDER)
    return exit_code_of(folded.summary, folded.ending) == 0


@pytest.mark.parametrize(("spec", "budget"), [("HMAC_256 held", 2), ("HMAC_256", 1)], ids=["alone", "and an import"])
@pytest.mark.timeout(400)  # some ten seconds of work, on a machine that may have much else to do
def test_every_way_of_corrections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, budget: int) -> None:
    folder = prepare(tmp_path, monkeypatch, MODEL_CHECK=MATERIAL)
    settings = settings_in(folder).model_copy(update={"correct": ("policy", "tags", "description")})

    def lead(choices: Choices) -> None:
        world = Drifted(choices, spec)
        live(world, MANIFEST, settings, partial(check, world))

    lives, met = every_way(budget, lead)
    assert lives > {1: 60, 2: 1000}[budget]
    assert {f"{operation}: {answer}" for operation in ORDER for answer in CHANGE_ANSWERS[1:]} <= met
    assert {f"journal {event}: {end}" for event in ("intent", "answered") for end in ("killed", "power cut")} <= met
    if budget > 1:
        assert {f"{read}: stale" for read in ("DescribeKey", "ListResourceTags", "GetKeyPolicy")} <= met
