"""KMS's lists come in pages: Limit, Marker, Truncated, NextMarker."""

from __future__ import annotations

from typing import Any

from bulk_import.sandbox.answers import AwsError


def page(name: str, entries: list[dict[str, Any]], params: dict[str, Any], default: int = 100) -> dict[str, Any]:
    """One page of `entries` under `name`. Raises InvalidMarkerException."""
    marker = params.get("Marker", "0")
    if not marker.isdigit() or int(marker) > len(entries):
        raise AwsError("InvalidMarkerException", "Could not deserialize the marker.")
    start, end = int(marker), int(marker) + params.get("Limit", default)
    answer = {name: entries[start:end], "Truncated": end < len(entries)}
    return answer | ({"NextMarker": str(end)} if answer["Truncated"] else {})
