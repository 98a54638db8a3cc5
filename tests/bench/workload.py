"""Manifests and key material of L lanes by K keys, as files that any client can read.

    python -m tests.bench.workload FOLDER --lanes 100 --keys 20 [--mix SYMMETRIC_DEFAULT=3,HMAC_256=1]

Symmetric keys: a random file per key number, the same in every lane, at most FILES of them (beyond that, they are
shared). HMAC keys: one random file for all, because the simulator must know it to answer GenerateMac truly.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

REGIONS = (
    "us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-west-2",
    "eu-central-1", "eu-north-1", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1",
)  # fmt: skip
ROLE = "Importer"
FILES = 10_000
MIX = {"SYMMETRIC_DEFAULT": 3, "HMAC_256": 1}
_LETTER = {"SYMMETRIC_DEFAULT": "k", "HMAC_256": "h"}
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Workload:
    """A manifest on disk, and what the simulator must know of it."""

    folder: Path
    manifest: Path
    lanes: int
    keys: int  # per lane

    @property
    def targets(self) -> int:
        return self.lanes * self.keys

    @property
    def hmac_material(self) -> Path:
        return self.folder / "material" / "hmac.key"


def lanes_of(count: int, regions: int = len(REGIONS)) -> list[tuple[str, str]]:
    """The first `count` (account, Region) pairs, accounts outer."""
    return [(f"{100_000_000_001 + lane // regions}", REGIONS[lane % regions]) for lane in range(count)]


def make(
    folder: Path,
    *,
    lanes: int,
    keys: int,
    mix: dict[str, int] | None = None,
    suffix: str = ".jsonl",
    regions: int = len(REGIONS),
) -> Workload:
    """Writes manifest, material and, for the shell, `keys.tsv`. `suffix`: .jsonl or .csv; `regions` per account."""
    material = folder / "material"
    material.mkdir(parents=True)
    (material / "hmac.key").write_bytes(os.urandom(32))
    for number in range(min(keys, FILES)):
        (material / f"{number:05}.key").write_bytes(os.urandom(32))
    workload = Workload(folder, folder / f"keys{suffix}", lanes, keys)
    rows = _rows(lanes_of(lanes, regions), keys, mix or MIX)
    write = _write_csv if suffix == ".csv" else _write_jsonl
    write(workload.manifest, rows)
    return workload


def _rows(lanes: list[tuple[str, str]], keys: int, mix: dict[str, int]) -> Iterator[Row]:
    cycle = [spec for spec, share in mix.items() for _ in range(share)]
    for (account, region), number in itertools.product(lanes, range(keys)):
        spec = cycle[number % len(cycle)]
        file = "hmac" if spec.startswith("HMAC") else f"{number % FILES:05}"
        yield {
            "id": f"key-{number:05}",
            "account": account,
            "region": region,
            "role": ROLE,
            "key_id": f"alias/{_LETTER[spec]}{number:05}",
            "key_spec": spec,
            "material": f"file:material/{file}.key",
        }


def _write_jsonl(path: Path, rows: Iterator[Row]) -> None:
    with path.open("wb") as file, path.with_suffix(".tsv").open("w") as tsv:
        for row in rows:
            file.write(orjson.dumps(row) + b"\n")
            tsv.write("\t".join((row["account"], row["region"], row["key_id"], row["material"][5:])) + "\n")


def _write_csv(path: Path, rows: Iterator[Row]) -> None:
    with path.open("w", newline="") as file:
        first = next(rows)
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Writes a manifest and its key material.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lanes", type=int, required=True)
    parser.add_argument("--keys", type=int, required=True)
    parser.add_argument("--mix", default="", help="SPEC=SHARE,…")
    parser.add_argument("--csv", action="store_true")
    options = parser.parse_args()
    mix = {spec: int(share) for spec, _, share in (part.partition("=") for part in options.mix.split(",") if part)}
    suffix = ".csv" if options.csv else ".jsonl"
    make(options.folder, lanes=options.lanes, keys=options.keys, mix=mix, suffix=suffix)


if __name__ == "__main__":
    _main()
