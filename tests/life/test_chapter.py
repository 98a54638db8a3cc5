"""manifests/LIFE.md, followed to the letter: its manifests, its commands, and what it says comes of each.

Where a step is "N days later", the clocks of the program and of KMS are moved.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import pages
from tests.e2e.support import ACCOUNT, Workplace
from tests.sandbox_client import Sandbox
from tests.sources import components
from tests.sources.tokens import compiled
from tests.test_readme_examples import environment

CHAPTER = pages.page("manifests/LIFE.md")
DAY = 86_400
CODES = {"drift": 11, "empty": 11}  # exit codes that are not 0, by what a step shows


def steps() -> list[tuple[str, pages.Page]]:
    """Titles and texts of the steps."""
    titles = re.findall(r"^## (.+)$", CHAPTER.text, re.MULTILINE)
    return [(title, pages.Page(CHAPTER.path, CHAPTER.section(title))) for title in titles]


def commands(block: pages.Block) -> list[tuple[str, list[str]]]:
    """Each command with the lines that say what comes of it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line.removeprefix("→ "))
    return found


def shown(command: str, stdout: str, folder: Path) -> list[str]:
    """What came of it, as the chapter writes it."""
    if command.startswith(("bulk-import plan", "bulk-import status")):
        rows = [line.split() for line in stdout.splitlines() if f" {ACCOUNT} " in line]
        return [f"{row[3]}: {row[0]}" for row in rows]
    if not command.startswith("bulk-import"):
        return []
    results: list[dict[str, Any]] = json.loads((folder / "report.json").read_bytes())["results"]
    return [
        f"{entry['region']}: {entry['status']}" + (f" ({', '.join(entry['changes'])})" if entry["changes"] else "")
        for entry in results
    ]


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    components.need("a C compiler")
    return compiled(Path(__file__).with_name("clock.c"), tmp_path / "clock.so", "-ldl")


def test_the_chapter_is_followed_to_the_letter(sandbox: Sandbox, work: Workplace, clock: Path) -> None:
    quick = {"BULK_IMPORT_READ_INTERVAL": "20ms", "BULK_IMPORT_QUOTA": "GetParametersForImport=50"}
    ahead, old = 0, b""
    for title, step in steps():
        if later := re.search(r", (\d+) days later$", title):
            ahead += int(later[1]) * DAY
            sandbox.post("clock", advance=int(later[1]) * DAY, skew=ahead)
        for block in step.blocks:
            if block.kind == "manifest":
                (work.folder / "keys.yaml").write_text(block.text)
                continue
            for command, expected in commands(block):
                done = subprocess.run(
                    ["bash", "-c", command], cwd=work.folder, capture_output=True, text=True, check=False,
                    env=work.environment(**environment(), **quick, LD_PRELOAD=str(clock), CLOCK_AHEAD=str(ahead)),
                )  # fmt: skip
                said = f"{title}: {command}\n{done.stderr}"
                assert shown(command, done.stdout, work.folder) == expected, said
                assert done.returncode == max((CODES.get(line.split(": ")[1], 0) for line in expected), default=0), said
        if not old:
            kms = sandbox.client("kms", ACCOUNT, "eu-central-1")
            old = kms.encrypt(KeyId="alias/payments", Plaintext=b"of the first day")["CiphertextBlob"]
    sandbox.post("clock", skew=0)  # for this client, whose clock was never moved
    sandbox.forget_sessions()
    kms = sandbox.client("kms", ACCOUNT, "eu-central-1")
    assert kms.decrypt(CiphertextBlob=old)["Plaintext"] == b"of the first day"


def test_a_clock_that_is_moved_is_seen(clock: Path) -> None:
    """Else the steps that come later would show nothing."""
    text = "import datetime, time; print(int(time.time()), int(datetime.datetime.now().timestamp()))"
    moved, now = (
        subprocess.run(
            [sys.executable, "-c", text], env={"LD_PRELOAD": str(clock), "CLOCK_AHEAD": ahead}, capture_output=True,
            text=True, check=True,
        ).stdout.split()
        for ahead in (str(61 * DAY), "0")
    )  # fmt: skip
    assert all(int(one) - int(other) > 60 * DAY for one, other in zip(moved, now, strict=True))


def test_every_step_of_the_table_has_its_own() -> None:
    assert [title.split(",")[0] for title, _ in steps()] == [
        "1. Create and fill", "2. Check every night", "3. Replicate", "4. Correct", "5. Renew", "6. Rotate",
        "7. Expired", "8. Empty",
    ]  # fmt: skip
