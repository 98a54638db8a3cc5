"""The model check of a key that is created: CreateKey, CreateAlias, the import, with the policy and tags of `create`.

Every way in which one step goes wrong is tried. The run is resumed until all is OK; where the search for a key whose
creation is unknown found none, it is run again. On every way: one key is created, it has the alias, it is filled with
the source's material, and no other key is left behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulk_import.errors import ServiceError
from bulk_import.model import Create, KeySpec, KeyView, NewKey, Target, WrappingKeySpec
from bulk_import.ports import Trace
from bulk_import.report.fold import fold
from bulk_import.report.summary import exit_code_of
from tests.run.model_kms import FOREVER, LANE, MATERIAL, Choices, Key, ModelKms, ModelSession, World, lost
from tests.run.model_run import every_way, live, manifest_with, prepare, settings_in

ALIAS = "alias/new"
POLICY = '{"Statement":[]}'
CREATE = Create(description="New", tags=(("Team", "x"),), policy=POLICY)
ANSWERS = (
    "carried out", "carried out, no answer", "no answer", "throttled", "carried out, killed", "carried out, power cut",
)  # fmt: skip


class NewWorld(World):
    """A KMS without a key. `aliases`: alias → ARN; `asked`: what CreateKey was asked for, by ARN."""

    def __init__(self, choices: Choices, *, signals: bool) -> None:
        super().__init__(choices, (), signals=signals)
        self.aliases: dict[str, str] = {}
        self.asked: dict[str, NewKey] = {}

        self.search_lags = False  # until the process ends, the search shows no new key

    def begin_part(self) -> None:
        super().begin_part()
        self.search_lags = False

    def session(self) -> ModelSession:
        return NewSession(self)


class NewKms(ModelKms):
    """Its reads are true; calls that create something answer in every way."""

    def __init__(self, world: NewWorld) -> None:
        super().__init__(world)
        self._new = world

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        world = self._new
        world.take_step("DescribeKey")
        trace.sent("DescribeKey")
        arn = world.aliases.get(key_id, "") if key_id.startswith("alias/") else key_id
        if arn not in world.keys:
            raise ServiceError(
                "No such key.", code="NotFoundException", operation="DescribeKey", request_id="request-n"
            )
        key, asked = world.keys[arn], world.asked[arn]
        view = KeyView(arn, "PendingImport", "EXTERNAL", "CUSTOMER", key.spec, asked.key_usage)
        view = replace(view, description=asked.description or "", multi_region=asked.multi_region)
        if key.imports:
            view = replace(view, state="Enabled", expiration_model=FOREVER, current_key_material_id="a" * 64)
        key.doubt, key.read_since = False, True
        trace.note("DescribeKey", "request-d")
        return view

    async def _change(self, operation: str, trace: Trace) -> str:
        world = self._new
        world.take_step(f"{operation} waits")
        await asyncio.sleep(0.01)
        trace.sent(operation)
        return world.choices.among(operation, *ANSWERS)

    async def _answer(self, operation: str, trace: Trace, answer: str) -> None:
        await asyncio.sleep(0.01)
        if answer in ("carried out, killed", "carried out, power cut"):
            self._new.kill(answer.removeprefix("carried out, "))
        if answer == "throttled":
            raise ServiceError("No.", code="ThrottlingException", operation=operation, retryable=True)
        if answer != "carried out":
            error = lost(operation)
            error.retryable = True
            raise error
        trace.note(operation, "request-c")

    async def create_key(self, trace: Trace, *, wanted: NewKey) -> KeyView:
        world, answer = self._new, await self._change("CreateKey", trace)
        arn = f"arn:aws:kms:us-east-1:111122223333:key/{len(world.keys)}"
        if "carried out" in answer:
            world.keys[arn], world.asked[arn] = Key(wanted.key_spec), wanted
        await self._answer("CreateKey", trace, answer)
        view = KeyView(arn, "PendingImport", "EXTERNAL", "CUSTOMER", wanted.key_spec, wanted.key_usage)
        return replace(view, description=wanted.description or "")

    async def create_alias(self, key_id: str, trace: Trace, *, alias: str) -> None:
        world, answer = self._new, await self._change("CreateAlias", trace)
        if "carried out" in answer:
            if alias in world.aliases:
                raise ServiceError("It exists.", code="AlreadyExistsException", operation="CreateAlias")
            world.aliases[alias] = key_id
        await self._answer("CreateAlias", trace, answer)

    async def keys_tagged(self, tag: str, trace: Trace) -> dict[str, list[str]]:
        trace.sent("GetResources")
        options = ["good", "no answer", *(["lags"] if self._new.asked else [])]
        answer = "lags" if self._new.search_lags else self._new.choices.among("GetResources", *options)
        if answer == "no answer":
            raise lost("GetResources")
        self._new.search_lags = answer == "lags"
        if self._new.search_lags:
            return {}
        found: dict[str, list[str]] = {}
        for arn, asked in self._new.asked.items():
            found.setdefault(asked.tags[tag], []).append(arn)
        return found

    async def list_aliases(self, key_id: str, trace: Trace) -> list[str]:
        return [alias for alias, arn in self._new.aliases.items() if arn == key_id]

    async def list_resource_tags(self, key_id: str, trace: Trace) -> Mapping[str, str]:
        return self._new.asked[key_id].tags

    async def get_key_policy(self, key_id: str, trace: Trace) -> str:
        return self._new.asked[key_id].policy or ""


class NewSession(ModelSession):
    def __init__(self, world: NewWorld) -> None:
        super().__init__(world)
        self._new = world

    async def lane(self, *_: Any) -> NewKms:
        return NewKms(self._new)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepare(tmp_path, monkeypatch, MODEL_CHECK=MATERIAL)


MANIFEST = manifest_with(
    Target(
        0, "new", LANE, ALIAS, "env:MODEL_CHECK", key_spec=KeySpec.SYMMETRIC_DEFAULT,
        wrapping_key_spec=WrappingKeySpec.RSA_2048, create=CREATE,
    )
)  # fmt: skip


def check(world: NewWorld, journal: Path) -> bool | None:
    """After a part of the run. Returns whether it has come to its good end; None: a resume cannot, a new run can."""
    folded = fold(journal)
    if exit_code_of(folded.summary, folded.ending) == 0:
        (entry,) = (orjson.loads(line) for line in folded.entries())
        assert (entry["status"], entry["key_arn"]) == ("imported", next(iter(world.keys)))
        return True
    for entry in map(orjson.loads, folded.entries()):
        if entry["error"] is None:
            continue  # it ended; its run did not
        assert entry["error"]["code"] != "InternalError", entry
        unknown = (entry["error"]["code"], entry["error"]["operation"]) == ("OutcomeUnknown", "CreateKey")
        if unknown and world.left is None and not world.keys:
            return None  # a resume never repeats it; a new run may
    return False


@pytest.mark.parametrize(("budget", "signals"), [(1, True), (2, False)], ids=["signals too", "two things"])
@pytest.mark.timeout(400)
def test_every_way_of_a_creation(folder: Path, budget: int, signals: bool) -> None:
    def lead(choices: Choices) -> None:
        world = NewWorld(choices, signals=signals)
        live(world, MANIFEST, settings_in(folder), partial(check, world))
        (arn, key), *others = world.keys.items()
        assert not others, "a key that no one needs"
        assert world.aliases == {ALIAS: arn}
        assert key.material == MATERIAL

    lives, met = every_way(budget, lead)
    assert lives > 60
    for operation in ("CreateKey", "CreateAlias"):
        assert {f"{operation}: {answer}" for answer in ANSWERS[1:]} <= met
    assert budget == 1 or {"GetResources: no answer", "GetResources: lags"} <= met  # the looks after a lost response
    assert {f"journal {event}: killed" for event in ("intent", "answered", "pinned", "ended")} <= met
