"""The division of a manifest's lanes among machines, and the variables in which engines give a machine its number.

A lane is never split: KMS's quotas are counted per lane, so shards do not compete for them. Lanes that one key connects
(a multi-Region primary and its replicas) stay together, because replicas may have to wait for their primary. Such a
group is the unit of the division. Its weight is its number of targets. The heaviest group comes first, its name (the
first of its lanes) decides between equals, and each goes to the shard that is lightest so far. Only manifest and
selection decide, so all shards agree without communication.

The greedy rule (longest processing time first) is at most a third above the best possible division, and practically
equal to it for many lanes: https://doi.org/10.1137/0117039
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final

from bulk_import.errors import UsageError
from bulk_import.model import Lane, Manifest, Target

AUTO: Final = "auto"
LARGEST: Final = 9_999  # shards
SHARDS_VARIABLE: Final = "BULK_IMPORT_SHARDS"  # Kubernetes does not show a pod how many there are

Links = Iterable[tuple[Lane, Lane]]


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a division. `number` counts from 1."""

    number: int
    of: int
    lanes: Mapping[Lane, int]  # targets of each, in the order of the division

    @property
    def targets(self) -> int:
        return sum(self.lanes.values())

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse(text: str) -> tuple[int, int]:
    """`I/N` → (I, N). Raises ValueError, whose message is for people."""
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError("write I/N with 1 <= I <= N, such as 2/8, or auto")
    return int(match[1]), int(match[2])


def divide(targets: Iterable[Target], of: int, links: Links = ()) -> list[Shard]:
    """All shards. `links`: pairs of lanes that one key connects."""
    return divide_lanes(_weights(targets), of, links)


def divide_lanes(weights: Mapping[Lane, int], of: int, links: Links = ()) -> list[Shard]:
    """All shards, from the number of targets of each lane."""
    groups = _groups(weights, links)
    heaviest_first = sorted(groups, key=lambda group: (-sum(weights[lane] for lane in group), group[0]))
    shards: list[dict[Lane, int]] = [{} for _ in range(of)]
    lightest = [(0, number) for number in range(of)]  # (targets, shard): a heap
    for group in heaviest_first:
        size, number = lightest[0]
        shards[number] |= {lane: weights[lane] for lane in group}
        heapq.heapreplace(lightest, (size + sum(weights[lane] for lane in group), number))
    return [Shard(number, of, lanes) for number, lanes in enumerate(shards, 1)]


def smallest(targets: Iterable[Target], fits: Callable[[Shard], bool], links: Links = ()) -> int:
    """The smallest number of shards that all fit; at most one for each lane, where more change nothing."""
    weights = _weights(targets)
    low, high = 1, min(LARGEST, len(weights)) or 1
    while low < high:
        middle = (low + high) // 2
        if all(map(fits, divide_lanes(weights, middle, links))):
            high = middle
        else:
            low = middle + 1
    return low


def take(manifest: Manifest, shard: str | None, links: Links = ()) -> Manifest:
    """The manifest with the targets of one shard (`I/N`); it may have none. None: all."""
    if shard is None:
        return manifest
    number, of = parse(shard)
    lanes = divide(manifest.targets, of, links)[number - 1].lanes
    places = {_place_of(lane) for lane in lanes}
    chosen = [target for target in manifest.targets if _PLACE(target) in places]
    accounts = {lane.account for lane in lanes}
    return replace(
        manifest,
        targets=tuple(replace(target, index=index, position=target.index) for index, target in enumerate(chosen)),
        before_sharding=len(manifest.targets),
        accounts={account: access for account, access in manifest.accounts.items() if account in accounts},
    )


def _place_of(lane: Lane) -> tuple[str, str, str]:
    return lane.partition, lane.account, lane.region


_PLACE: Final = attrgetter("lane.partition", "lane.account", "lane.region")


def _weights(targets: Iterable[Target]) -> dict[Lane, int]:
    """Targets of each lane. A million are counted as tuples of text: a Lane's own hash is made in Python."""
    return {Lane(*place): count for place, count in Counter(map(_PLACE, targets)).items()}


def _groups(weights: Mapping[Lane, int], links: Links) -> list[list[Lane]]:
    """Lanes that links connect, each group and the groups sorted by name."""
    leader = {lane: lane for lane in weights}

    def find(lane: Lane) -> Lane:
        while leader[lane] != lane:
            leader[lane] = leader[leader[lane]]
            lane = leader[lane]
        return lane

    for one, other in links:
        if one in leader and other in leader:
            first, second = sorted((find(one), find(other)))
            leader[second] = first
    groups: dict[Lane, list[Lane]] = {}
    for lane in sorted(weights):
        groups.setdefault(find(lane), []).append(lane)
    return list(groups.values())


def from_environment(environment: Mapping[str, str]) -> str:
    """`--shard auto`: I/N as the engine that started this process gives it.

    AWS Batch array: https://docs.aws.amazon.com/batch/latest/userguide/job_env_vars.html
    Kubernetes Indexed Job: https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode
    GitLab: https://docs.gitlab.com/ci/variables/predefined_variables/ (CI_NODE_TOTAL is 1 without `parallel`)
    Slurm array: https://slurm.schedmd.com/job_array.html
    Raises UsageError where not exactly one of them describes a complete array.
    """
    found = [engine for engine, variable in _ENGINES.items() if environment.get(variable)]
    if not found:
        raise UsageError(
            "--shard auto: this process was not started by an array of AWS Batch "
            "(AWS_BATCH_JOB_ARRAY_INDEX), Kubernetes (JOB_COMPLETION_INDEX), GitLab (CI_NODE_INDEX) or Slurm "
            "(SLURM_ARRAY_TASK_ID). Give --shard I/N."
        )
    if len(found) > 1:
        named = " and ".join(f"{engine} ({_ENGINES[engine]})" for engine in found)
        raise UsageError(f"--shard auto: the variables of {named} are set; only one can be right. Give --shard I/N.")
    number, of = _READERS[found[0]](environment)
    if not 1 <= number <= of <= LARGEST:
        raise UsageError(
            f"--shard auto: {found[0]} says shard {number} of {of}. That is not a part of a complete array "
            f"of at most {LARGEST:,}. Give --shard I/N."
        )
    return f"{number}/{of}"


_ENGINES: Final = {
    "AWS Batch": "AWS_BATCH_JOB_ARRAY_INDEX",
    "Kubernetes": "JOB_COMPLETION_INDEX",
    "GitLab": "CI_NODE_INDEX",
    "Slurm": "SLURM_ARRAY_TASK_ID",
}


def _batch(environment: Mapping[str, str]) -> tuple[int, int]:
    return _number(environment, "AWS_BATCH_JOB_ARRAY_INDEX") + 1, _number(environment, "AWS_BATCH_JOB_ARRAY_SIZE")


def _kubernetes(environment: Mapping[str, str]) -> tuple[int, int]:
    return _number(environment, "JOB_COMPLETION_INDEX") + 1, _number(environment, SHARDS_VARIABLE)


def _gitlab(environment: Mapping[str, str]) -> tuple[int, int]:
    return _number(environment, "CI_NODE_INDEX"), _number(environment, "CI_NODE_TOTAL")


def _slurm(environment: Mapping[str, str]) -> tuple[int, int]:
    """Only 0-(N-1): a partial resubmission changes the count, and its shards would be others than the first time's."""
    names = ("MIN", "MAX", "STEP", "COUNT")
    low, high, step, count = (_number(environment, f"SLURM_ARRAY_TASK_{name}") for name in names)
    if (low, step, count) != (0, 1, high + 1):
        raise UsageError(
            f"--shard auto: the Slurm array is {low}-{high}:{step} with {count} tasks; only a complete array that "
            "begins at 0, such as 0-7, gives each task its shard. To run one shard again, give --shard I/N."
        )
    return _number(environment, "SLURM_ARRAY_TASK_ID") + 1, count


_READERS: Final = {"AWS Batch": _batch, "Kubernetes": _kubernetes, "GitLab": _gitlab, "Slurm": _slurm}


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not re.fullmatch("[0-9]{1,9}", text):
        what = "is not set" if not text else "is not a number"
        raise UsageError(f"--shard auto: {name} {what}. Set it to what the array has, or give --shard I/N.")
    return int(text)


def shares(shard: str | None) -> int:
    """Among how many processes a limit of the caller's own account is shared: all shards may run at once."""
    return parse(shard)[1] if shard else 1
