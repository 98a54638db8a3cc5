"""What errors advise people to do: each code has advice, and what it names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulk_import
from bulk_import.cli import COMMANDS
from bulk_import.codes import CODES
from bulk_import.settings import Settings, flag_of

PRODUCT = Path(bulk_import.__file__).parent
FILES = [path for path in sorted(PRODUCT.rglob("*.py")) if "sandbox" not in path.relative_to(PRODUCT).parts[:1]]
# Another program's, one that is named to say that there is none, and what stands for several.
OTHERS = {"--s3-bucket", "--region", "--only"}
TYPER = {"--config", "--help", "--version", "--yes"}
# Their raisers give the advice with them.
WITH_THEIR_OWN = {"OutputNotWritten", "InvalidURI", "TooLarge", "NoSuchKey", "PreconditionFailed"}


def texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def codes(path: Path) -> Iterator[str]:
    """What is raised with `code="…"`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def test_every_code_that_is_raised_has_its_advice() -> None:
    raised = {code for path in FILES for code in codes(path)}
    assert len(raised) > 30
    assert raised - WITH_THEIR_OWN <= CODES.keys()


@pytest.mark.parametrize("code", CODES)
def test_advice_is_whole_sentences(code: str) -> None:
    assert re.fullmatch(r"[A-Z`\-].*[.]", CODES[code].advice)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PRODUCT)))
def test_options_and_commands_that_are_named_exist(path: Path) -> None:
    flags = {flag_of(name) for name in Settings.model_fields} | TYPER | OTHERS
    for text in texts(path):
        assert {flag.rstrip("-") for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)} <= flags, text
        assert set(re.findall(r"`bulk-import ([a-z]+)", text)) <= COMMANDS.keys(), text
