"""--quotas service-quotas through the real command line: what each account's lanes keep to, and what is not known."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bulk_import import api
from bulk_import.aws.pace.quotas import CODES
from bulk_import.model import Lane
from bulk_import.sandbox.kms.quotas import DEFAULTS
from tests.e2e import materials
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox

FIRST, SECOND = "111122223333", "444455556666"
HERE, THERE = "us-east-1", "eu-west-1"
READ = ("--quotas", "service-quotas")
# Without the tests' usual --quota: it would win. One key a lane needs no second permit.
BRISK = ("--read-interval", "20ms", "--retry-timeout", "0", "--consistency-timeout", "0")
SCARCE = "GetParametersForImport"


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, sandbox.url)


def lane(sandbox: Sandbox, work: Workplace, account: str, region: str, *, keys: int = 1, **quotas: float) -> None:
    """Keys in an account and Region whose quotas are these."""
    form = {"quotas": quotas, "keys": [{"key_spec": "HMAC_256"}] * keys}
    for key in sandbox.seed({"accounts": {account: {"regions": {region: form}}}}):
        name = f"k{len(work.keys)}"
        work.key(key["key_id"], materials.make("HMAC_256"), name=name, account=account, region=region)


def go(work: Workplace, command: str, *options: str) -> Any:
    work.write()
    return work.call(command, "manifest.json", *BRISK, *options)


def quotas(lanes: list[dict[str, Any]], operation: str = SCARCE) -> dict[tuple[str, str], float]:
    return {(lane["account"], lane["region"]): lane["quota"][operation] for lane in lanes}


def asked(sandbox: Sandbox) -> list[dict[str, Any]]:
    return sandbox.calls(operation="GetServiceQuota")


def test_each_lane_keeps_to_its_own_accounts_quotas(sandbox: Sandbox, work: Workplace) -> None:
    lane(sandbox, work, FIRST, HERE, keys=4, GetParametersForImport=8, ImportKeyMaterial=40)
    lane(sandbox, work, FIRST, THERE, GetParametersForImport=0.25)
    lane(sandbox, work, SECOND, HERE)
    sandbox.quotas()
    result = go(work, "run", *READ)
    assert result.code == 0, result.stderr
    lanes = result.report["lanes"]
    assert quotas(lanes) == {(FIRST, HERE): 8, (FIRST, THERE): 0.25, (SECOND, HERE): 1}
    assert quotas(lanes, "ImportKeyMaterial") == {(FIRST, HERE): 40, (FIRST, THERE): 15, (SECOND, HERE): 15}
    assert {name for one in lanes for name in one["quota"]} == {name for one in lanes for name in one["calls"]}
    assert "cannot be read" not in result.stderr


def test_two_questions_a_lane_by_its_own_role_before_its_first_call(sandbox: Sandbox, work: Workplace) -> None:
    lane(sandbox, work, FIRST, HERE, keys=3, GetParametersForImport=50)
    lane(sandbox, work, SECOND, THERE, keys=3, GetParametersForImport=50)
    assert go(work, "run", *READ).code == 0
    for account, region in ((FIRST, HERE), (SECOND, THERE)):
        calls = [call["operation"] for call in sandbox.calls(account=account) if call["region"] == region]
        calls = [operation for operation in calls if operation not in ("CreateKey", "GetCallerIdentity", "AssumeRole")]
        assert calls[:3] == ["GetServiceQuota", "GetServiceQuota", "DescribeKey"]
        assert calls.count("GetServiceQuota") == 2


def test_plan_reckons_with_them(sandbox: Sandbox, work: Workplace) -> None:
    lane(sandbox, work, FIRST, HERE, keys=5, GetParametersForImport=8)
    lane(sandbox, work, SECOND, HERE, keys=5)
    plan = json.loads(go(work, "plan", "--format", "json", "--read-interval", "0", *READ).stdout)
    assert quotas(plan["lanes"]) == {(FIRST, HERE): 8, (SECOND, HERE): 1}
    assert [one["floor_seconds"] for one in plan["lanes"]] == [0.5, 4.0]


def test_a_stated_quota_wins_and_is_not_asked_for(sandbox: Sandbox, work: Workplace) -> None:
    lane(sandbox, work, FIRST, HERE, GetParametersForImport=8, ImportKeyMaterial=40)
    result = go(work, "run", *READ, "--quota", f"{SCARCE}=50")
    [only] = result.report["lanes"]
    assert (only["quota"][SCARCE], only["quota"]["ImportKeyMaterial"]) == (50, 40)
    [_] = asked(sandbox)


def test_nobody_asks_unless_told_to(sandbox: Sandbox, work: Workplace) -> None:
    lane(sandbox, work, FIRST, HERE, GetParametersForImport=8)
    result = go(work, "run")
    assert quotas(result.report["lanes"]) == {(FIRST, HERE): 1}
    assert asked(sandbox) == []


UNREADABLE = [
    {"effect": "deny"},
    {"effect": "drop"},
    {"effect": "malformed"},
    {"effect": "http500"},
    {"effect": "error", "code": "TooManyRequestsException", "status": 400},
    {"effect": "error", "code": "NoSuchResourceException", "status": 400},
    {"effect": "error", "code": "ExpiredTokenException", "status": 400},
]


@pytest.mark.parametrize("fault", UNREADABLE, ids=lambda fault: fault.get("code", fault["effect"]))
def test_what_cannot_be_read_is_the_default_with_one_warning_an_account(
    sandbox: Sandbox, work: Workplace, fault: dict[str, Any]
) -> None:
    for account, region in ((FIRST, HERE), (FIRST, THERE), (SECOND, HERE)):
        lane(sandbox, work, account, region, GetParametersForImport=8)
    sandbox.fault(operation="GetServiceQuota", account=FIRST, times=None, **fault)
    result = go(work, "run", *READ)
    assert result.code == 0, result.stderr
    assert quotas(result.report["lanes"]) == {(FIRST, HERE): 1, (FIRST, THERE): 1, (SECOND, HERE): 8}
    [warning] = [line for line in result.stderr.splitlines() if "cannot be read" in line]
    assert FIRST in warning
    assert SECOND not in warning
    assert "servicequotas:GetServiceQuota" in warning


def test_a_value_that_is_no_rate_is_the_default(sandbox: Sandbox, work: Workplace) -> None:
    lane(sandbox, work, FIRST, HERE, GetParametersForImport=-3)
    result = go(work, "run", *READ)
    assert quotas(result.report["lanes"]) == {(FIRST, HERE): 1}
    assert "Value is -3" in result.stderr


def test_the_value_of_another_quota_is_the_default(sandbox: Sandbox, work: Workplace) -> None:
    lane(sandbox, work, FIRST, HERE, GetParametersForImport=50)

    def another(_: str, answer: dict[str, Any]) -> dict[str, Any]:
        return {"Quota": answer["Quota"] | {"QuotaCode": "L-00000000"}} if "Quota" in answer else answer

    with Rewriter(sandbox.url, another) as between:
        work.write()
        endpoints = {"AWS_ENDPOINT_URL": sandbox.url, "AWS_ENDPOINT_URL_SERVICE_QUOTAS": between.url}
        result = work.call("run", "manifest.json", *BRISK, *READ, BULK_IMPORT_ENDPOINT_URL="", **endpoints)
    assert quotas(result.report["lanes"]) == {(FIRST, HERE): 1}
    assert "for the quota L-00000000" in result.stderr


def test_one_failure_in_passing_is_asked_again(sandbox: Sandbox, work: Workplace) -> None:
    lane(sandbox, work, FIRST, HERE, GetParametersForImport=8)
    sandbox.fault("http500", operation="GetServiceQuota", times=1)
    result = go(work, "run", *READ, "--retry-timeout", "10")
    assert quotas(result.report["lanes"]) == {(FIRST, HERE): 8}
    assert len(asked(sandbox)) == 3


def test_a_role_that_is_refused_is_refused_once(sandbox: Sandbox, work: Workplace) -> None:
    lane(sandbox, work, FIRST, HERE)
    sandbox.fault("deny", operation="AssumeRole", times=None)
    result = go(work, "run", *READ)
    assert [entry["error"]["operation"] for entry in result.report["results"]] == ["AssumeRole"]
    assert "cannot be read" not in result.stderr
    assert asked(sandbox) == []


def test_what_is_left_is_reckoned_with_the_quotas_that_were_read(
    sandbox: Sandbox, work: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal's view: a lane's rate is the default until the lane knows better."""
    monkeypatch.chdir(work.folder)
    lane(sandbox, work, FIRST, HERE, GetParametersForImport=8)
    lane(sandbox, work, SECOND, HERE)
    work.write()
    settings = api.load_settings({"endpoint_url": sandbox.url, "quotas": "service-quotas", "read_interval": "20ms"})
    runs: list[api.Started] = []
    rates: list[list[float]] = []

    def note(*_: object) -> None:
        rates.append([runs[0].import_rate(Lane("aws", account, HERE)) for account in (FIRST, SECOND)])

    def on_start(run: api.Started) -> None:
        runs.append(run)
        note()

    manifest = api.load_manifest("manifest.json", settings)
    result = asyncio.run(api.run(manifest, settings, on_start=on_start))
    note()
    assert result.exit_code == 0
    assert rates == [[1, 1], [8, 1]]


def test_the_codes_are_those_of_kms() -> None:
    """The sandbox's table is written apart from the program's."""
    assert {name: DEFAULTS[name][1] for name in CODES} == CODES
