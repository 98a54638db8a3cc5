"""What the fault tests share: keys of every proof, waiting for what really happened, and KMS's own view of the end."""

from __future__ import annotations

import hashlib
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace
from tests.sandbox_client import Sandbox

SPECS = ("HMAC_256", "SYMMETRIC_DEFAULT", "ECC_NIST_P256")
ACTED = frozenset({"act_then_drop", "act_then_delay", "act_then_http500", "truncate"})


def add_targets(
    sandbox: Sandbox, work: Workplace, count: int = 3, *, specs: tuple[str, ...] = SPECS, account: str = ACCOUNT
) -> list[dict[str, str]]:
    """Targets k0, k1, … of the specs in turn. Returns their keys."""
    keys = []
    for number in range(len(work.keys), len(work.keys) + count):
        spec = specs[number % len(specs)]
        key = sandbox.key(account, REGION, key_spec=spec)
        work.key(key["key_id"], materials.make(spec), name=f"k{number}", account=account)
        keys.append(key)
    return keys


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Fails where the process ends before; the test's own time limit ends it else."""
    while not true():
        assert process.poll() is None or true(), process.communicate()  # it may have ended since the first look


def first(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends a signal, and returns when the program says that it has it."""
    process.send_signal(number)
    assert process.stderr is not None
    while (line := process.stderr.readline()) and number.name.encode() not in line:
        pass
    assert line, "the program ended without a word about the signal"


def fired(sandbox: Sandbox) -> int:
    """How many calls the rules have spoilt so far."""
    return sum(rule["fired"] for rule in sandbox.faults())


def events(work: Workplace, name: str = "report.journal.jsonl") -> list[dict[str, Any]]:
    """The journal's whole lines."""
    path = work.folder / name
    if not path.exists():
        return []
    return [orjson.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def has_event(work: Workplace, *names: str, name: str = "report.journal.jsonl") -> bool:
    return any(event["event"] in names for event in events(work, name))


def imports(sandbox: Sandbox) -> Counter[str]:
    """Imports that KMS carried out, by key ARN, whether or not the answer arrived."""
    calls = sandbox.calls(operation="ImportKeyMaterial")
    return Counter(
        call["key"] for call in calls if (call["status"] == 200 and not call["code"]) or call["fault"] in ACTED
    )


def assert_holds(sandbox: Sandbox, work: Workplace, *names: str) -> None:
    """KMS's own view: the keys of these targets (all) are Enabled and hold exactly the material of their file."""
    keys = sandbox.keys()
    held = {key["key_id"]: key for key in keys}
    for entry in work.keys:
        if names and entry["id"] not in names:
            continue
        key = held[entry["key_id"]]
        wanted = hashlib.sha256(Path(work.folder / f"{entry['id']}.key").read_bytes()).hexdigest()
        assert (key["state"], [material["sha256"] for material in key["materials"]]) == ("Enabled", [wanted]), entry


def assert_truthful(sandbox: Sandbox, result: Result) -> None:
    """Every entry says of KMS what is so; what is OK is OK, and nothing that took effect is reported otherwise."""
    done = imports(sandbox)
    keys = sandbox.keys()
    states = {key["arn"]: key for key in keys}
    for entry in result.report["results"]:
        took_effect = bool(entry["key_arn"] and done[entry["key_arn"]])
        if entry["changed"] is not None:
            assert entry["changed"] is took_effect, entry
        if entry["status"] in ("imported", "reimported", "unchanged"):
            assert states[entry["key_arn"]]["materials"], entry
            assert entry["verification"]["verified"] is True, entry
            assert entry["error"] is None, entry
        else:
            assert entry["error"]["advice"], entry
    summary = result.report["summary"]
    counted = Counter(entry["status"] for entry in result.report["results"])
    assert summary["total"] == len(result.report["results"]) == sum(counted.values())
    assert {name: summary[name] for name in counted} == dict(counted)


def assert_all_imported(sandbox: Sandbox, work: Workplace, result: Result, *, repeats: int = 0) -> None:
    """Every target is imported, verified and proved; no key got its material more than 1 + `repeats` times."""
    assert result.code == 0, result.stderr
    statuses = {entry["id"]: entry["status"] for entry in result.report["results"]}
    assert statuses == dict.fromkeys(statuses, "imported")
    assert result.report["summary"]["unproved"] == 0
    assert_truthful(sandbox, result)
    assert_holds(sandbox, work)
    assert max(imports(sandbox).values()) <= 1 + repeats
