"""A person at a terminal who is asked for something."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bulk_import.commands import output


def asker() -> Callable[[str], str] | None:
    """Asks on stderr and returns the line that is typed; None where no one can answer."""
    return _ask if sys.stdin.isatty() and sys.stderr.isatty() else None


def _ask(question: str) -> str:
    output.say(question)
    return sys.stdin.readline().strip()
