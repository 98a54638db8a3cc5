"""Without a browser a run says so in one line; where one is needed it is an error. Neither is ever silent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.formats import chromium

COMMAND = [sys.executable, "-m", "pytest", "-n1", "tests/formats", "-k", "unknown_format", "-p", "no:cacheprovider"]


def run_without_browser(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TESTS_NEED_"))}
    env = {**kept, **more, "PATH": str(folder)}
    return subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_one_line_says_what_was_left_out_and_how_to_get_it(tmp_path: Path) -> None:
    done = run_without_browser(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(chromium.LEFT_OUT) == 1
    assert "skipped" not in done.stdout


def test_where_a_browser_is_needed_its_absence_is_an_error(tmp_path: Path) -> None:
    done = run_without_browser(tmp_path, **{chromium.NEEDED: "1"})
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert chromium.NEEDED in done.stderr
