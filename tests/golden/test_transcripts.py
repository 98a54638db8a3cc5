"""The important messages, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import transcripts
from tests.sandbox_client import Sandbox


@pytest.mark.parametrize("name", transcripts.TRANSCRIPTS)
def test_what_is_said(name: str, sandbox: Sandbox, tmp_path: Path) -> None:
    kept = (transcripts.HERE / f"{name}.txt").read_text("utf-8")
    assert transcripts.take(name, sandbox, tmp_path) == kept, "if wanted: python -m tests.golden.transcripts"


def test_no_transcript_is_left_over() -> None:
    assert {path.stem for path in transcripts.HERE.glob("*.txt")} == transcripts.TRANSCRIPTS.keys()
