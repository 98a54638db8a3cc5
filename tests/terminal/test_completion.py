"""Shell completion, asked as the shells' own scripts ask."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bulk_import.api import SCHEMAS
from bulk_import.cli import COMMANDS
from tests.e2e.support import Workplace


@pytest.fixture
def offline(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, "")


def bash(work: Workplace, line: str) -> set[str]:
    """What is offered for the last word of the line."""
    words = line.split(" ")
    environment = {"_BULK_IMPORT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = work.call(**environment)
    assert (result.code, result.stderr) == (0, "")
    return set(result.stdout.decode().split())


def test_commands(offline: Workplace) -> None:
    assert bash(offline, "bulk-import ") == set(COMMANDS)
    assert bash(offline, "bulk-import va") == {"validate"}


def test_options_of_the_command(offline: Workplace) -> None:
    assert {"--report", "--render", "--resume", "--require-proof"} <= bash(offline, "bulk-import run --re")
    assert "--render" not in bash(offline, "bulk-import plan --re")


def test_values_of_an_option(offline: Workplace) -> None:
    assert bash(offline, "bulk-import run --prove ") == {"auto", "changed", "all", "none"}
    assert bash(offline, "bulk-import report --format h") == {"html"}
    assert bash(offline, "bulk-import schema ") == set(SCHEMAS)
    assert bash(offline, "bulk-import template jen") == {"jenkins"}


def test_where_a_file_is_wanted_the_shell_takes_over(offline: Workplace) -> None:
    assert bash(offline, "bulk-import run keys") == set()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_what_an_option_does(shell: str, offline: Workplace) -> None:
    result = offline.call(
        _BULK_IMPORT_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="bulk-import run --max-fail",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert result.code == 0
    assert "--max-failures" in result.stdout.decode()
    assert "Start no new target after N have failed." in result.stdout.decode()


def test_the_script_works_in_a_real_bash(offline: Workplace) -> None:
    script = offline.call("--show-completion", "bash", SHELL="/bin/bash").stdout.decode()
    assert "complete -o default -F _bulk_import_completion bulk-import" in script
    (offline.folder / "script").write_text(script)
    program = offline.folder / "bulk-import"
    program.write_text(f'#!/bin/sh\nexec {" ".join(offline.command())} "$@"\n')
    program.chmod(0o755)
    asked = """
        PATH=$PWD:$PATH
        . ./script
        COMP_WORDS=(bulk-import run --pro)
        COMP_CWORD=2
        _bulk_import_completion bulk-import
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], cwd=offline.folder, env=offline.environment(), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["--profile", "--prove", "--prove-use"], done.stderr
