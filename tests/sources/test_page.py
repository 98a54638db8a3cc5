"""The page of sources says what the registry says."""

from __future__ import annotations

from bulk_import.material.sources import KINDS
from tests.sources import page


def test_the_table_is_the_registry() -> None:
    text = page.PAGE.read_text("utf-8")
    assert text == page.written(text), "python -m tests.sources.page"


def test_every_source_but_the_plain_ones_has_a_section() -> None:
    text = page.PAGE.read_text("utf-8")
    for kind in KINDS.values():
        if kind.scheme not in ("file", "env"):
            [heading] = [line for line in text.splitlines() if line.startswith("## ") and f"`{kind.scheme}:" in line]
            assert heading
