"""One lane of prepared keys by `submit`, next to the same lane by `run`: what a ceremony gains when time matters."""

from __future__ import annotations

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.bench import harness
from tests.bench.buckets import QUOTAS
from tests.bench.harness import Run, Simulator
from tests.bench.workload import Workload, make

Row = dict[str, Any]
KEYS: Final = 100


def ceremony(*, full: bool) -> list[Row]:
    """All quotas are enforced, and the defaults of the program are in force, in all steps and in the run."""
    keys = 3 * KEYS if full else KEYS
    with tempfile.TemporaryDirectory(prefix="bulk-import-bench-") as folder, ThreadPoolExecutor(1) as pool:
        work = make(Path(folder) / "work", lanes=1, keys=keys)
        waiting = pool.submit(_by_run, work)
        prepared, submitted = _by_ceremony(work)
        run = waiting.result()
    parameters, imports = QUOTAS["GetParametersForImport"], QUOTAS["ImportKeyMaterial"]
    return [
        _row("prepare", keys, (keys - 1) / parameters, prepared.wall, prepared.throttles),
        _row("submit", keys, submitted.floor(imports), submitted.wall, submitted.throttles),
        _row("run", keys, run.floor(parameters), run.wall, run.throttles),
    ]


def _row(by: str, keys: int, floor: float, wall: float, throttled: int) -> Row:
    return {"by": by, "keys": keys, "floor s": floor, "wall s": wall, "wall / floor": wall / floor,
            "throttled": throttled}  # fmt: skip


def _by_run(work: Workload) -> Run:
    with Simulator(workload=work) as server:
        return harness.product(work, server)


def _by_ceremony(work: Workload) -> tuple[Run, Run]:
    """`prepare` and `submit`, each judged by a simulator of its own. Keys are made from names: both have the same."""
    bundle, sealed = work.folder / "bundle.jsonl", work.folder / "sealed.jsonl"
    report = work.folder / "submitted.json"
    with Simulator(workload=work) as server:
        usage = harness.ours(server, "prepare", str(work.manifest), str(bundle))
        prepared = harness.seen(work, usage, server, {})
        harness.ours(server, "seal", str(bundle), str(work.manifest), str(sealed), *_vouched(bundle))
    with Simulator(workload=work) as server:
        command = ("submit", str(bundle), str(sealed), "--report", str(report), *_vouched(bundle, sealed))
        usage = harness.ours(server, *command)
        return prepared, harness.seen(work, usage, server, harness.digest_of(report))


def _vouched(*files: Path) -> list[str]:
    return [text for file in files for text in ("--fingerprint", hashlib.sha256(file.read_bytes()).hexdigest())]
