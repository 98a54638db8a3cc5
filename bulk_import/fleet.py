"""How the lanes of a manifest divide among machines, and how long each machine takes at least. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bulk_import import shards
from bulk_import.aws.pace.limiter import SCARCE, merge_quotas
from bulk_import.family import links
from bulk_import.model import Target
from bulk_import.plan import floor_seconds
from bulk_import.settings import Settings
from bulk_import.shards import Shard

# Per second and core: an estimate, for machines differ. full_core (tests/bench/README.md) has measured 228 and 335.
IMPORTS_PER_CORE: Final = 300


@dataclass(frozen=True, slots=True)
class Division:
    """`floors`: the shortest time of each shard, in seconds, if every target needs an import. `enough`: the smallest
    number of shards with which the longest lane alone is the limit."""

    shards: list[Shard]
    floors: list[float]
    enough: int


def division(targets: Sequence[Target], settings: Settings, of: int) -> Division:
    """What `validate --shards` shows. Selection and quotas decide, no call is made."""
    rate = merge_quotas(settings.quota)[SCARCE]

    def floor(shard: Shard) -> float:
        largest = max(shard.lanes.values(), default=0)
        return floor_seconds(largest, rate, reads=settings.reads, interval=settings.read_interval)

    connected = links(targets)
    parts = shards.divide(targets, of, connected)
    floors = [floor(shard) for shard in parts]
    longest = max(floors, default=0.0)
    enough = shards.smallest(targets, lambda shard: shard.targets / IMPORTS_PER_CORE <= longest, connected)
    return Division(parts, floors, enough)
