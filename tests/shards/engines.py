"""Which engines for shards are on this machine, and one line for each that is not.

A pytest plugin (tests/conftest.py names it), because the line must come from the process that owns the terminal.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.shards import slurm

NEEDED: Final = "TESTS_NEED_ENGINES"  # CI sets it, so that these tests cannot silently stay away there
LEFT_OUT: Final = (
    "Left out: tests/shards/test_slurm.py (an array on a real Slurm); {missing} not found. "
    "To run it: apt-get install slurm-wlm munge."
)


def pytest_configure() -> None:
    if os.environ.get(NEEDED) and slurm.missing():
        raise pytest.UsageError(f"{NEEDED} is set, but there is no {', '.join(slurm.missing())}.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if missing := slurm.missing():
        terminalreporter.write_line(LEFT_OUT.format(missing=", ".join(missing)), yellow=True)
