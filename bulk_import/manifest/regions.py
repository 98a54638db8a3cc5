"""Regions and partitions, recognised by name: no network is needed, and new Regions are known.

A Region is a prefix that belongs to one partition, a direction, and a number. A typing error such as `us-esat-1`
fits no direction and is refused. https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html
"""

from __future__ import annotations

import re
from functools import lru_cache

from bulk_import.manifest.meant import meant
from bulk_import.manifest.problems import nearest

_PARTITION_OF_PREFIX = {
    **dict.fromkeys(("us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx"), "aws"),
    "cn": "aws-cn",
    "us-gov": "aws-us-gov",
    "us-iso": "aws-iso",
    "us-isob": "aws-iso-b",
    "eu-isoe": "aws-iso-e",
    "us-isof": "aws-iso-f",
    "eusc-de": "aws-eusc",
}
_DIRECTIONS = ("central", "north", "south", "east", "west", "northeast", "northwest", "southeast", "southwest")
_REGION = re.compile(rf"({'|'.join(_PARTITION_OF_PREFIX)})-(?:{'|'.join(_DIRECTIONS)})-[1-9]")
_SHAPE = re.compile(r"([a-z]+(?:-[a-z]+)?)-([a-z]+)-?([1-9])[a-z]?", re.IGNORECASE)

PARTITIONS = frozenset(_PARTITION_OF_PREFIX.values())


@lru_cache(maxsize=1024)
def partition_of(region: str) -> str | None:
    """The partition of a Region's name; None where it is no Region's name."""
    match = _REGION.fullmatch(region)
    return _PARTITION_OF_PREFIX[match[1]] if match else None


def region_advice(text: str) -> str:
    """What was probably meant by a name that is no Region's."""
    match = _SHAPE.fullmatch(text.strip())
    if match:
        prefix, direction, number = (part.lower() for part in match.groups())
        swapped = (known for known in _DIRECTIONS if sorted(known) == sorted(direction))
        near = next(swapped, nearest(direction, _DIRECTIONS).removeprefix("Did you mean ").removesuffix("?"))
        if near and prefix in _PARTITION_OF_PREFIX:
            return f"Did you mean {prefix}-{near}-{number}?"
    if wanted := meant("region", text):
        return f"Did you mean {wanted}?"
    return "Use a Region's code, such as eu-central-1."
