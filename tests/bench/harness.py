"""Starts simulators and clients as processes of their own, and measures what each used."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from tests.bench.workload import Workload

ROOT = Path(__file__).parents[2]
AWSCLI = Path(sys.prefix) / "awscli" / "bin"
PYTHON = sys.executable
SAMPLE = 0.5  # seconds between looks at a child's memory
# A ratio of two processor times comes from so many measurements of each, made in turn: on a machine that others share,
# two measurements within a minute differ by a sixth.
ROUNDS = 3
ROUNDS_OF_CPU = 5  # the least of them is taken, and one row differs from the next by a tenth
# Quotas of the client far above what a core can make: what is left is its own work.
LIFTED = ("GetParametersForImport", "ImportKeyMaterial", "DescribeKey", "ListKeyRotations", "GenerateMac")


def environment(endpoint: str) -> dict[str, str]:
    """Made-up credentials and nothing of this machine's AWS set-up."""
    return {
        "PATH": f"{AWSCLI}:{os.environ['PATH']}",
        "HOME": tempfile.gettempdir(),
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@dataclass(frozen=True, slots=True)
class Usage:
    """What a finished process took. `peak_mb`: the most memory; `memory_mb`: resident size, sampled over its life."""

    command: str
    exit_code: int
    wall: float
    cpu: float
    peak_mb: float
    memory_mb: list[float]
    stdout: bytes = field(repr=False)
    stderr: str = field(repr=False)

    def memory_at(self, share: float) -> float:
        """Resident size at a share (0 to 1) of the process's life."""
        return self.memory_mb[min(len(self.memory_mb) - 1, int(share * len(self.memory_mb)))] if self.memory_mb else 0


def run(command: Sequence[str], env: Mapping[str, str]) -> Usage:
    """Runs a command to the end, from the top of the repository."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        child = subprocess.Popen(command, env=dict(env), stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=ROOT)
        ended, sizes = threading.Event(), []
        sampler = threading.Thread(target=_sample, args=(child.pid, ended, sizes), daemon=True)
        sampler.start()
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        sampler.join()
        out.seek(0)
        err.seek(0)
        return Usage(
            command=" ".join(map(str, command)),
            exit_code=child.returncode,
            wall=wall,
            cpu=used.ru_utime + used.ru_stime,
            peak_mb=used.ru_maxrss / 1024,
            memory_mb=sizes,
            stdout=out.read(),
            stderr=err.read().decode(errors="replace"),
        )


def _sample(pid: int, ended: threading.Event, sizes: list[float]) -> None:
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    while not ended.wait(SAMPLE):
        try:
            sizes.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page)
        except (OSError, IndexError):  # it ended meanwhile, or this system has no /proc
            return


class Simulator:
    """A simulator process; a context manager that stops it."""

    def __init__(self, *options: str, workload: Workload | None = None) -> None:
        told = ["--hmac-material", str(workload.hmac_material)] if workload else []
        command = [PYTHON, "-m", "tests.bench.simulator", *told, *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        if self._process.stdout is None:
            raise RuntimeError("no stdout")
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/stats") as answer:  # noqa: S310 - our own loopback URL
            stats: dict[str, Any] = orjson.loads(answer.read())
        return stats


@dataclass(frozen=True, slots=True)
class Run:
    """One client's run: what it took, what the simulator saw, and, for ours, what the report says."""

    workload: Workload
    usage: Usage
    calls: int
    throttles: int
    server_cpu: float
    peak_connections: int
    report: dict[str, Any]  # tests/bench/digest.py; for a baseline, what it printed

    @property
    def wall(self) -> float:
        """Seconds of work, without the start of the process if the client reports it."""
        return float(self.report.get("wall", self.usage.wall))

    @property
    def throttled_share(self) -> float:
        return self.throttles / self.calls if self.calls else 0

    def floor(self, rate: float, *, reads: int = 3, interval: float = 2) -> float:
        """Seconds that quota and verification window cost at the least: the issue's quota floor."""
        return (self.workload.keys - 1) / rate + (reads - 1) * interval


class RunFailedError(RuntimeError):
    """A client did not do its work, so that its figures mean nothing."""


def product(
    workload: Workload, simulator: Simulator, *, quotas: Mapping[str, float] | None = None, name: str = "report",
    shard: str | None = None,
) -> Run:  # fmt: skip
    """Our own `run` with its defaults. `quotas`: the values of --quota. Raises RunFailedError."""
    report = workload.folder / f"{name}.json"
    options = [f"--quota={operation}={rate:g}" for operation, rate in (quotas or {}).items()]
    options += ["--shard", shard] if shard else []
    usage = ours(simulator, "run", str(workload.manifest), "--report", str(report), *options)
    return seen(workload, usage, simulator, digest_of(report))


def ours(simulator: Simulator, *arguments: str) -> Usage:
    """A command of ours, to its end. Raises RunFailedError."""
    command = [PYTHON, "-m", "bulk_import", *arguments, "--quiet"]
    # The simulator's address is in the environment: `seal` takes no --endpoint-url, for it calls nothing.
    usage = run(command, environment(simulator.url))
    if usage.exit_code:
        raise RunFailedError(f"exit code {usage.exit_code}: {usage.command}\n{usage.stderr[-2000:]}")
    return usage


def digest_of(report: Path) -> dict[str, Any]:
    """Raises RunFailedError."""
    told = run([PYTHON, "-m", "tests.bench.digest", str(report)], os.environ)
    if told.exit_code:
        raise RunFailedError(told.stderr)
    found: dict[str, Any] = orjson.loads(told.stdout)
    return found


def baseline(workload: Workload, simulator: Simulator, which: str) -> Run:
    """`cli_loop`, `boto3_pool` or `aioboto3_script`. Raises RunFailedError."""
    if which == "cli_loop":
        script = Path(__file__).parent / "baselines" / "cli_loop.sh"
        command = ["bash", str(script), str(workload.manifest.with_suffix(".tsv"))]
    else:
        command = [PYTHON, "-m", f"tests.bench.baselines.{which}", str(workload.manifest)]
    usage = run(command, environment(simulator.url))
    if usage.exit_code:
        raise RunFailedError(f"exit code {usage.exit_code}: {usage.command}\n{usage.stderr[-2000:]}")
    return seen(workload, usage, simulator, orjson.loads(usage.stdout or b"{}"))


def seen(workload: Workload, usage: Usage, simulator: Simulator, report: dict[str, Any]) -> Run:
    """What the simulator has seen until now, with what the client took."""
    stats = simulator.stats()
    return Run(
        workload=workload,
        usage=usage,
        calls=stats["total_calls"],
        throttles=stats["total_throttles"],
        server_cpu=stats["cpu_seconds"],
        peak_connections=stats["peak_connections"],
        report=report,
    )
