"""Reports as runs and shards make them, and workplaces whose commands start quickly."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Result, Workplace
from tests.faults.forks import Forks
from tests.formats.make_report import make_report
from tests.sandbox_client import Sandbox

Document = dict[str, Any]


class Quick(Workplace):
    """Its commands run in processes that need no time to start."""

    forks: Forks

    def call(self, *arguments: str, stdin: bytes | None = None, **environment: str) -> Result:
        assert stdin is None
        return self.forks.run(self.folder, self.environment(**environment), list(arguments))


@pytest.fixture
def offline(tmp_path: Path, forks: Forks) -> Workplace:
    work = Quick(tmp_path, "http://127.0.0.1:9")
    work.forks = forks
    return work


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path, forks: Forks) -> Workplace:
    work = Quick(tmp_path, sandbox.url)
    work.forks = forks
    return work


def good(n: int = 12) -> Document:
    """A report of a run that succeeded."""
    report = make_report(n, lanes=3)
    for result in report["results"]:
        result |= {"status": "imported", "changed": True, "error": None}
        result["verification"] = result["verification"] or {
            "verified": True, "reads": 3, "consecutive": 3, "duration_seconds": 4.0, "proof": "hmac",
            "round_trip": None, "detail": "",
        }  # fmt: skip
    report["summary"] |= {"imported": n, "reimported": 0, "unchanged": 0, "failed": 0, "not_attempted": 0}
    report["run"] |= {"outcome": "succeeded", "exit_code": 0}
    return report


def shards(of: int = 3) -> list[Document]:
    full, made = good(), []
    for number in range(of):
        one = copy.deepcopy(full)
        one["lanes"] = one["lanes"][number::of]
        mine = {(lane["account"], lane["region"]) for lane in one["lanes"]}
        one["results"] = [r for r in one["results"] if (r["account"], r["region"]) in mine]
        one["run"] |= {"run_id": f"run-{number}", "shard": f"{number + 1}/{of}"}
        made.append(one)
    return made


def report(work: Workplace, documents: list[Document], *options: str) -> Result:
    names = [f"part-{number}.json" for number in range(len(documents))]
    for name, document in zip(names, documents, strict=True):
        (work.folder / name).write_text(json.dumps(document))
    return work.call("report", *names, *options)


RENDERED = {
    "junit": "junit.xml",
    "html": "report.html",
    "csv": "report.csv",
    "markdown": "report.md",
    "github": "a.txt",
}
ASKED = [word for form, name in RENDERED.items() for word in ("--render", f"{form}={name}")]
