"""KMS's endpoint is found once for each Region, and is the one that botocore's rules give for a call."""

from __future__ import annotations

import itertools

import aioboto3
import pytest
from botocore.config import Config

from bulk_import.aws.wire.clients import Clients
from bulk_import.settings import load

REGIONS = ("us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1", "xx-new-9")
VARIANTS = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")
KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "the secret"}


@pytest.mark.parametrize("on", list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize("region", REGIONS)
async def test_it_is_that_of_botocores_rules(
    region: str, on: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in zip(VARIANTS, on, strict=True):
        monkeypatch.setenv(variable, str(value).lower())
    config = Config(use_fips_endpoint=on[0], use_dualstack_endpoint=on[1])
    async with aioboto3.Session(**KEYS).client("kms", region_name=region, config=config) as vanilla:
        signed = await vanilla.generate_presigned_url("describe_key", Params={"KeyId": "k"})
    async with Clients(load({}), "run-1") as clients:
        pair = await clients.kms(region)
        urls = {pair.reads.meta.endpoint_url, pair.writes.meta.endpoint_url, clients.endpoints["kms"]}
    assert urls == {signed.partition("/?")[0]}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.0.0.1:9/a/path", "http://127.0.0.1:9/a/path/"])
@pytest.mark.parametrize("told", ["option", "variable"])
async def test_it_is_the_configured_one(told: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if told == "variable":
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", url)
    async with Clients(load({"endpoint_url": url} if told == "option" else {}), "run-1") as clients:
        assert (await clients.kms("us-east-1")).reads.meta.endpoint_url == url
        assert clients.foreign == {"kms": url}
