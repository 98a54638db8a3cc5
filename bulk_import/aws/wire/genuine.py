"""Which endpoints are AWS's own. Anybody can have a name under amazonaws.com (API Gateway, a load balancer, a bucket).

A name must have the form that AWS gives to the service itself: its Regional name, FIPS, dual-stack, or a VPC endpoint.
The suffixes and Regions of each partition are botocore's data.

https://docs.aws.amazon.com/general/latest/gr/rande.html
https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

Partitions = Mapping[str, Any]  # botocore's `partitions` document

_REGION = r"(?P<region>[a-z]{2,}(?:-[a-z]+)+-\d+)"
_VPC_ENDPOINT = r"vpce-[0-9a-f]+-[a-z0-9-]+"


def is_genuine(endpoint: str, prefix: str, partitions: Partitions) -> bool:
    """Whether an endpoint's URL is of the service itself. `prefix`: botocore's endpoint prefix, such as `kms`."""
    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError:
        return False
    if url.scheme != "https" or port not in (None, 443) or "@" in url.netloc or url.path.strip("/") or url.query:
        return False
    host = url.hostname or ""
    return any(_has_form(host, prefix, partition) for partition in partitions["partitions"])


def default_region(partition: str, partitions: Partitions) -> str:
    """The Region that serves a partition's global calls: always one of its own. Of an unknown one: us-east-1."""
    known = {item["id"]: str(item["outputs"]["implicitGlobalRegion"]) for item in partitions["partitions"]}
    return known.get(partition, "us-east-1")


def _has_form(host: str, prefix: str, partition: Mapping[str, Any]) -> bool:
    if partition["id"] == "aws" and host in _GLOBAL.get(prefix, ()):
        return True
    for form in _forms(prefix, partition["outputs"]):
        if found := re.fullmatch(form, host):
            return _is_region_of(found["region"], partition)
    return False


# The last is what botocore says of us-east-1 with FIPS before it knows the bucket.
_GLOBAL = {"sts": ("sts.amazonaws.com",), "s3": ("s3.amazonaws.com", "s3-fips.aws-global.amazonaws.com")}


def _forms(prefix: str, outputs: Mapping[str, Any]) -> Iterator[str]:
    name = rf"{re.escape(prefix)}(?:-fips)?"
    suffix, dual_stack = re.escape(outputs["dnsSuffix"]), re.escape(outputs["dualStackDnsSuffix"])
    yield rf"{name}\.{_REGION}\.{suffix}"
    yield rf"{name}\.{_REGION}\.{dual_stack}"
    if prefix == "s3":
        yield rf"{name}\.dualstack\.{_REGION}\.{suffix}"
        yield rf"(?:bucket|accesspoint|control)\.{_VPC_ENDPOINT}\.s3\.{_REGION}\.vpce\.{suffix}"
    yield rf"{_VPC_ENDPOINT}\.{name}\.{_REGION}\.vpce\.{suffix}"


def _is_region_of(region: str, partition: Mapping[str, Any]) -> bool:
    return region in partition["regions"] or re.fullmatch(partition["regionRegex"], region) is not None
