"""Which endpoint counts as AWS: a report that says `aws` is believed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.session import Session

from bulk_import.aws.wire.genuine import default_region, is_genuine


@cache
def partitions() -> dict[str, Any]:
    return json.loads((Path(botocore.__file__).parent / "data/partitions.json").read_text("utf-8"))


SERVICES = ("kms", "sts", "s3", "servicequotas")
GENUINE = [
    ("kms", "https://kms.us-east-1.amazonaws.com"),
    ("kms", "https://kms.us-east-1.amazonaws.com:443/"),
    ("kms", "https://KMS.us-east-1.AmazonAWS.com"),
    ("kms", "https://kms-fips.us-gov-west-1.amazonaws.com"),
    ("kms", "https://kms.eu-west-1.api.aws"),
    ("kms", "https://kms.cn-north-1.amazonaws.com.cn"),
    ("kms", "https://kms.eusc-de-east-1.amazonaws.eu"),
    ("kms", "https://kms.us-iso-east-1.c2s.ic.gov"),
    ("kms", "https://kms.us-isob-east-1.sc2s.sgov.gov"),
    ("kms", "https://kms.us-isof-south-1.csp.hci.ic.gov"),
    ("kms", "https://vpce-0a1b2c3d4e5f67890-abcdefgh.kms.eu-west-1.vpce.amazonaws.com"),
    ("kms", "https://vpce-0a1b2c3d4e5f67890-abcdefgh-eu-west-1a.kms-fips.eu-west-1.vpce.amazonaws.com"),
    ("kms", "https://vpce-0a1b2c3d4e5f67890-abcdefgh.kms.cn-north-1.vpce.amazonaws.com.cn"),
    ("sts", "https://sts.amazonaws.com"),
    ("sts", "https://sts.ap-southeast-5.amazonaws.com"),
    ("s3", "https://s3.amazonaws.com"),
    ("s3", "https://s3.dualstack.eu-west-1.amazonaws.com"),
    ("s3", "https://s3-fips.dualstack.us-east-1.amazonaws.com"),
    ("s3", "https://bucket.vpce-0a1b2c3d4e5f67890-abcdefgh.s3.eu-west-1.vpce.amazonaws.com"),
    ("servicequotas", "https://servicequotas.eu-west-1.amazonaws.com"),
]
ANYBODYS = [
    ("kms", "https://x.execute-api.us-east-1.amazonaws.com"),  # API Gateway
    ("kms", "https://kms-1234567890.us-east-1.elb.amazonaws.com"),  # a load balancer
    ("kms", "https://kms.us-east-1.elb.amazonaws.com"),
    ("kms", "https://kms.s3.us-east-1.amazonaws.com"),  # a bucket
    ("kms", "https://kms.s3.amazonaws.com"),
    ("kms", "https://kms.s3-website.us-east-1.amazonaws.com"),
    ("kms", "https://s3.us-east-1.amazonaws.com"),  # another service
    ("kms", "https://sts.amazonaws.com"),
    ("kms", "https://ec2-203-0-113-25.compute-1.amazonaws.com"),
    ("kms", "https://kms.lambda-url.us-east-1.on.aws"),
    ("kms", "https://vpce-0a1b2c3d4e5f67890-abcdefgh.vpce-svc-0123.us-east-1.vpce.amazonaws.com"),  # anybody's service
    ("kms", "https://vpce-0a1b2c3d4e5f67890-abcdefgh.execute-api.us-east-1.vpce.amazonaws.com"),
    ("kms", "https://x.vpce-0a1b2c3d4e5f67890-abcdefgh.kms.eu-west-1.vpce.amazonaws.com"),
    ("kms", "https://kms.cn-north-1.amazonaws.com"),  # another partition's suffix
    ("kms", "https://kms.us-iso-east-1.amazonaws.com"),
    ("kms", "https://kms.us-east-1.amazonaws.com.cn"),
    ("kms", "https://kms.us-east-1.amazonaws.com.example.net"),
    ("kms", "https://kms.us-east-1.amazonaws.com:8443"),
    ("kms", "https://kms.us-east-1.amazonaws.com/prod"),
    ("kms", "https://user@kms.us-east-1.amazonaws.com"),
    ("kms", "http://kms.us-east-1.amazonaws.com"),
    ("kms", "https://kms.us-east-1.amazonaws.com:port"),
    ("kms", "https://kms.local.amazonaws.com"),
    ("kms", "https://amazonaws.com"),
    ("s3", "https://mybucket.s3.us-east-1.amazonaws.com"),
    ("sts", "https://sts.amazonaws.com.cn"),
    ("kms", "http://127.0.0.1:5000"),
    ("kms", ""),
]


@pytest.mark.parametrize(("prefix", "endpoint"), GENUINE)
def test_names_that_only_aws_has(prefix: str, endpoint: str) -> None:
    assert is_genuine(endpoint, prefix, partitions())


@pytest.mark.parametrize(("prefix", "endpoint"), ANYBODYS)
def test_names_that_others_can_have(prefix: str, endpoint: str) -> None:
    assert not is_genuine(endpoint, prefix, partitions())


@pytest.mark.parametrize("variant", [{}, {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}], ids=str)
@pytest.mark.parametrize("service", ["kms", "sts", "s3"])
def test_botocores_own_endpoints_count(service: str, variant: dict[str, bool]) -> None:
    """Every Region that botocore knows of a service, in every partition."""
    session = Session()
    # Where an isolated partition has no dual-stack name, botocore composes one of the commercial partition's suffix.
    names = [item["id"] for item in partitions()["partitions"]]
    for partition in [name for name in names if not (variant.get("use_dualstack_endpoint") and "-iso" in name)]:
        regions = session.get_available_regions(service, partition_name=partition)
        for region in [name for name in regions if name[-1].isdigit()]:  # not the pseudo Region aws-global
            for_region = session.create_client(
                service,
                region_name=region,
                config=botocore.config.Config(**variant),
                aws_access_key_id="x",
                aws_secret_access_key="y",
            )
            prefix = for_region.meta.service_model.endpoint_prefix
            assert is_genuine(for_region.meta.endpoint_url, prefix, partitions()), for_region.meta.endpoint_url
            for_region.close()


@pytest.mark.parametrize("partition", [item["id"] for item in partitions()["partitions"]])
def test_the_default_region_is_of_the_partition(partition: str) -> None:
    assert Session().get_partition_for_region(default_region(partition, partitions())) == partition
