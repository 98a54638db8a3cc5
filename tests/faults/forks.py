"""The real command line in a process of its own, without the time that Python takes to start: one that has imported
everything forks a child for each run. And the child can kill itself at a chosen event of its journal.

`python -m tests.faults.forks` is the server: a JSON line in for each run, its process ID and then its end out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e.support import Result

NEVER_REACHED = 99  # the exit code of a run that did not come to the function that was broken
ROOT = Path(__file__).parents[2]
STREAMS = ("stdout", "stderr")
# What Python or a library reads when it starts, so that only a new process has it.
READ_AT_START = ("PYTHON", "LD_", "LANG", "LC_", "TZ", "TERM", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS")


@dataclass(frozen=True, slots=True)
class Kill:
    """Where a run kills itself: at an event of its journal, or at a line of a file of a ceremony (`lines`).

    before: what the event reports has happened, and the event is not written yet; torn: half of its line reached the
    disk; after: the event is on disk, and nothing that follows it has happened.
    """

    seq: int
    how: str
    what: str = "journal"


class Forks:
    """A context manager. One run at a time."""

    def __enter__(self) -> Self:
        self._environment = dict(os.environ)
        self._busy = threading.Lock()
        self._started: subprocess.Popen[str] | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started is None:
            return
        assert self._started.stdin is not None
        assert self._started.stdout is not None
        self._started.stdin.close()
        self._started.wait(100)
        self._started.stdout.close()

    @property
    def _server(self) -> subprocess.Popen[str]:
        if self._started is None:
            self._started = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
                env=self._environment | {"PYTHONWARNINGS": "error"}, text=True,
            )  # fmt: skip
        return self._started

    def try_run(self, folder: Path, environment: Mapping[str, str], arguments: Sequence[str]) -> Result | None:
        """None: this run needs a process that starts from nothing."""
        known = {**self._environment, "PYTHONWARNINGS": "error"}
        differing = {name for name in known.keys() | environment.keys() if known.get(name) != environment.get(name)}
        if any(name.startswith(READ_AT_START) for name in differing) or not self._busy.acquire(blocking=False):
            return None
        try:
            return self.run(folder, environment, arguments)
        finally:
            self._busy.release()

    def run(
        self, folder: Path, environment: Mapping[str, str], arguments: Sequence[str], *, kill: Kill | None = None,
        broken: tuple[str, str] | None = None, meanwhile: Callable[[int], None] = lambda _: None,
    ) -> Result:  # fmt: skip
        """Waits for its end; a negative code is a signal's.

        `broken`: a function of the program (`module:qualified.name`) that `raises`, or does `nothing`, each time that
        it is called; `meanwhile` is given the process ID.
        """
        with tempfile.TemporaryDirectory(prefix="forks-") as streams:
            job = {"folder": str(folder), "environment": dict(environment), "arguments": list(arguments),
                   "streams": streams, "kill": [kill.seq, kill.how, kill.what] if kill else None,
                   "broken": broken}  # fmt: skip
            assert self._server.stdin is not None
            self._server.stdin.write(json.dumps(job) + "\n")
            self._server.stdin.flush()
            meanwhile(self._answer()["pid"])
            code = self._answer()["code"]
            stdout, stderr = (Path(streams, name).read_bytes() for name in STREAMS)
        assert b"Traceback" not in stderr, stderr.decode()
        return Result(code, stdout, stderr.decode(), folder)

    def _answer(self) -> Any:
        assert self._server.stdout is not None
        return json.loads(self._server.stdout.readline())


def serve() -> None:
    from bulk_import import cli  # noqa: F401, PLC0415 - imported here so that every child has it
    from bulk_import.commands import run  # noqa: F401, PLC0415 - see above

    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if not pid:
            child(job)
        print(json.dumps({"pid": pid}), flush=True)  # noqa: T201 - the answer
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)  # noqa: T201 - the answer


def child(job: dict[str, Any]) -> None:
    from bulk_import import cli, process  # noqa: PLC0415 - see above

    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    for descriptor, name in enumerate(STREAMS, 1):
        os.dup2(os.open(os.path.join(job["streams"], name), os.O_WRONLY | os.O_CREAT), descriptor)  # noqa: PTH118 - quick
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    process.begin()
    if job["kill"]:
        seq, how, what = job["kill"]
        (arm_lines if what == "lines" else arm)(seq, how)
    reached = break_it(*job["broken"]) if job["broken"] else [True]
    code = 1
    try:
        code = cli.main(job["arguments"])
        code = code if reached else NEVER_REACHED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def break_it(where: str, how: str) -> list[bool]:
    """From here on that function is defective. The list stays empty until it is called."""
    import importlib  # noqa: PLC0415 - see above
    import inspect  # noqa: PLC0415 - see above

    module, _, name = where.partition(":")
    *path, last = name.split(".")
    owner: Any = importlib.import_module(module)
    for part in path:
        owner = getattr(owner, part)

    reached: list[bool] = []

    def broken(*_: Any, **__: Any) -> None:
        reached.append(True)
        if how == "raises":
            raise RuntimeError("a defect")

    async def broken_later(*_: Any, **__: Any) -> None:
        broken()

    setattr(owner, last, broken_later if inspect.iscoroutinefunction(getattr(owner, last)) else broken)
    return reached


def arm(seq: int, how: str) -> None:
    """From here on the journal kills the process at event `seq`."""
    import orjson  # noqa: PLC0415 - see above

    from bulk_import.files import write_all  # noqa: PLC0415 - see above
    from bulk_import.journal.writer import Journal  # noqa: PLC0415 - see above

    to_kernel = Journal._to_kernel  # noqa: SLF001 - the seam: the one place through which lines go to the disk

    def to_kernel_or_death(journal: Journal) -> None:
        lines = journal._lines  # noqa: SLF001 - see above
        for position in range(len(lines)):
            if orjson.loads(lines[position])["seq"] == seq:
                data = b"".join(lines[number] for number in range(position + (how == "after")))
                if how == "torn":
                    data += lines[position][: len(lines[position]) // 2]
                write_all(journal._descriptor, data)  # noqa: SLF001 - see above
                os.kill(os.getpid(), signal.SIGKILL)
        to_kernel(journal)

    Journal._to_kernel = to_kernel_or_death  # type: ignore[method-assign]  # noqa: SLF001 - see above


def arm_lines(number: int, how: str) -> None:
    """From here on the process is killed at line `number` of the bundle or sealed file that it writes."""
    from bulk_import.ceremony.lines import LineWriter, encode  # noqa: PLC0415 - see above
    from bulk_import.files import write_all  # noqa: PLC0415 - see above

    write = LineWriter.write

    def write_or_death(writer: LineWriter, members: dict[str, Any]) -> None:
        if writer._line + 1 == number:  # noqa: SLF001 - the seam: the one place through which lines go to the disk
            data, _ = encode(number, writer._after, members)  # noqa: SLF001 - see above
            length = {"before": 0, "torn": len(data) // 2, "after": len(data)}[how]
            write_all(writer._descriptor, data[:length])  # noqa: SLF001 - see above
            os.kill(os.getpid(), signal.SIGKILL)
        write(writer, members)

    LineWriter.write = write_or_death  # type: ignore[method-assign]  # see above


if __name__ == "__main__":
    serve()
