"""The reports of a hundred shards as one: what merging and each rendering cost, and that a browser opens the page.

`python -m tests.bench.merged FOLDER` writes the reports.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from bulk_import.report.document import gathered_chunks
from tests.bench import harness
from tests.bench.harness import PYTHON, RunFailedError
from tests.formats import chromium
from tests.formats.make_report import make_report

Row = dict[str, Any]
SHARDS: Final = 100
LANES: Final = 1_000
TARGETS: Final = 100_000
FORMATS: Final = ("json", "html", "junit", "markdown")


def merged(*, full: bool) -> list[Row]:
    """100 shards, 100,000 targets: the merge as JSON, then each rendering of the merged report."""
    del full
    with tempfile.TemporaryDirectory(prefix="bulk-import-bench-") as folder:
        # By a process of its own: Linux counts this one's memory to the children that it starts afterwards.
        made = harness.run([PYTHON, "-m", "tests.bench.merged", folder], os.environ)
        if made.exit_code:
            raise RunFailedError(made.stderr)
        parts = [Path(folder, f"{number}.json") for number in range(SHARDS)]
        whole = Path(folder) / "report.json"
        rows = [_row("json", whole, [str(part) for part in parts])]
        rows += [_row(name, Path(folder) / f"out.{name}", [str(whole)]) for name in FORMATS[1:]]
        return [*rows, *_opened(Path(folder) / "out.html")]


def make_shards(folder: Path) -> None:
    """Each lane with all its targets in one shard, as `--shard` divides them."""
    document = make_report(TARGETS, lanes=LANES)
    document["run"] |= {"stopped_by": [], "error": None}
    lanes = [(lane["account"], lane["region"]) for lane in document["lanes"]]
    home = {lane: number % SHARDS for number, lane in enumerate(lanes)}
    results: list[list[Row]] = [[] for _ in range(SHARDS)]
    for result in document["results"]:
        results[home[result["account"], result["region"]]].append(result)
    for number, mine in enumerate(results):
        one = {**document, "lanes": document["lanes"][number::SHARDS], "results": mine}
        one["run"] = document["run"] | {"run_id": f"run-{number}", "shard": f"{number + 1}/{SHARDS}"}
        head = {name: value for name, value in one.items() if name != "results"}
        (folder / f"{number}.json").write_bytes(b"".join(gathered_chunks(head, map(orjson.dumps, mine))))


def _row(form: str, output: Path, inputs: list[str]) -> Row:
    command = [PYTHON, "-m", "bulk_import", "report", *inputs, "--format", form, "--output", str(output)]
    usage = harness.run(command, harness.environment("http://127.0.0.1:9"))
    if usage.exit_code != 4:  # some of its targets failed
        raise RunFailedError(f"exit code {usage.exit_code}: {form}\n{usage.stderr[-2000:]}")
    return {"what": form, "targets": TARGETS, "wall s": usage.wall, "peak MB": usage.peak_mb,
            "MB written": output.stat().st_size / 2**20}  # fmt: skip


def _opened(page: Path) -> Iterator[Row]:
    """Until the page's script has run; nothing where there is no browser."""
    browser = chromium.find()
    if browser is None:
        return
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom")
    with tempfile.TemporaryDirectory(prefix="bulk-import-bench-") as home:
        usage = harness.run([browser, *options, f"--user-data-dir={home}", page.as_uri()], os.environ)
    if usage.exit_code or b"<table" not in usage.stdout:
        raise RunFailedError(f"exit code {usage.exit_code}: {usage.command}\n{usage.stderr[-2000:]}")
    yield {"what": "html in Chromium", "targets": TARGETS, "wall s": usage.wall, "peak MB": usage.peak_mb,
           "MB written": len(usage.stdout) / 2**20}  # fmt: skip


if __name__ == "__main__":
    make_shards(Path(sys.argv[1]))
