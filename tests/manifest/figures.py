"""How fast manifests are read: `python -m tests.manifest.figures [ROWS]`; prints a line for each format.

Each format is read in a process of its own, so that the peak memory is its own too.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bulk_import.manifest import load
from bulk_import.material.checks import manifest_checks
from bulk_import.settings import Settings

SPECS = ("SYMMETRIC_DEFAULT", "HMAC_256", "RSA_2048", "ECC_NIST_P256")
REGIONS = ("us-east-1", "eu-west-1", "eu-central-1")


def rows(count: int) -> Iterator[dict[str, str]]:
    for n in range(count):
        yield {
            "id": f"key-{n}",
            "account": f"{111_100_000_000 + n % 100}",
            "region": REGIONS[n % 3],
            "key_id": f"alias/app/key-{n}",
            "key_spec": SPECS[n % 4],
            "material": f"file:keys/key-{n}.bin",
            "encoding": "raw",
        }


def write(path: Path, count: int) -> None:
    with path.open("w", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.DictWriter(file, [*next(rows(1)), "role"])
            writer.writeheader()
            writer.writerows(row | {"role": "Importer"} for row in rows(count))
        elif path.suffix == ".jsonl":
            file.writelines(json.dumps(row | {"role": "Importer"}) + "\n" for row in rows(count))
        elif path.suffix == ".json":
            json.dump({"version": 1, "defaults": {"role": "Importer"}, "keys": list(rows(count))}, file)
        else:
            file.write("version: 1\ndefaults: {role: Importer}\nkeys:\n")
            for row in rows(count):
                file.write("  - " + "\n    ".join(f"{name}: {value}" for name, value in row.items()) + "\n")


def measure(path: Path) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    total = load(str(path), now=datetime.now(UTC), checks=manifest_checks(Settings())).total
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    rate = f"{total / cpu:,.0f} rows per CPU second, {memory:,.0f} MB at its peak"
    return f"{path.suffix[1:]:6}{total:>10,} rows  {wall:6.2f} s wall  {cpu:6.2f} s CPU  {rate}"


def main(arguments: list[str]) -> None:
    if arguments and not arguments[0].isdigit():
        print(measure(Path(arguments[0])))  # noqa: T201 - a script's output
        return
    count = int(arguments[0]) if arguments else 100_000
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".csv", ".jsonl", ".json", ".yaml"):
            path = Path(folder) / f"keys{suffix}"
            write(path, count)
            subprocess.run([sys.executable, "-m", "tests.manifest.figures", str(path)], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
