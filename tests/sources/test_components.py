"""Without a token a run says so in one line; where it is needed it is an error. Neither is ever silent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources import components

COMMAND = [sys.executable, "-m", "pytest", "-n1", "tests/sources/test_page.py", "-p", "no:cacheprovider"]
NAMES = ("SoftHSM 2", "NSS softokn", "openCryptoki", "OpenSC", "a C compiler")


def run_without_tools(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TESTS_NEED_"))}
    quiet = {"TESTS_NEED_CHROMIUM": "", "TESTS_NEED_ENGINES": "", components.NEEDED: ""}
    env = {**kept, **quiet, **more, "PATH": str(folder)}
    return subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_one_line_says_what_was_left_out_and_how_to_get_it(tmp_path: Path) -> None:
    done = run_without_tools(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in NAMES:
        assert done.stdout.count(f" with {name}; ") == 1
    assert "To run them: apt-get install softhsm2." in done.stdout


def test_where_they_are_needed_their_absence_is_an_error(tmp_path: Path) -> None:
    done = run_without_tools(tmp_path, **{components.NEEDED: "1"})
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"{components.NEEDED} is set" in done.stderr
