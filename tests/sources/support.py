"""Manifests whose material comes from a source under test."""

from __future__ import annotations

from typing import Any

from tests.e2e.support import ACCOUNT, REGION, Workplace


def add(work: Workplace, uri: str, key_id: str = "alias/one", *, name: str = "one", **fields: Any) -> None:
    """Adds a key to the manifest whose material is `uri`."""
    work.keys.append(
        {"id": name, "account": ACCOUNT, "region": REGION, "key_id": key_id, "material": uri} | fields
    )  # fmt: skip
