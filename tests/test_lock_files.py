"""The lock files: the small one is what a production machine installs, and both name the same versions with hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PINNED = re.compile(r"^([a-z0-9.-]+)(?:\[[a-z,-]+\])?==([^ ;]+)[^\n]*\\\n    --hash=sha256:[0-9a-f]{64}", re.MULTILINE)


def pinned(name: str) -> dict[str, str]:
    """Package → version, of those that have a hash."""
    text = (ROOT / name).read_text("utf-8")
    found = dict(_PINNED.findall(text))
    assert len(found) == len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE)), "a package without a hash"
    return found


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~!; ]", text, maxsplit=1)[0].lower().replace("_", "-") for text in requirements}


def test_the_small_lock_file_has_what_the_product_needs_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    small = pinned("requirements.txt")
    assert named(project["dependencies"]) <= small.keys()
    extras = {name for extra in project["optional-dependencies"].values() for name in named(extra)}
    assert not small.keys() & (extras - named(project["dependencies"]))


def test_both_lock_files_name_the_same_versions() -> None:
    large = pinned("requirements-dev.txt")
    assert pinned("requirements.txt").items() <= large.items()
