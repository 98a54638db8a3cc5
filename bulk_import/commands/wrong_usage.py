"""A command that wrong settings or wrong usage end: no older result may be taken for its own.

Commands that write results have a function `refused`, which gets the settings that say where they would be.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from bulk_import.errors import SettingsError


def clear(module: ModuleType, flags: Mapping[str, Any], config: str | None) -> None:
    """`flags`: those that were given, by setting; for `report` also its inputs. Raises SettingsError."""
    from bulk_import import settings  # noqa: PLC0415 - pydantic is loaded only by a command that needs it

    if refused := getattr(module, "refused", None):
        refused(flags, settings.places(flags, config))


def clear_by(module: ModuleType, argv: Sequence[str]) -> None:
    """Where the command line cannot be read (an unknown option, an argument too few): what is clear of it counts."""
    given: dict[str, list[str]] = {}
    for word, following in zip(argv[1:], [*argv[2:], ""], strict=False):
        name, equals, value = word.partition("=")
        given.setdefault(name, []).append(value if equals else following)
    flags: dict[str, Any] = {"dry_run": True} if "--dry-run" in given else {}
    for name in ("report", "output", "format", "out"):
        if f"--{name}" in given:
            flags[name] = given[f"--{name}"][-1]
    before = itertools.pairwise(argv)
    flags["reports"] = [word for option, word in before if not word.startswith("-") and option != "--output"]
    if "--render" in given:
        flags["render"] = given["--render"]
    try:
        clear(module, flags, given.get("--config", [None])[-1])
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")  # and then the usage is explained
