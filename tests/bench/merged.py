"""The reports of a hundred shards as one: what merging and each rendering cost, and that a browser opens the page.

`python -m tests.bench.merged FOLDER` writes the reports.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
from playwright.sync_api import expect, sync_playwright

from bulk_import.report.document import gathered_chunks
from tests.bench import harness
from tests.bench.harness import PYTHON, RunFailedError
from tests.formats import chromium
from tests.formats.make_report import make_report

Row = dict[str, Any]
SHARDS: Final = 100
LANES: Final = 1_000
TARGETS: Final = 100_000
PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")
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
    """Until the page's script has run; nothing where there is no browser, or no /proc to read its memory from.

    The memory is that of the largest process of Chromium, which is the page's. `--dump-dom` is no measure of it: the
    browser's own process then takes 950 MB to pass the document on.
    """
    browser = chromium.find()
    if browser is None or not Path("/proc/self/status").exists():
        return
    with tempfile.TemporaryDirectory(prefix="bulk-import-bench-") as home, sync_playwright() as driver:
        started = driver.chromium.launch_persistent_context(home, executable_path=browser, args=chromium.FLAGS)
        began = time.perf_counter()
        tab = started.new_page()
        tab.goto(page.as_uri(), timeout=60_000)
        expect(tab.locator("#found")).to_have_text(f"{TARGETS:,} targets", timeout=60_000)
        wall = time.perf_counter() - began
        peak = max(_peaks(home))
        started.close()
    yield {"what": "html in Chromium", "targets": TARGETS, "wall s": wall, "peak MB": peak, "MB written": 0.0}


def _peaks(home: str) -> Iterator[float]:
    """The most memory that each process with this folder in its command has had, in MB."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if home.encode() in (process / "cmdline").read_bytes():
                yield from (int(kilobytes) / 1024 for kilobytes in PEAK.findall((process / "status").read_text()))


if __name__ == "__main__":
    make_shards(Path(sys.argv[1]))
