"""The lock files: the small one is what a production machine installs, and both name the same versions with hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PINNED = re.compile(r"^([a-z0-9.-]+)(?:\[[a-z,-]+\])?==([^ ;]+)[^\n]*\\\n    --hash=sha256:[0-9a-f]{64}", re.MULTILINE)


def pinned(name: str) -> set[tuple[str, str]]:
    """(package, version) of those that have a hash. Two Pythons may need two versions of one package."""
    text = (ROOT / name).read_text("utf-8")
    found: list[tuple[str, str]] = _PINNED.findall(text)
    assert len(found) == len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE)), "a package without a hash"
    return set(found)


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~!; ]", text, maxsplit=1)[0].lower().replace("_", "-") for text in requirements}


def test_the_small_lock_file_has_what_the_product_needs_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    small = {package for package, _ in pinned("requirements.txt")}
    assert named(project["dependencies"]) <= small
    extras = {name for extra in project["optional-dependencies"].values() for name in named(extra)}
    assert not small & (extras - named(project["dependencies"]))


def test_both_lock_files_name_the_same_versions() -> None:
    assert pinned("requirements.txt") <= pinned("requirements-dev.txt")
