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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NoReturn

from bulk_import.model import KeyRotation, Lane
from tests.run.model_changes import CHANGE_ANSWERS, ChangingWorld, refused
from tests.run.model_kms import (
    FOREVER,
    READS_OF_A_RESUME,
    Choices,
    Killed,
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


def has_pending(shown: Snapshot) -> bool:
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
