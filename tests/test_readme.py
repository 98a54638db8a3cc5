"""The README says what the program does."""

from __future__ import annotations

import pytest

from bulk_import.cli import COMMANDS
from tests import readme_tables

TEXT = readme_tables.README.read_text("utf-8")
BLOCKS = {name: table for _, name, table, _ in readme_tables.BLOCK.findall(TEXT)}


def test_every_table_is_of_a_command() -> None:
    assert BLOCKS.keys() <= COMMANDS.keys()


@pytest.mark.parametrize("command", BLOCKS)
def test_the_option_table_is_what_help_says(command: str) -> None:
    assert BLOCKS[command] == readme_tables.table(command), "run: python -m tests.readme_tables"


def test_every_block_is_closed() -> None:
    assert TEXT.count("<!-- options:") == TEXT.count("<!-- /options -->") == len(BLOCKS)
