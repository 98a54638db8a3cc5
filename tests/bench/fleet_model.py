"""How long a fleet takes, from KMS's quotas and what one core makes: the table and the picture of the page on shards.

    python -m tests.bench.fleet_model      writes both again; tests/test_fleet_model.py fails if they are old

A model, not a measurement. Lanes have different sizes (from 5 to 500 keys, drawn with a fixed seed). Each lane imports
at most one key per second (the quota of GetParametersForImport). One core makes CORE imports per second and serves its
lanes alike. Shards are those of bulk_import/shards.py. The floor is the time of the longest lane alone.
"""

from __future__ import annotations

import math
import random
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from bulk_import.fleet import IMPORTS_PER_CORE
from bulk_import.model import Lane
from bulk_import.shards import divide_lanes

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "bulk_import" / "templates" / "README.md"
PICTURE: Final = ROOT / "tests" / "pictures" / "fleet.svg"
BLOCK: Final = re.compile(r"(<!-- fleet -->\n).*?(<!-- /fleet -->)", re.DOTALL)
LANES: Final = (10, 30, 100, 300, 1_000, 3_000, 10_000)
SHARDS: Final = (1, 2, 4, 8, 16, 32, 64)
CORE: Final = IMPORTS_PER_CORE
QUOTA: Final = 1.0  # imports per second and lane
FONT: Final = 'font-family="sans-serif" font-size="12"'
COLOURS: Final = ("#7a0177", "#c51b8a", "#e7298a", "#d95f02", "#1b9e77", "#2c7fb8", "#253494")


def sizes(lanes: int) -> list[int]:
    """Keys of each lane."""
    drawn = random.Random(lanes)  # noqa: S311 - the same lanes each time
    return [min(500, max(5, round(drawn.lognormvariate(4, 1)))) for _ in range(lanes)]


def floor(keys: Sequence[int]) -> float:
    """Seconds of the longest lane."""
    return max(keys) / QUOTA


def finish(keys: Sequence[int]) -> float:
    """Seconds of one core: each lane at its quota, or at an equal part of what the core makes."""
    now, done = 0.0, 0.0  # done: what a lane that still works has imported
    ordered = [0, *sorted(keys)]
    for index, (before, size) in enumerate(pairwise(ordered)):
        working = len(keys) - index
        rate = min(QUOTA, CORE / working)
        now += (size - before) / rate
        done = size
    return now if done else 0.0


def fleet(lanes: int, shards: int) -> float:
    """Finish time over the floor."""
    keys = sizes(lanes)
    weights = {Lane("aws", f"{number:012d}", "us-east-1"): size for number, size in enumerate(keys)}
    return max(finish(list(part.lanes.values())) for part in divide_lanes(weights, shards)) / floor(keys)


def model() -> dict[tuple[int, int], float]:
    return {(lanes, shards): fleet(lanes, shards) for lanes in LANES for shards in SHARDS}


def table(found: dict[tuple[int, int], float]) -> str:
    lines = ["| lanes | " + " | ".join(f"{n} shard{'s' if n > 1 else ''}" for n in SHARDS) + " |"]
    lines.append("|---:|" + "---:|" * len(SHARDS))
    lines += [f"| {lanes:,} | " + " | ".join(f"{found[lanes, n]:.2f}" for n in SHARDS) + " |" for lanes in LANES]
    return "\n".join(lines) + "\n"


def picture(found: dict[tuple[int, int], float]) -> str:
    """Lines over a logarithmic grid: shards across, finish time over the floor upwards."""
    width, height, left, bottom = 640, 320, 60, 40
    top = max(found.values())
    span = max(1.0, math.log2(top))

    def x(shards: int) -> float:
        return left + (width - left - 110) * SHARDS.index(shards) / (len(SHARDS) - 1)

    def y(ratio: float) -> float:
        return height - bottom - (height - bottom - 20) * math.log2(ratio) / span

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {FONT}>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    step = 1
    while step <= top:
        parts.append(f'<path d="M{left} {y(step):.1f}H{width - 100}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y(step) + 4:.1f}" text-anchor="end">{step}</text>')
        step *= 2
    parts += [f'<text x="{x(n):.1f}" y="{height - 20}" text-anchor="middle">{n}</text>' for n in SHARDS]
    for lanes, colour in zip(LANES, COLOURS, strict=True):
        points = " ".join(f"{x(n):.1f},{y(found[lanes, n]):.1f}" for n in SHARDS)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for index, (lanes, colour) in enumerate(zip(reversed(LANES), reversed(COLOURS), strict=True)):
        parts.append(f'<text x="{width - 92}" y="{30 + 18 * index}" fill="{colour}">{lanes:,} lanes</text>')
    parts.append(f'<text x="{left}" y="14">finish time / floor</text>')
    parts.append(f'<text x="{(left + width - 110) / 2:.0f}" y="{height - 4}" text-anchor="middle">shards</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    found = model()
    PAGE.write_text(BLOCK.sub(lambda block: f"{block[1]}{table(found)}{block[2]}", PAGE.read_text("utf-8")), "utf-8")
    PICTURE.write_text(picture(found), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
