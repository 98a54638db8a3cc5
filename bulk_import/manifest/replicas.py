"""`replicas`: related keys of one multi-Region key, each a target of its own.

https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bulk_import.manifest.fields import uses
from bulk_import.manifest.problems import Loc
from bulk_import.model import Lane

_SINGLE_REGION = re.compile(r"(?:arn:[^/]*:key/)?[0-9a-fA-F]{8}-.*")


def mistakes(
    regions: Sequence[str], replicas: Sequence[str], settings: Mapping[str, Any]
) -> Iterator[tuple[Loc, str, str]]:
    """What contradicts `replicas`: where, what, and what to do. `regions`: of primaries; `settings`: inherited too."""
    if len(regions) > 1:
        message = "cannot be combined with several Regions: a multi-Region key has one primary"
        yield ("replicas",), message, "Specify the primary's Region in `region`."
    elif regions and regions[0] in replicas:
        yield ("replicas",), f"names {regions[0]}, which is the primary's own Region", "Name the other Regions only."
    if uses(settings.get("material") or "", "region"):
        message = "uses {region}, but a primary and its replicas hold the same material"
        yield ("material",), message, "Remove the placeholder, or remove `replicas`."
    if _SINGLE_REGION.fullmatch(settings.get("key_id") or ""):
        message = "is the ID of a single-Region key, which has no replicas"
        yield ("key_id",), message, "Name the multi-Region key (mrk-…), or remove `replicas`."
    for at, entry in enumerate(settings.get("materials") or ()):
        if uses(entry.get("material") or "", "region"):
            message = "uses {region}, but a primary and its replicas hold the same materials"
            yield ("materials", at, "material"), message, "Remove the placeholder, or remove `replicas`."
    if (settings.get("create") or {}).get("multi_region") is False:
        yield ("create", "multi_region"), "is false, but the key has replicas", "Leave it out: `replicas` implies true."


def in_region(key_id: str, lane: Lane) -> str:
    """A key_id for another Region's related key: an ARN gets that Region, anything else stays."""
    if not key_id.startswith("arn:"):
        return key_id
    parts = key_id.split(":", 5)
    return ":".join((*parts[:3], lane.region, *parts[4:]))
