"""In what order a lane does its work, and with how little: judged by the order and number of calls.

Where one thing must be slow for the order to show, it is held back until what must come before has happened.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bulk_import import api
from tests.bench.simulator import Simulator as Load
from tests.bench.test_simulator import serving
from tests.bench.workload import make
from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.faults.support import events, wait_until
from tests.sandbox_client import Sandbox

OTHERS = ("444455556666", "777788889999")
RATES = ["GetParametersForImport=40", "ImportKeyMaterial=1000", "ListKeyRotations=1000"]


def add(sandbox: Sandbox, work: Workplace, count: int, *, account: str = ACCOUNT, region: str = REGION) -> list[str]:
    """HMAC keys that wait for material. Returns their ARNs."""
    arns = []
    for _ in range(count):
        key = sandbox.key(account, region, key_spec="HMAC_256")
        work.key(key["key_id"], materials.make("HMAC_256"), name=f"k{len(work.keys)}", account=account, region=region)
        arns.append(key["arn"])
    return arns


def test_a_key_that_is_as_wanted_takes_no_permit(sandbox: Sandbox, work: Workplace) -> None:
    """Many that are OK before the one that is not: its permit is the lane's only one."""
    arns = add(sandbox, work, 8)
    assert work.run().code == 0
    late = sandbox.key(key_spec="HMAC_256")
    work.key(late["key_id"], materials.make("HMAC_256"), name="late")
    before = len(sandbox.calls(operation="GetParametersForImport"))
    result = work.run()
    assert result.report["summary"] | {"unchanged": 8, "imported": 1} == result.report["summary"], result.stderr
    asked = sandbox.calls(operation="GetParametersForImport")[before:]
    assert [call["key"] for call in asked] == [late["arn"]]
    assert late["arn"] not in arns


def test_the_first_permit_waits_for_the_first_read_alone(sandbox: Sandbox, work: Workplace) -> None:
    """The second key's read is held back; the first key's permit, and its import, do not wait for it."""
    first, second, *_ = add(sandbox, work, 3)
    sandbox.hold("DescribeKey", key=second)
    process = work.start("--read-timeout", "100s")
    wait_until(lambda: bool(sandbox.calls(operation="ImportKeyMaterial", key=first)), process)
    sandbox.release()
    assert work.finish(process).code == 0
    calls = [(call["operation"], call["key"]) for call in sandbox.calls()]  # in the order of their answers
    slow = calls.index(("DescribeKey", second))
    assert calls.index(("DescribeKey", first)) < calls.index(("GetParametersForImport", first)) < slow
    assert calls.index(("ImportKeyMaterial", first)) < slow


def test_verification_never_delays_the_lanes_next_permit(sandbox: Sandbox, work: Workplace) -> None:
    """Every target is read three times, two seconds apart; all are imported before the first is verified."""
    add(sandbox, work, 6)
    assert work.run("--read-interval", "2s").code == 0
    events = [json.loads(line) for line in (work.folder / "report.journal.jsonl").read_bytes().splitlines()]
    imports = [event["seq"] for event in events if event["event"] == "answered"]
    ends = [event["seq"] for event in events if event["event"] == "ended"]
    assert len(imports) == len(ends) == 6
    assert max(imports) < min(ends)


def test_all_accounts_share_a_regions_connections(sandbox: Sandbox, work: Workplace) -> None:
    """Three accounts, one after the other on the same few connections: as many as places, one pool for each way."""
    for account in (ACCOUNT, *OTHERS):
        add(sandbox, work, 4, account=account)
    result = work.run("--max-in-flight", "1")
    assert result.code == 0, result.stderr
    kms = [call for call in sandbox.calls() if call["operation"] in ("DescribeKey", "GenerateMac")]
    assert {call["account"] for call in kms} == {ACCOUNT, *OTHERS}
    assert len({call["connection"] for call in kms}) == 1
    writes = sandbox.calls(operation="ImportKeyMaterial") + sandbox.calls(operation="GetParametersForImport")
    assert len({call["connection"] for call in writes}) == 1


def test_a_role_that_is_slow_to_assume_keeps_no_other_account_waiting(sandbox: Sandbox, work: Workplace) -> None:
    """The slow one is answered only when the other account's work is done."""
    add(sandbox, work, 1, account=OTHERS[0])
    add(sandbox, work, 3)
    sandbox.hold("AssumeRole", key=f"arn:aws:iam::{OTHERS[0]}:role/Importer")
    process = work.start("--read-timeout", "100s")
    wait_until(lambda: [event["event"] for event in events(work)].count("ended") == 3, process)
    sandbox.release()
    assert work.finish(process).code == 0
    calls = sandbox.calls()
    slow = next(place for place, call in enumerate(calls) if call["account"] == OTHERS[0])
    others = [place for place, call in enumerate(calls) if call["account"] == ACCOUNT]
    assert max(others) < slow


def most_tasks(folder: Path, *, lanes: int, keys: int) -> int:
    """Live tasks, counted at each target's end in the very process that works."""
    work = make(folder / "work", lanes=lanes, keys=keys)
    load = Load()
    load.kms.hmac_material, load.quotas.enforced = work.hmac_material.read_bytes(), False
    most = 0

    def count(_: object) -> None:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))

    with serving(load) as url:
        settings = api.load_settings(
            {"endpoint_url": url, "quota": RATES, "read_interval": "10ms", "report": str(folder / "report.json")}
        )
        result = asyncio.run(api.run(api.load_manifest(str(work.manifest), settings), settings, on_end=count))
    assert result.summary.imported == lanes * keys
    return most


@pytest.mark.parametrize("lanes", [1, 3])
def test_work_is_pulled_so_live_tasks_are_bounded_by_lanes_and_their_quotas(tmp_path: Path, lanes: int) -> None:
    """A lane has 2 + 2 x rate importers, 32 reads at once, half a second's targets ahead and 3 tasks of its own.

    A connection that is being opened has a task too: at most one per importer's call.
    """
    of_a_lane = (2 + 2 * 40) + 32 + 20 + 3 + 40
    assert most_tasks(tmp_path, lanes=lanes, keys=300) <= 20 + lanes * of_a_lane < lanes * 300
