"""A multi-Region key in the modelled world: a primary and its replicas, each in a Region and a lane of its own.

What KMS does is written down here from its pages, apart from the program and from the sandbox:

- New material goes into the primary first. A Region that does not know it yet refuses it as existing material.
- RotateKeyOnDemand is refused until every Region has the pending material. It then counts in all Regions, in each of
  them at another time.
- A Region that lost material that is or was current is PendingImport. Pending material can be lost without harm.
- Deleting pending material in the primary deletes it in all Regions; in a replica, there only.

https://docs.aws.amazon.com/kms/latest/developerguide/rotating-keys-on-demand.html
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, NoReturn

import orjson

from bulk_import.errors import ServiceError
from bulk_import.model import AmongSeveral, ImportParameters, KeyRotation, KeyView, Lane
from bulk_import.ports import Trace
from tests.run.model_changes import CHANGE_ANSWERS, ChangingKms, ChangingWorld, refused
from tests.run.model_kms import (
    FOREVER,
    OAEP,
    READS_OF_A_RESUME,
    Choices,
    Killed,
    ModelSession,
    import_parameters,
    lost,
    wrapping_key,
)
from tests.virtual_time import START

REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")  # the primary's first
LANES = tuple(Lane("aws", "111122223333", region) for region in REGIONS)
ALIAS, KEY_ID = "alias/0", "mrk-0"
SOURCES = {name: bytes(range(at, at + 32)) for at, name in enumerate(("2024", "2025", "2026"))}
STRANGE = "of somebody"  # material that no manifest lists
BYTES = {**SOURCES, STRANGE: bytes(range(50, 82))}
IMPORT, ROTATE = "ImportKeyMaterial", "RotateKeyOnDemand"
CURRENT, NON_CURRENT = "CURRENT", "NON_CURRENT"
READY, NOT_READY = "PENDING_ROTATION", "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
LATE, LATER = 2.6, 2.2  # seconds: of a slow call, and until a change is seen
LONGEST = 150.0  # seconds of virtual time that a part of a run takes at most
IMPORT_ANSWERS = (
    *CHANGE_ANSWERS, "carried out, late", "carried out, 500", "carried out, wrong key", "wrong key",
    "carried out, other material named", "carried out, no material named", "carried out, seen late here",
    "carried out, seen late elsewhere", "token refused",
)  # fmt: skip
ROTATE_ANSWERS = (
    *CHANGE_ANSWERS, "carried out, late", "carried out, wrong key", "wrong key", "carried out, seen late here",
    "carried out, seen late elsewhere",
)  # fmt: skip
KNOWN = ("carried out", "carried out, late", "carried out, seen late here", "carried out, seen late elsewhere",
         "throttled", "denied", "token refused")  # fmt: skip

Facts = str  # of a family: what KMS holds


def material_id(name: str) -> str:
    return name.encode().hex().ljust(64, "0")


@dataclass(frozen=True)
class Copy:
    """One material in one Region."""

    description: str | None
    valid_to: datetime | None = None


@dataclass(frozen=True)
class Beginning:
    """What a run finds. Members are counted from the primary, 0."""

    replicas: int = 1
    listed: tuple[str, ...] = ("2024", "2025")  # in the manifest
    named: bool = True
    lost: tuple[int, ...] = ()  # members whose first material is gone
    begun: tuple[int, ...] = ()  # members into which somebody has imported the second one, which is pending
    fresh: tuple[int, ...] = ()  # replicas that were never filled
    expires: bool = False  # the first material does, and the manifest does not want that

    @property
    def regions(self) -> tuple[str, ...]:
        return REGIONS[: self.replicas + 1]


@dataclass(frozen=True)
class Snapshot:
    """What a read of one Region shows."""

    materials: tuple[KeyRotation, ...]
    state: str
    current: str | None


class Family(ChangingWorld):
    """`pace`: seconds that a call takes, by Region; a number: another time for each call, by that seed."""

    def __init__(self, choices: Choices, begins: Beginning, pace: Mapping[str, float] | int) -> None:
        super().__init__(choices, ())
        self.begins, self.pace = begins, pace
        self.regions = begins.regions
        self.random = random.Random(pace if isinstance(pace, int) else 0)  # noqa: S311 - not for secrets
        random.seed(0)  # of the back-off: two lanes would meet in another way each time
        self.used = ["2024"]
        self.pending: str | None = "2025" if begins.begun else None
        first = Copy("2024" if begins.named else None, SOON if begins.expires else None)
        gone = {*begins.lost, *begins.fresh}
        self.copies: dict[str, dict[str, Copy]] = {
            region: {"2024": first} if at not in gone else {} for at, region in enumerate(self.regions)
        }
        self.never_filled = {self.regions[at] for at in begins.fresh}
        for at in begins.begun:
            self.copies[self.regions[at]]["2025"] = Copy("2025")
        self.history = {region: [(0.0, self.snapshot(region))] for region in self.regions}
        self.known_from: dict[tuple[str, str], float] = {}  # of Region and material: when the Region knows it
        self.frozen: set[str] = set()  # Regions whose reads are stale until the process ends
        self.rotated: Counter[str] = Counter()  # by this program
        self.proved: set[tuple[str, str]] = set()  # Regions and materials: KMS accepted the bytes from this run
        self.parts = 0
        self.acted: list[str] = []  # what somebody else did
        self.touched: dict[str, int] = {}  # by Region: how many reads there were when somebody changed it
        self.reads: dict[str, list[tuple[bool, bool]]] = {}  # of this part: as wanted, fresh
        self.shown_pending: Counter[str] = Counter()  # by Region: so many reads in a row showed what is pending
        self.verified: set[str] = set()  # Regions of which enough of them did, since the last import there
        self.wrong: set[int] = set()  # targets that met a response for another key in this part
        self.killed_now = False
        self.shown: dict[str, list[Snapshot]] = {}  # by Region: by the reads of this part
        self.changed_now: set[int] = set()  # targets for which this part has sent a change
        self.doubts: set[tuple[str, int]] = set()  # requests without an answer, and nobody has looked since
        self.broken: AssertionError | None = None  # a rule that was broken while the program ran

    # --- what the program does

    def session(self) -> ModelSession:
        return Session(self)

    def begin_part(self) -> None:
        super().begin_part()
        self.parts += 1
        self.reads = {region: [] for region in self.regions}
        self.shown = {region: [] for region in self.regions}
        self.doubts.clear()
        self.changed_now.clear()
        self.frozen.clear()
        self.touched.clear()
        self.shown_pending.clear()
        self.verified.clear()
        self.wrong.clear()
        self.known_from.clear()
        self.killed_now = False
        for region in self.regions:  # the time between two processes is long enough for all that lags
            self.history[region] = [(0.0, shown) for _, shown in self.history[region][-2:]]

    def begin_new_run(self) -> None:
        """Not a resume: its report is about this run only."""
        for counts in (self.sent, self.made, self.unknown):
            counts.clear()
        self.proved.clear()

    def kill(self, how: str) -> NoReturn:
        self.killed_now = True
        super().kill(how)
        raise Killed

    def noted(self, event: str, fields: Mapping[str, Any]) -> None:
        """After a line of the journal was written."""
        try:
            assert now() < START + LONGEST, "it takes far too long"
            if event == "confirmed" or (event == "ended" and fields["result"].status.well):
                self.check_end(fields["index"])
        except AssertionError as error:  # the program would make a failed target of it, or a failed run
            self.broken = self.broken or error

    def check_end(self, index: int) -> None:
        """A target ends OK now."""
        region = self.regions[index]
        last = self.reads[region][-READS_OF_A_RESUME:]
        assert [wanted for wanted, _ in last] == [True] * READS_OF_A_RESUME, (region, self.reads[region])
        if not self.as_wanted(region):
            # Somebody changed it after the first of these reads, or they showed what was before.
            assert region in self.touched, region
            unseen = len(self.reads[region]) - self.touched[region] < READS_OF_A_RESUME
            assert unseen or not all(fresh for _, fresh in last), region
        assert index not in self.wrong, "a response for another key, and it is OK"

    # --- KMS

    @property
    def facts(self) -> Facts:
        """All that KMS holds."""
        return repr((self.used, self.pending, [sorted(copies.items()) for copies in self.copies.values()]))

    def as_wanted(self, region: str) -> bool:
        return self.shows_wanted(self.snapshot(region))

    def shows_wanted(self, shown: Snapshot) -> bool:
        listed = self.begins.listed
        states = [NON_CURRENT] * (len(listed) - 1) + [CURRENT]
        return shown.state == "Enabled" and [
            (one.description, one.key_material_state, one.import_state, one.valid_to) for one in shown.materials
        ] == [(name, state, "IMPORTED", None) for name, state in zip(listed, states, strict=True)]

    def holds(self, name: str) -> bool:
        return all(name in copies for copies in self.copies.values())

    def snapshot(self, region: str) -> Snapshot:
        copies, materials = self.copies[region], []
        for at, name in enumerate(self.used):
            copy, state = copies.get(name), CURRENT if at == len(self.used) - 1 else NON_CURRENT
            date = datetime(2026, 1, at, tzinfo=UTC) if at else None
            materials.append(_rotation(name, state, copy, date))
        if self.pending is not None and self.pending in copies:
            state = READY if self.holds(self.pending) else NOT_READY
            materials.append(_rotation(self.pending, state, copies[self.pending], None))
        complete = all(name in copies for name in self.used)
        current = None if region in self.never_filled else material_id(self.used[-1])
        return Snapshot(tuple(materials), "Enabled" if complete else "PendingImport", current)

    def publish(self, late: Iterable[str] = ()) -> None:
        """After a change. `late`: Regions that show it later."""
        for region in self.regions:
            shown = self.snapshot(region)
            if shown != self.history[region][-1][1]:
                self.history[region].append((now() + (LATER if region in late else 0.0), shown))

    def visible(self, region: str, *, stale: bool) -> tuple[Snapshot, bool]:
        """And whether it is fresh."""
        history = self.history[region]
        at = max(at for at, (since, _) in enumerate(history) if since <= now())
        shown = history[max(0, at - 1) if stale or region in self.frozen else at][1]
        return shown, shown == self.snapshot(region)

    def put(self, region: str, name: str, copy: Copy, late: Iterable[str] = ()) -> None:
        home = region == self.regions[0]
        if name not in self.used and self.pending is None:
            self.pending = name
            for other in self.regions[1:]:
                self.known_from[other, name] = now() + (LATER if other in late else 0.0)
        self.copies[region][name] = copy
        assert home or name in (*self.used, self.pending)
        self.never_filled.discard(region)
        self.publish(late)

    def promote(self, late: Iterable[str] = ()) -> str:
        """RotateKeyOnDemand. Raises ServiceError where KMS refuses it. Returns the material that is current now."""
        name = self.pending
        if name is None or not self.holds(name) or self.snapshot(self.regions[0]).state != "Enabled":
            raise refused("KMSInvalidStateException", ROTATE)
        self.used.append(name)
        self.pending = None
        self.publish(late)
        return name

    def drop(self, region: str, name: str) -> None:
        """DeleteImportedKeyMaterial."""
        everywhere = name == self.pending and region == self.regions[0]
        for each in self.regions if everywhere else (region,):
            self.copies[each].pop(name, None)
        if everywhere:
            self.pending = None
        self.publish()

    # --- somebody else

    def deeds(self, region: str) -> dict[str, Callable[[], object]]:
        """What somebody else could do before a read of this Region."""
        if self.acted:
            return {}
        copies, home = self.copies[region], region == self.regions[0]
        left = [name for name in self.begins.listed if name not in self.used]
        found: dict[str, Callable[[], object]] = {}
        if self.pending is None and left and not home:
            found["imports it into the primary"] = partial(self.put, self.regions[0], left[0], Copy(left[0]))
        if self.pending is None and home:
            if left:
                found["imports it"] = partial(self.put, region, left[0], Copy(left[0]))
            found["imports another"] = partial(self.put, region, STRANGE, Copy(STRANGE))
        if self.pending is not None and self.pending not in copies:
            found["imports it"] = partial(self.put, region, self.pending, Copy(self.pending))
        if self.pending is not None and self.holds(self.pending) and self.snapshot(REGIONS[0]).state == "Enabled":
            found["rotates"] = self.promote
        if self.pending in copies:
            found["deletes what is pending"] = partial(self.drop, region, self.pending or "")
        if "2024" in copies:
            found["deletes 2024"] = partial(self.drop, region, "2024")
        return {f"somebody {name}": deed for name, deed in found.items()}

    def touch(self, what: str, deed: Callable[[], object]) -> None:
        before = {region: self.snapshot(region) for region in self.regions}
        self.acted.append(what)
        deed()
        for region in self.regions:
            if self.snapshot(region) != before[region]:
                self.touched[region] = len(self.reads[region])


def _has_pending(shown: Snapshot) -> bool:
    return any(one.key_material_state in (READY, NOT_READY) for one in shown.materials)


def _rotation(name: str, state: str, copy: Copy | None, date: datetime | None) -> KeyRotation:
    if copy is None:
        return KeyRotation(material_id(name), state, "PENDING_IMPORT", None, None, name, date)
    model = FOREVER if copy.valid_to is None else "KEY_MATERIAL_EXPIRES"
    return KeyRotation(material_id(name), state, "IMPORTED", model, copy.valid_to, copy.description, date)


def now() -> float:
    """0 between two parts."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


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
        world.shown_pending[self.region] = world.shown_pending[self.region] + 1 if _has_pending(shown) else 0
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
                if world.pending is not None or _has_pending(world.visible(self.region, stale=False)[0]):
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


class Session(ModelSession):
    async def lane(self, lane: Lane, *_: Any) -> RegionKms:  # type: ignore[override]
        assert isinstance(self._world, Family)
        return RegionKms(self._world, lane)
