"""Primaries and replicas across lanes, in virtual time: in every order of events each target ends, and correctly.

The loop raises Deadlock where everybody waits for somebody.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_import.errors import ServiceError
from bulk_import.model import KeyView, Lane, Outcome, Primary, Status, Target, WrappingKeySpec
from bulk_import.plan import Wanted
from bulk_import.ports import Trace
from tests.run.test_stop_anywhere import FOREVER, Kms
from tests.run.together_lanes import run_together
from tests.virtual_time import run

REGIONS = ("us-east-1", "eu-west-1", "ap-south-1", "sa-east-1")
FOREVER_SECONDS = 1e9


@dataclass(frozen=True)
class Key:
    """One key of one Region, as KMS has it when the run begins."""

    selected: bool = True
    filled: bool = False
    held: bool = False  # empty now, and KMS knows which material belongs there
    fails: bool = False  # every read of it is denied


@dataclass(frozen=True)
class Related:
    """A primary and its replicas: by Region."""

    primary: str
    keys: dict[str, Key]
    by_alias: bool


class Region(Kms):
    """KMS in one Region; `latency`: seconds that each read takes."""

    def __init__(self, region: str, families: list[Related], latency: float, told: Callable[[str, str], None]) -> None:
        super().__init__()
        self.lane = Lane("aws", "111122223333", region)
        self._families = families
        self._latency = latency
        self._told = told  # who is imported into: Region, key ID

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        await asyncio.sleep(self._latency)
        number = int(key_id.rpartition("-")[2])
        family = self._families[number]
        key = family.keys[self.lane.region]
        if key.fails:
            raise ServiceError("No.", code="AccessDeniedException", operation="DescribeKey")
        arn = f"arn:aws:kms:{self.lane.region}:111122223333:key/mrk-{number}"
        view = KeyView(
            arn, "PendingImport", "EXTERNAL", "CUSTOMER", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", multi_region=True,
            primary_region=family.primary,
        )  # fmt: skip
        if key.filled or arn in self.imported:
            return replace(view, state="Enabled", expiration_model=FOREVER, current_key_material_id="a" * 64)
        return replace(view, current_key_material_id="a" * 64) if key.held else view

    async def import_key_material(self, key_id: str, trace: Trace, **fields: Any) -> str:
        assert fields["import_type"] in (None, "EXISTING_KEY_MATERIAL")
        self._told(self.lane.region, key_id.rpartition("/")[2])
        return await super().import_key_material(key_id, trace, **fields)


def targets_of(families: list[Related]) -> list[Target]:
    found: list[Target] = []
    for number, family in enumerate(families):
        name = f"{'alias/' if family.by_alias else ''}mrk-{number}"
        home = Lane("aws", "111122223333", family.primary)
        replicas = tuple(region for region in family.keys if region != family.primary)
        for region in (family.primary, *replicas):
            if family.keys[region].selected:
                lane = Lane("aws", "111122223333", region)
                found.append(
                    Target(
                        len(found), f"key-{number}", lane, name, "env:BARRIER",
                        wrapping_key_spec=WrappingKeySpec.RSA_2048,
                        replicas=replicas if region == family.primary else (),
                        primary=None if region == family.primary else Primary(home, name),
                    )
                )  # fmt: skip
    return found


async def work(
    families: list[Related], latencies: dict[str, float], *, stop_after: float | None = None
) -> tuple[dict[tuple[str, str], tuple[float, Outcome]], list[tuple[str, str]]]:
    """Ends by id and Region, each with its instant; and the order of imports and ends of primaries."""
    loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    ended: dict[tuple[str, str], tuple[float, Outcome]] = {}
    order: list[tuple[str, str]] = []
    ports = {
        Lane("aws", "111122223333", region): Region(
            region, families, latencies.get(region, 0.01), lambda region, key: order.append((region, key))
        )
        for region in REGIONS
    }

    def on_end(outcome: Outcome) -> None:
        ended[outcome.id, outcome.region] = loop.time() - began, outcome
        order.append((outcome.region, f"end of {outcome.id}"))

    await run_together(
        targets_of(families), ports, lambda target: Wanted(target, None), on_end, verify_timeout=60.0,
        stop_after=stop_after, consistency_timeout=0.0,
    )  # fmt: skip
    return ended, order


@pytest.fixture(autouse=True)
def material(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARRIER", base64.b64encode(bytes(range(32))).decode())


KEYS = st.builds(Key, selected=st.booleans(), filled=st.booleans(), held=st.booleans(), fails=st.booleans())
FAMILIES = st.lists(
    st.builds(
        lambda regions, keys, by_alias: Related(regions[0], dict(zip(regions, keys, strict=False)), by_alias),
        st.permutations(REGIONS), st.lists(KEYS, min_size=2, max_size=4), st.booleans(),
    ),
    min_size=1, max_size=6,
)  # fmt: skip
LATENCIES = st.dictionaries(st.sampled_from(REGIONS), st.floats(0.001, 30.0), max_size=4)


def code(outcome: Outcome) -> str | None:
    return outcome.error.code if outcome.error else None


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(families=FAMILIES, latencies=LATENCIES)
def test_every_order_ends_and_no_replica_is_first(families: list[Related], latencies: dict[str, float]) -> None:
    async def story() -> None:
        ended, order = await work(families, latencies)
        assert len(ended) == sum(key.selected for family in families for key in family.keys.values())
        for number, family in enumerate(families):
            home = family.keys[family.primary]
            primary_is_well = home.selected and not home.fails
            for region, key in family.keys.items():
                if not key.selected or region == family.primary:
                    continue
                _, outcome = ended[f"key-{number}", region]
                unknown = family.by_alias and home.fails  # nobody knows which key the alias means
                if unknown or (not key.fails and not key.filled and not key.held and not primary_is_well):
                    assert (code(outcome), outcome.changed) == ("PrimaryNotReady", False)
                    assert outcome.attempts == 0
                elif key.fails:
                    assert code(outcome) == "AccessDeniedException"
                else:
                    assert outcome.status is (Status.UNCHANGED if key.filled else Status.IMPORTED)
                    if not key.filled and not key.held:
                        assert order.index((family.primary, f"end of key-{number}")) < order.index(
                            (region, f"mrk-{number}")
                        )

    run(story())


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(families=FAMILIES, latencies=LATENCIES, after=st.floats(0.0, 60.0))
def test_a_stop_at_any_time_ends_all(families: list[Related], latencies: dict[str, float], after: float) -> None:
    async def story() -> None:
        ended, _ = await work(families, latencies, stop_after=after)
        for _, outcome in ended.values():
            assert outcome.status is not Status.FAILED or code(outcome) in (
                "PrimaryNotReady", "AccessDeniedException", "NotVerified", "OutcomeUnknown",
            ), outcome  # fmt: skip

    run(story())


def test_a_primarys_region_that_hangs_delays_nobody_else() -> None:
    """200 replicas wait for aliases of a Region that does not respond; the others are done at once."""
    hanging, other, mine = REGIONS[0], REGIONS[1], REGIONS[2]
    waiting = [Related(hanging, {hanging: Key(selected=False), mine: Key()}, by_alias=True) for _ in range(200)]
    held = [Related(hanging, {hanging: Key(selected=False), mine: Key(held=True)}, by_alias=False) for _ in range(3)]
    good = [Related(other, {other: Key(), mine: Key()}, by_alias=True) for _ in range(3)]
    families = [*waiting, *held, *good]

    async def story() -> None:
        ended, _ = await work(families, {hanging: FOREVER_SECONDS}, stop_after=100.0)
        done = {name: at for (name, region), (at, one) in ended.items() if region == mine and one.status.well}
        assert done.keys() == {f"key-{number}" for number in range(200, 206)}
        assert max(done.values()) < 30.0
        assert {one.status for (name, _), (_, one) in ended.items() if int(name[4:]) < 200} == {Status.NOT_ATTEMPTED}

    run(story())
