"""A family's KMS as one lane sees it (model_family.py has the keys): when a call is answered, and with what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import orjson

from bulk_import.errors import ServiceError
from bulk_import.model import AmongSeveral, ImportParameters, KeyRotation, KeyView, Lane
from bulk_import.ports import Trace
from tests.run.model_changes import ChangingKms, refused
from tests.run.model_family import (
    ALIAS,
    IMPORT,
    IMPORT_ANSWERS,
    KEY_ID,
    KNOWN,
    LATE,
    REGIONS,
    ROTATE,
    ROTATE_ANSWERS,
    SOURCES,
    STRANGE,
    Copy,
    Family,
    has_pending,
    material_id,
    now,
)
from tests.run.model_kms import (
    FOREVER,
    OAEP,
    READS_OF_A_RESUME,
    Killed,
    ModelSession,
    import_parameters,
    lost,
    wrapping_key,
)


class RegionKms(ChangingKms):
    """KMS as one lane sees it. In each call the program waits, and the other lanes continue."""

    def __init__(self, world: Family, lane: Lane) -> None:
        super().__init__(world)
        self.world, self.lane, self.region = world, lane, lane.region
        self.index = world.regions.index(lane.region)
        self.arn = f"arn:aws:kms:{lane.region}:{lane.account}:key/{KEY_ID}"

    async def _takes(self, more: float = 0.0) -> None:
        world = self.world
        if isinstance(world.pace, int):
            more += world.random.choice((0.01, 0.01, 0.2, 1.3, LATE))
        else:
            more += world.pace[self.region]
        await asyncio.sleep(more)
        if world.left is not None:
            raise Killed

    async def _read(self, operation: str, trace: Any, *more: str) -> str:
        """What happens instead of a good answer."""
        world = self.world
        if world.left is not None:
            raise Killed
        trace.sent(operation)
        happens = world.choices.among(operation, "good", "no answer", "wrong key", "late", *more)
        await self._takes(LATE if happens == "late" else 0.0)
        if happens == "no answer":
            raise lost(operation)
        if happens == "wrong key":
            if trace.target.index == self.index:  # else its alias is read for a replica, which looks for it again
                world.wrong.add(self.index)
            raise ServiceError("It was for another.", code="WrongKey", operation=operation, request_id="request-w")
        return happens

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        assert key_id in (ALIAS, KEY_ID, self.arn)
        world = self.world
        signals = () if world.stop.requested.is_set() else ("a signal", "two signals")
        happens = await self._read("DescribeKey", trace, *signals, *self._stale())
        if happens in signals:
            world.stop.request("SIGTERM")
        if happens == "two signals":
            world.stop.urgent.set()
        shown, _ = world.visible(self.region, stale=happens == "stale")
        ends = [one.valid_to for one in shown.materials if one.valid_to is not None]
        model = "KEY_MATERIAL_EXPIRES" if ends else FOREVER
        return KeyView(
            self.arn, shown.state, "EXTERNAL", "CUSTOMER", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT",
            expiration_model=model if shown.state == "Enabled" else None, valid_to=min(ends, default=None),
            current_key_material_id=shown.current, multi_region=True, primary_region=REGIONS[0],
            replica_regions=world.regions[1:],
        )  # fmt: skip

    def _stale(self) -> tuple[str, ...]:
        return ("stale",) if len(self.world.history[self.region]) > 1 else ()

    async def list_key_rotations(self, key_id: str, trace: Trace) -> list[KeyRotation]:
        assert key_id == self.arn
        world = self.world
        stale = (*self._stale(), "stale for good") if self._stale() else ()
        deeds = world.deeds(self.region)
        happens = await self._read("ListKeyRotations", trace, *stale, *deeds)
        if (deed := world.deeds(self.region).get(happens)) is not None:
            world.touch(happens, deed)
        if happens == "stale for good":
            world.frozen.add(self.region)
        shown, fresh = world.visible(self.region, stale=happens == "stale")
        world.reads[self.region].append((world.shows_wanted(shown), fresh))
        world.shown[self.region].append(shown)
        world.doubts -= {(IMPORT, self.index), (ROTATE, self.index)}
        world.shown_pending[self.region] = world.shown_pending[self.region] + 1 if has_pending(shown) else 0
        if world.shown_pending[self.region] >= READS_OF_A_RESUME:
            world.verified.add(self.region)
        return list(shown.materials)

    async def get_parameters_for_import(self, key_id: str, trace: Trace, **_: Any) -> ImportParameters:
        assert key_id == self.arn
        await self._read("GetParametersForImport", trace)
        return import_parameters()

    async def import_key_material(
        self, key_id: str, trace: Trace, *, sealed: bytes, valid_to: datetime | None, among: AmongSeveral | None = None,
        **_: Any,
    ) -> str | None:  # fmt: skip
        assert key_id == self.arn
        assert among is not None
        world, opened = self.world, wrapping_key().decrypt(sealed, OAEP)
        name = among.description
        assert opened == SOURCES[name], "the bytes of another source"
        assert among.import_type == "EXISTING_KEY_MATERIAL" or self.index == 0, "new material in a replica"

        self._check_import(name, among)

        def effect(late: tuple[str, ...]) -> None:
            known = name in (*world.used, world.pending)
            here = known and world.known_from.get((self.region, name), 0.0) <= now()
            if among.import_type == "NEW_KEY_MATERIAL":
                if known:
                    raise refused("IncorrectKeyMaterialException", IMPORT)
                if world.pending is not None or has_pending(world.visible(self.region, stale=False)[0]):
                    raise refused("KMSInvalidStateException", IMPORT)
            elif not here or among.key_material_id not in (None, material_id(name)):
                raise refused("IncorrectKeyMaterialException", IMPORT)
            world.put(self.region, name, Copy(name, valid_to), late)
            world.shown_pending[self.region] = 0
            world.verified.discard(self.region)

        answer = await self._change(IMPORT, trace, IMPORT_ANSWERS, effect)
        if answer == "carried out, no material named":
            return None
        if answer == "carried out, other material named":
            world.wrong.add(self.index)
            return material_id(next(other for other in (*world.used, STRANGE) if other != name))
        world.proved.add((self.region, name))
        return material_id(name)

    def _check_import(self, name: str, among: AmongSeveral) -> None:
        world = self.world
        if world.acted or any("stale for good" in happened for happened in world.choices.names):
            return
        assert name not in self._accepted(), "imported again, and this run knows that it is there"
        if among.import_type == "NEW_KEY_MATERIAL":
            assert all(world.shown.values()), "new material before every Region was read"
            assert all(world.holds(used) for used in world.used), "new material before every Region has the older ones"

    def _accepted(self) -> set[str]:
        """Materials that the journal on the disk shows as imported in this Region."""
        return {
            event["material"]
            for event in self._durable()
            if (event["event"], event.get("operation"), event.get("index"), event.get("outcome"))
            == ("answered", IMPORT, self.index, "ok")
        }

    def _durable(self) -> Iterator[dict[str, Any]]:
        world = self.world
        assert world.journal is not None
        return map(orjson.loads, world.journal.path.read_bytes()[: world.durable].splitlines())

    async def rotate_key_on_demand(self, key_id: str, trace: Trace) -> None:
        assert key_id == self.arn
        world = self.world
        assert self.index == 0, "only the primary is rotated"
        intended = self._intended()
        if intended not in world.used and not world.acted:
            assert world.pending == intended, "a rotation to other material"
            assert world.holds(intended), "a rotation before every Region has the material"
            assert world.verified == {*world.regions}, "a rotation before every Region was seen to have the material"
            assert {(region, intended) for region in world.regions} <= world.proved, (
                "a rotation to bytes of nobody knows"
            )

        def effect(late: tuple[str, ...]) -> None:
            world.rotated[world.promote(late)] += 1

        await self._change(ROTATE, trace, ROTATE_ANSWERS, effect)

    def _intended(self) -> str:
        """What the last intent on the disk says."""
        intents = (event for event in self._durable() if (event["event"], event.get("operation")) == ("intent", ROTATE))
        return str([event["material"] for event in intents][-1])

    async def _change(
        self, operation: str, trace: Trace, answers: tuple[str, ...], effect: Callable[[tuple[str, ...]], None]
    ) -> str:
        """One request. Returns how it was answered where it was carried out and answered. Raises ServiceError."""
        world, request = self.world, (operation, self.index)
        await self._takes()  # for its permit
        trace.sent(operation)
        world.sent[request] += 1
        assert world.intents(*request) >= world.sent[request], f"{operation} without a durable intent"
        assert request not in world.doubts, f"{operation} is repeated without a look"
        if self.index not in world.changed_now:
            shown = world.shown[self.region]
            assert any(one == other for one, other in pairwise(shown)), "decided by reads that differ, or by one"
            world.changed_now.add(self.index)
        answer = world.choices.among(operation, *answers)
        if answer not in KNOWN:
            world.unknown[request] += 1
            world.doubts.add(request)
        others = tuple(region for region in world.regions if region != self.region)
        late = {"carried out, seen late here": (self.region,), "carried out, seen late elsewhere": others}
        refusal: ServiceError | None = None
        try:
            await self._takes(LATE if answer == "carried out, late" else 0.0)
        except asyncio.CancelledError:
            world.unknown[request] += 1  # nobody waits for its answer any more, and KMS may have it all the same
            answer = world.choices.among(f"{operation}, given up", "lost", "carried out")
            if answer == "carried out":
                self._carry_out(request, effect, ())
            raise
        if "carried out" in answer:
            refusal = self._carry_out(request, effect, late.get(answer, ()))
        if answer in ("carried out, killed", "carried out, power cut"):
            world.kill(answer.removeprefix("carried out, "))
        await self._takes()
        if answer in ("throttled", "denied", "token refused"):
            codes = {"denied": "AccessDeniedException", "token refused": "InvalidImportTokenException"}
            raise refused(codes.get(answer, "ThrottlingException"), operation, retryable=answer == "throttled")
        if answer.endswith("no answer"):
            raise lost(operation)
        if answer.endswith(("wrong key", "500")):
            wrong = answer.endswith("wrong key")
            world.wrong |= {self.index} if wrong else set()
            raise ServiceError(
                "Who knows.", code="WrongKey" if wrong else "KMSInternalException", operation=operation,
                retryable=not wrong, outcome_unknown=True, request_id="request-w",
            )  # fmt: skip
        if refusal is not None:
            raise refusal
        trace.note(operation, f"request-{operation}")
        return answer

    def _carry_out(
        self, request: tuple[str, int], effect: Callable[[tuple[str, ...]], None], late: tuple[str, ...]
    ) -> ServiceError | None:
        """Returns why KMS refuses it."""
        try:
            effect(late)
        except ServiceError as refusal:
            return refusal
        self.world.made[request] += 1
        return None


class ServedFamily(Family):
    """A family that the program reaches through RegionKms."""

    def session(self) -> ModelSession:
        return Session(self)


class Session(ModelSession):
    async def lane(self, lane: Lane, *_: Any) -> RegionKms:  # type: ignore[override]
        assert isinstance(self._world, Family)
        return RegionKms(self._world, lane)
