"""Runs the real command line in a folder of its own, as a pipeline would."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ACCOUNT = "111122223333"
REGION = "us-east-1"
ROLE = "Importer"
# The waits of real life, shortened by the settings that are there for it. What is tested never depends on time.
QUICK = (
    "--quota", "GetParametersForImport=50",
    "--read-interval", "20ms",
    "--consistency-timeout", "0",
    "--retry-timeout", "20",
)  # fmt: skip


def quick(options: Sequence[str]) -> list[str]:
    """QUICK, but for what `options` set themselves: a quota that is given twice is wrong usage."""
    pairs = zip(QUICK[::2], QUICK[1::2], strict=True)
    given = {_what(flag, value) for flag, value in itertools.pairwise(options)}
    return [text for flag, value in pairs if _what(flag, value) not in given for text in (flag, value)]


def _what(flag: str, value: str) -> str:
    return f"{flag} {value.partition('=')[0]}" if flag == "--quota" else flag


@dataclass
class Result:
    """What a finished process left."""

    code: int
    stdout: bytes
    stderr: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "report.json").read_bytes())

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """The report's results by id; by id@account/region where one id has several."""
        results = self.report["results"]
        ids = [entry["id"] for entry in results]
        return {
            entry["id"] if ids.count(entry["id"]) == 1 else f"{entry['id']}@{entry['account']}/{entry['region']}": entry
            for entry in results
        }


class Workplace:
    """A folder with a manifest and materials, and an endpoint to talk to.

    `forks`: a tests.faults.forks.Forks (conftest.py sets it): Python's start is most of the CPU of a small run.
    """

    forks: Any = None

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.keys: list[dict[str, Any]] = []
        self.accounts: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {"role": ROLE}

    def key(self, key_id: str, material: bytes, *, name: str, **fields: Any) -> None:
        """Adds a key to the manifest, and its material to the folder."""
        (self.folder / f"{name}.key").write_bytes(material)
        (self.folder / f"{name}.key").chmod(0o600)
        self.keys.append(
            {"id": name, "account": ACCOUNT, "region": REGION, "key_id": key_id, "material": f"file:{name}.key",
             "encoding": "raw", **fields}
        )  # fmt: skip

    def write(self, name: str = "manifest.json") -> Path:
        document = {"version": 1, "defaults": self.defaults, "accounts": self.accounts, "keys": self.keys}
        path = self.folder / name
        path.write_text(json.dumps({key: value for key, value in document.items() if value}))
        return path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "bulk_import", *arguments]

    def environment(self, **extra: str) -> dict[str, str]:
        """`None` removes nothing: tests run with the hermetic environment of conftest.py."""
        return {**os.environ, "BULK_IMPORT_ENDPOINT_URL": self.url, "PYTHONWARNINGS": "error", **extra}

    def call(self, *arguments: str, stdin: bytes | None = None, **environment: str) -> Result:
        """Any command, to the end: in a child of a process that has imported the program, where that is the same."""
        plain = type(self).command is Workplace.command
        if stdin is None and plain and self.forks is not None:
            result = self.forks.try_run(self.folder, self.environment(**environment), arguments)
            if result is not None:
                return result
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment(**environment), input=stdin,
            capture_output=True, timeout=100, check=False,
        )  # fmt: skip
        stderr = done.stderr.decode()
        assert "Traceback" not in stderr, stderr
        return Result(done.returncode, done.stdout, stderr, self.folder)

    def run(self, *options: str, **environment: str) -> Result:
        """`run` of the manifest as it is now."""
        self.write()
        return self.call("run", "manifest.json", *quick(options), *options, **environment)

    def start(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """`run` in the background; end it with `finish`."""
        self.write()
        return subprocess.Popen(
            self.command("run", "manifest.json", *quick(options), *options), cwd=self.folder,
            env=self.environment(**environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[bytes], *signals: signal.Signals) -> Result:
        for number in signals:
            process.send_signal(number)
        stdout, stderr = process.communicate(timeout=100)
        assert "Traceback" not in stderr.decode(), stderr.decode()
        return Result(process.returncode, stdout, stderr.decode(), self.folder)
