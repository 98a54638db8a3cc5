"""Rotations of multi-Region keys across lanes, in virtual time: in every order of events each target ends.

KMS is modelled as it rotates: new material in the primary first, and no rotation before every Region has it. The loop
raises Deadlock where everybody waits for somebody.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_import.errors import ServiceError
from bulk_import.model import (
    AmongSeveral,
    Encoding,
    Entry,
    KeyRotation,
    KeyView,
    Lane,
    Outcome,
    Primary,
    Status,
    Target,
    WrappingKeySpec,
)
from bulk_import.plan import wanted_of
from bulk_import.ports import Trace
from tests.run.test_stop_anywhere import FOREVER, Kms
from tests.run.together_lanes import run_together
from tests.virtual_time import run

REGIONS = ("us-east-1", "eu-west-1", "ap-south-1", "sa-east-1")
NAMES = ("A", "B", "C", "D")
ACCOUNT = "111122223333"


def lane(region: str) -> Lane:
    return Lane("aws", ACCOUNT, region)


def material_id(name: str) -> str:
    return name.encode().hex() * 32


@dataclass
class Family:
    """One multi-Region key: it has NAMES[: `used`], and the manifest lists NAMES[: `listed`]."""

    regions: list[str]  # the primary's first
    used: int = 1
    listed: int = 2
    lost: dict[str, set[str]] = field(default_factory=dict)  # what of it is gone, by Region
    begun: set[str] = field(default_factory=set)  # where the next material is already, pending; if the primary's is
    unselected: set[str] = field(default_factory=set)
    denied: dict[str, str] = field(default_factory=dict)  # the operation that is denied, by Region
    disabled: set[str] = field(default_factory=set)
    pending: str | None = None
    has: dict[str, set[str]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)  # Region and what was done there

    def __post_init__(self) -> None:
        self.listed = max(self.listed, self.used)
        self.has = {region: {*NAMES[: self.used]} - self.lost.get(region, set()) for region in self.regions}
        # A key that has lost material is PendingImport, and is Enabled when it is filled.
        self.disabled = {one for one in self.regions if one in self.disabled and len(self.has[one]) == self.used}
        if self.regions[0] in self.begun and self.listed > self.used:
            self.pending = NAMES[self.used]
            for region in self.begun & {*self.regions}:
                self.has[region].add(self.pending)
        self.begun_with = self.used

    @property
    def undisturbed(self) -> bool:
        return not ({*self.denied} | self.unselected | self.disabled) & {*self.regions}

    def rotate(self) -> None:
        assert self.pending is not None
        assert all(self.pending in held for held in self.has.values()), "rotated before every Region had the material"
        self.used, self.pending = self.used + 1, None


class Region(Kms):
    """KMS in one Region; `latency`: seconds that each call takes."""

    def __init__(self, region: str, families: list[Family], latency: float) -> None:
        super().__init__()
        self.region, self.lane, self._families, self._latency = region, lane(region), families, latency

    async def _family(self, key_id: str, operation: str, trace: Trace | None = None) -> Family:
        await asyncio.sleep(self._latency)
        family = self._families[int(key_id.rpartition("-")[2])]
        if trace is not None:
            trace.sent(operation)
        if family.denied.get(self.region) == operation:
            raise ServiceError("No.", code="AccessDeniedException", operation=operation)
        return family

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        family = await self._family(key_id, "DescribeKey")
        whole = family.has[self.region] >= {*NAMES[: family.used]}
        state = "Enabled" if whole else "PendingImport"
        return KeyView(
            f"arn:aws:kms:{self.region}:{ACCOUNT}:key/{key_id.rpartition('/')[2]}",
            "Disabled" if whole and self.region in family.disabled else state, "EXTERNAL", "CUSTOMER",
            "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", multi_region=True, primary_region=family.regions[0],
            replica_regions=tuple(family.regions[1:]), expiration_model=FOREVER if whole else None,
            current_key_material_id=material_id(NAMES[family.used - 1]) if family.has[self.region] else None,
        )  # fmt: skip

    async def list_key_rotations(self, key_id: str, trace: Trace) -> list[KeyRotation]:
        family = await self._family(key_id, "ListKeyRotations")
        found = []
        for at, name in enumerate(NAMES[: family.used]):
            state = "CURRENT" if at == family.used - 1 else "NON_CURRENT"
            here = name in family.has[self.region]
            found.append(
                KeyRotation(material_id(name), state, "IMPORTED" if here else "PENDING_IMPORT",
                            FOREVER if here else None, None, name, datetime(2026, 1, at + 1, tzinfo=UTC))
            )  # fmt: skip
        if family.pending is not None and family.pending in family.has[self.region]:
            ready = all(family.pending in held for held in family.has.values())
            state = "PENDING_ROTATION" if ready else "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
            found.append(KeyRotation(material_id(family.pending), state, "IMPORTED", FOREVER, None, family.pending))
        return found

    async def import_key_material(self, key_id: str, trace: Trace, **fields: Any) -> str:
        family = await self._family(key_id, "ImportKeyMaterial", trace)
        among: AmongSeveral = fields["among"]
        name = among.description
        if among.import_type == "NEW_KEY_MATERIAL":
            assert (self.region, family.pending) == (family.regions[0], None)
            family.pending = name
        else:
            assert name in (*NAMES[: family.used], family.pending), "a replica was first"
            assert among.key_material_id in (None, material_id(name))
        family.has[self.region].add(name)
        family.changes.append((self.region, name))
        return material_id(name)

    async def rotate_key_on_demand(self, key_id: str, trace: Trace) -> None:
        family = await self._family(key_id, "RotateKeyOnDemand", trace)
        assert self.region == family.regions[0]
        family.rotate()
        family.changes.append((self.region, "rotated"))


def targets_of(families: list[Family], by_alias: bool) -> list[Target]:
    found: list[Target] = []
    for number, family in enumerate(families):
        home = lane(family.regions[0])
        name = f"{'alias/' if by_alias else ''}mrk-{number}"
        entries = tuple(Entry(each, "env:TOGETHER", Encoding.BASE64) for each in NAMES[: family.listed])
        for region in family.regions:
            primary = region == family.regions[0]
            if region not in family.unselected:
                found.append(
                    Target(
                        len(found), f"key-{number}", lane(region), name, "env:TOGETHER",
                        wrapping_key_spec=WrappingKeySpec.RSA_2048, materials=entries,
                        replicas=tuple(family.regions[1:]) if primary else (),
                        primary=None if primary else Primary(home, name),
                    )
                )  # fmt: skip
    return found


async def work(
    families: list[Family], latencies: dict[str, float], *, by_alias: bool = False, stop_after: float | None = None
) -> dict[tuple[str, str], Outcome]:
    """Ends by id and Region."""
    ended: dict[tuple[str, str], Outcome] = {}
    ports = {lane(region): Region(region, families, latencies.get(region, 0.01)) for region in REGIONS}
    now = datetime.now(UTC)
    await run_together(
        targets_of(families, by_alias), ports, lambda target: wanted_of(target, now),
        lambda outcome: ended.update({(outcome.id, outcome.region): outcome}), verify_timeout=600.0,
        stop_after=stop_after,
    )  # fmt: skip
    return ended


@pytest.fixture(autouse=True)
def material(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER", base64.b64encode(bytes(range(32))).decode())


SOME = st.sets(st.sampled_from(REGIONS), max_size=2)
MOSTLY_NONE = st.one_of(st.just(set[str]()), st.just(set[str]()), SOME)
DENIED = st.dictionaries(
    st.sampled_from(REGIONS), st.sampled_from(["DescribeKey", "ImportKeyMaterial", "RotateKeyOnDemand"]), max_size=2
)
FAMILIES = st.lists(
    st.builds(
        lambda regions, count, **fields: Family(regions[:count], **fields),
        st.permutations(REGIONS), st.integers(2, 4), used=st.integers(1, 3), listed=st.integers(1, 4),
        lost=st.dictionaries(st.sampled_from(REGIONS), st.sets(st.sampled_from(NAMES)), max_size=3),
        begun=SOME, unselected=MOSTLY_NONE, disabled=MOSTLY_NONE, denied=st.one_of(st.just(dict[str, str]()), DENIED),
    ),
    min_size=1, max_size=5,
)  # fmt: skip
LATENCIES = st.dictionaries(st.sampled_from(REGIONS), st.floats(0.001, 30.0), max_size=4)
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def check(family: Family, ends: dict[str, Outcome]) -> None:
    """What holds at every end."""
    for region, outcome in ends.items():
        if outcome.status.well:
            assert family.has[region] >= {*NAMES[: family.listed]}, outcome
            assert family.used == family.listed, outcome
        assert outcome.changed is not False or all(where != region for where, _ in family.changes), outcome
    if family.begun_with < family.listed and ({*family.regions} & (family.unselected | family.disabled)):
        assert family.used == family.begun_with


@settings(max_examples=60, deadline=None, suppress_health_check=HEALTH)
@given(families=FAMILIES, latencies=LATENCIES, by_alias=st.booleans())
def test_every_order_ends_and_rotates_only_what_is_everywhere(
    families: list[Family], latencies: dict[str, float], by_alias: bool
) -> None:
    async def story() -> None:
        ended = await work(families, latencies, by_alias=by_alias)
        assert len(ended) == sum(len({*one.regions} - one.unselected) for one in families)
        for number, family in enumerate(families):
            ends = {region: end for (name, region), end in ended.items() if name == f"key-{number}"}
            check(family, ends)
            if family.undisturbed:
                assert all(end.status.well for end in ends.values()), ends

    run(story())


@settings(max_examples=60, deadline=None, suppress_health_check=HEALTH)
@given(families=FAMILIES, latencies=LATENCIES, after=st.floats(0.0, 90.0))
def test_a_stop_at_any_time_ends_all(families: list[Family], latencies: dict[str, float], after: float) -> None:
    async def story() -> None:
        began = asyncio.get_running_loop().time()
        ended = await work(families, latencies, stop_after=after)
        assert asyncio.get_running_loop().time() - began <= after + 5.1 or all(
            one.status is not Status.NOT_ATTEMPTED for one in ended.values()
        )
        for number, family in enumerate(families):
            check(family, {region: end for (name, region), end in ended.items() if name == f"key-{number}"})

    run(story())


def test_two_lanes_that_wait_for_each_other_in_different_orders() -> None:
    """More keys than a lane has places for: a target that waits holds none."""
    one, other = REGIONS[:2]
    families = [Family([one, other]) for _ in range(70)] + [Family([other, one]) for _ in range(70)]

    async def story() -> None:
        ended = await work(families, {other: 3.0})
        assert {end.status for end in ended.values()} == {Status.REIMPORTED}
        assert all(family.used == 2 for family in families)

    run(story())
