"""One line for each test that a missing tool leaves out; where the tools are needed (in CI), an error.

A pytest plugin (tests/conftest.py names it), because the lines must come from the process that owns the terminal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

import pytest

from tests.formats import chromium
from tests.report import jq
from tests.shards import engines
from tests.sources import components

# The variable that .ci/run sets, so that these tests cannot silently stay away there, and the lines.
NEEDED: Final[dict[str, Callable[[], Iterable[str]]]] = {
    chromium.NEEDED: chromium.left_out,
    jq.NEEDED: jq.left_out,
    engines.NEEDED: engines.left_out,
    components.NEEDED: components.left_out,
}


def pytest_configure() -> None:
    for variable, left_out in NEEDED.items():
        if os.environ.get(variable) and (lines := list(left_out())):
            raise pytest.UsageError(f"{variable} is set. {' '.join(lines)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for left_out in NEEDED.values():
        for line in left_out():
            terminalreporter.write_line(line, yellow=True)
