"""The limiter of one lane: which operations share a quota, and what is counted."""

from __future__ import annotations

import asyncio

import pytest

from bulk_import.aws.pace.limiter import DEFAULT_QUOTAS, QUOTA_OF, LaneLimiter, merge_quotas, quota_of
from bulk_import.aws.pace.pacing import (
    DECREASE,
)
from bulk_import.aws.pace.places import Places
from bulk_import.errors import SettingsError
from tests.virtual_time import EXACT, run


def test_operations_that_share_a_quota_share_its_permits() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        gate = Places(100)
        limiter = LaneLimiter(merge_quotas({"GenerateMac": 1}), margin=0, gate=gate)
        began = loop.time()
        for operation in ("Encrypt", "GenerateMac", "Decrypt"):
            await limiter.throttler(operation).acquire()
        assert loop.time() - began == pytest.approx(2.0, abs=EXACT)
        await limiter.throttler("DescribeKey").acquire()  # another quota: at once
        assert loop.time() - began == pytest.approx(2.0, abs=EXACT)

    run(main())


def test_what_was_counted_and_what_became_slower() -> None:
    async def main() -> None:
        limiter = LaneLimiter(merge_quotas({}), margin=0.03, gate=Places(1))
        limiter.calls.update(["GetParametersForImport", "DescribeKey", "GetCallerIdentity"])
        assert limiter.quotas_used() == {"DescribeKey": 2000, "GetCallerIdentity": 600, "GetParametersForImport": 1}
        limiter.throttler("DescribeKey")
        assert limiter.effective_rates() == {}
        limiter.throttler("GetParametersForImport").throttled()
        assert limiter.effective_rates() == {"GetParametersForImport": round(DECREASE / 1.03, 3)}

    run(main())


def test_quotas_are_those_of_kms_and_every_operation_of_ours_has_one() -> None:
    assert DEFAULT_QUOTAS["GetParametersForImport"] == 1
    assert DEFAULT_QUOTAS["ImportKeyMaterial"] == 15
    assert {quota_of(operation) for operation in QUOTA_OF} <= DEFAULT_QUOTAS.keys()


def test_a_quota_is_changed_by_its_name_or_by_an_operation_that_counts_to_it() -> None:
    changed = merge_quotas({"ImportKeyMaterial": 5, "Encrypt": 20_000})
    assert changed["ImportKeyMaterial"] == 5
    assert changed["CryptographicOperationsSymmetric"] == 20_000
    assert changed["DescribeKey"] == DEFAULT_QUOTAS["DescribeKey"]
    with pytest.raises(SettingsError, match=r"--quota.*ImportKeyMaterail is none of: .*ImportKeyMaterial"):
        merge_quotas({"ImportKeyMaterail": 5})
