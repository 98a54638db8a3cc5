"""The table and the picture of the page on shards are those of the model, and the model does what it says."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.bench import fleet_model
from tests.bench.fleet_model import CORE, LANES, SHARDS, finish, floor, sizes


@pytest.fixture(scope="module")
def found() -> dict[tuple[int, int], float]:
    return fleet_model.model()


def test_the_page_has_the_numbers_of_the_model(found: dict[tuple[int, int], float]) -> None:
    assert fleet_model.table(found) in fleet_model.PAGE.read_text("utf-8")
    assert fleet_model.PICTURE.read_text("utf-8") == fleet_model.picture(found)


def test_a_core_with_few_lanes_takes_as_long_as_the_longest() -> None:
    keys = sizes(CORE)
    assert finish(keys) == pytest.approx(floor(keys))


def test_a_full_core_takes_as_long_as_its_keys() -> None:
    """Equal lanes, ten times more than the core serves at their quota."""
    assert finish([100] * 10 * CORE) == pytest.approx(100 * 10 * CORE / CORE)


def test_more_shards_never_take_longer(found: dict[tuple[int, int], float]) -> None:
    for lanes in LANES:
        ratios = [found[lanes, shards] for shards in SHARDS]
        assert all(later <= earlier * 1.001 for earlier, later in pairwise(ratios))
        assert ratios[-1] >= 0.999
