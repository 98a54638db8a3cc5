"""The table of Regions against botocore's: every Region there is, each in its partition."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from bulk_import.manifest.regions import PARTITIONS, partition_of, region_advice


def known() -> list[tuple[str, str]]:
    loader: Any = botocore.session.Session().get_component("data_loader")
    found = set()
    for data, name in (("endpoints", "partition"), ("partitions", "id")):
        for partition in loader.load_data(data)["partitions"]:
            found |= {(region, partition[name]) for region in partition["regions"] if not region.endswith("-global")}
    return sorted(found)


def test_every_region_of_botocore_is_known_in_its_partition() -> None:
    assert len(known()) > 40
    assert {region: partition_of(region) for region, _ in known()} == dict(known())
    assert {partition for _, partition in known()} == PARTITIONS


def test_every_transposition_of_two_letters_is_refused_or_another_region() -> None:
    regions = dict(known())
    for region in regions:
        for at in range(len(region) - 1):
            typo = region[:at] + region[at + 1] + region[at] + region[at + 2 :]
            assert typo in regions or partition_of(typo) is None, typo


@pytest.mark.parametrize(
    "text", ["", "us-east", "us-east-0", "us-east-1a", "US-EAST-1", "aws-global", "us-esat-1", " us-east-1"]
)
def test_what_is_no_region(text: str) -> None:
    assert partition_of(text) is None


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("us-esat-1", "us-east-1"),
        ("US-EAST-1", "us-east-1"),
        ("eu-cental-1", "eu-central-1"),
        ("us-gov-wst-1", "us-gov-west-1"),
    ],
)
def test_the_region_that_was_probably_meant(typo: str, meant: str) -> None:
    assert region_advice(typo) == f"Did you mean {meant}?"
