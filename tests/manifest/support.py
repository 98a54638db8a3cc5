"""What the tests of this package share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bulk_import.errors import ManifestError, Problem
from bulk_import.manifest import load
from bulk_import.model import Manifest

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def read(text: str | bytes, fmt: str = "yaml", **options: Any) -> Manifest:
    data = text.encode() if isinstance(text, str) else text
    return load("-", data=data, manifest_format=fmt, now=NOW, **options)


def problems(text: str | bytes, fmt: str = "yaml", **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(ManifestError) as caught:
        read(text, fmt, **options)
    return caught.value.problems
