"""Reads that another host answers, which has not heard yet."""

from __future__ import annotations

import os

import pytest

from tests.sandbox.helpers import OAEP, import_material, metadata, new_material, parameters, refused
from tests.sandbox_client import Sandbox


def states(sandbox: Sandbox, arn: str, count: int) -> str:
    """E for Enabled, P for PendingImport."""
    kms = sandbox.client()
    return "".join(metadata(kms, arn)["KeyState"][0] for _ in range(count))


def test_a_pattern_begins_with_the_next_change(sandbox: Sandbox) -> None:
    key = sandbox.key()
    where = {"account": key["account"], "region": key["region"], "key": key["key_id"]}
    sandbox.post("stale_reads", **where, pattern="stale,good,stale,stale,good")
    assert states(sandbox, key["arn"], 3) == "PPP"
    import_material(sandbox.client(), key["arn"], os.urandom(32))
    assert states(sandbox, key["arn"], 8) == "PEPPEEEE"


def test_a_pattern_for_other_reads(sandbox: Sandbox) -> None:
    material = new_material("HMAC_256")
    key = sandbox.key(key_spec="HMAC_256")
    kms = sandbox.client()
    where = {"account": key["account"], "region": key["region"], "key": key["arn"]}
    sandbox.post("stale_reads", **where, pattern="stale", operations=["GenerateMac"])
    import_material(kms, key["arn"], material)
    assert states(sandbox, key["arn"], 2) == "EE"
    fields = {"KeyId": key["arn"], "Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}
    with refused("KMSInvalidStateException"):
        kms.generate_mac(**fields)
    assert kms.generate_mac(**fields)["Mac"]


def test_a_new_key_is_not_everywhere_at_once(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]
    where = {"account": key["AWSAccountId"], "region": "us-east-1", "key": key["KeyId"]}
    sandbox.post("stale_reads", **where, pattern="stale", at_once=True)
    with refused("NotFoundException"):
        kms.describe_key(KeyId=key["KeyId"])
    assert metadata(kms, key["KeyId"])["KeyState"] == "PendingImport"


def test_a_share_of_the_hosts_lags_the_same_way_each_time(sandbox: Sandbox) -> None:
    seen = set()
    for _ in range(2):
        sandbox.reset()
        key = sandbox.key()
        import_material(sandbox.client(), key["arn"], os.urandom(32))
        # An hour: a slow host still sees the time before the key was born.
        sandbox.advance(1800)
        sandbox.post("lag", seconds=3000, share=0.5, seed=7)
        sandbox.forget_sessions()
        kms = sandbox.client()
        line = ""
        for _ in range(20):
            try:
                line += metadata(kms, key["arn"])["KeyState"][0]
            except kms.exceptions.NotFoundException:
                line += "-"
        seen.add(line)
    assert len(seen) == 1
    assert set(seen.pop()) == {"E", "-"}


def test_a_lag_passes(sandbox: Sandbox) -> None:
    key = sandbox.key()
    sandbox.advance(100)
    sandbox.forget_sessions()
    import_material(sandbox.client(), key["arn"], os.urandom(32))
    sandbox.post("lag", seconds=50, share=1)
    assert states(sandbox, key["arn"], 3) == "PPP"
    sandbox.advance(51)
    assert states(sandbox, key["arn"], 3) == "EEE"


def test_a_new_key_has_no_parameters_yet(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    sandbox.post("lag", seconds=50, share=1)
    key = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]["KeyId"]
    with refused("NotFoundException"):
        parameters(kms, key, OAEP[1])
    sandbox.advance(51)
    assert parameters(kms, key, OAEP[1])["ImportToken"]


@pytest.mark.parametrize("pattern", ["", "fresh"])
def test_words_of_a_pattern(sandbox: Sandbox, pattern: str) -> None:
    key = sandbox.key()
    where = {"account": key["account"], "region": key["region"], "key": key["key_id"]}
    with pytest.raises(ValueError, match="good and stale"):
        sandbox.post("stale_reads", **where, pattern=pattern)
