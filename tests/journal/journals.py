"""Journals for tests, written by the journal itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulk_import.journal.writer import Journal
from bulk_import.model import Failure, Outcome, Proof, Request, Status, Verification

START = datetime(2026, 3, 2, 4, 30, tzinfo=UTC)
ACCOUNTS = ("111122223333", "444455556666")

Event = tuple[str, dict[str, Any]]


def arn(index: int) -> str:
    return f"arn:aws:kms:us-east-1:{ACCOUNTS[index % 2]}:key/{index:08d}-0000-4000-8000-000000000000"


def started(run_id: str = "run-1", targets: int = 1) -> Event:
    return "run_started", {
        "run_id": run_id,
        "started_at": START,
        "tool": {"name": "bulk-import", "version": "0.1.0"},
        "manifest": {"uri": "keys.yaml", "sha256": "0" * 64, "targets": targets},
        "selection": {"accounts": [], "regions": [], "ids": []},
        "partition": "aws",
        "labels": {"team": "payments"},
        "shard": None,
        "settings": {"reads": 3},
        "report": "report.json",
    }


def target(index: int) -> Event:
    return "target", {
        "index": index,
        "id": f"key-{index}",
        "account": ACCOUNTS[index % 2],
        "region": "us-east-1",
        "key_id": f"alias/key-{index}",
        "valid_to": None,
    }


def caller() -> Event:
    return "caller", {
        "caller": {"account": ACCOUNTS[0], "arn": f"arn:aws:sts::{ACCOUNTS[0]}:assumed-role/pipeline/1"},
        "environment": "sandbox",
        "endpoints": {"kms": "http://127.0.0.1:4566"},
    }


def pinned(index: int) -> Event:
    return "pinned", {
        "index": index,
        "key_arn": arn(index),
        "key_state": "PendingImport",
        "key_spec": "SYMMETRIC_DEFAULT",
        "expiration_model": "KEY_MATERIAL_EXPIRES",
        "valid_to": START,
    }


def intent(index: int, attempt: int = 1) -> Event:
    return "intent", {
        "index": index,
        "operation": "ImportKeyMaterial",
        "attempt": attempt,
        "wrapping_algorithm": "RSAES_OAEP_SHA_256",
        "wrapping_key_spec": "RSA_4096",
    }


def answered(index: int, outcome: str = "ok") -> Event:
    return "answered", {
        "index": index,
        "operation": "ImportKeyMaterial",
        "outcome": outcome,
        "request_id": "" if outcome == "unknown" else f"request-{index}",
        "key_material_id": "a" * 64 if outcome == "ok" else None,
    }


def ended(index: int, status: Status = Status.IMPORTED, code: str = "AccessDeniedException", **changes: Any) -> Event:
    return "ended", {"index": index, "result": outcome(index, status, code, **changes)}


def lane_ended(account: str = ACCOUNTS[0], **counts: int) -> Event:
    return "lane_ended", {
        "account": account,
        "region": "us-east-1",
        "duration_seconds": 1.5,
        "calls": counts or {"DescribeKey": 3},
        "throttled": {"GetParametersForImport": 1},
        "quota": {"GetParametersForImport": 1.0},
    }


def stopping(reason: str) -> Event:
    return "stopping", {"reason": reason}


def run_ended(**extra: Any) -> Event:
    return "run_ended", {"finished_at": START.replace(minute=31), **extra}


def resumed(from_seq: int = 1) -> Event:
    return "resumed", {"from_seq": from_seq}


def outcome(index: int, status: Status, code: str = "AccessDeniedException", **changes: Any) -> Outcome:
    """A plausible one; an unwell one has the error `code`."""
    fields: dict[str, Any] = {
        "index": index,
        "id": f"key-{index}",
        "account": ACCOUNTS[index % 2],
        "region": "us-east-1",
        "key_id": f"alias/key-{index}",
        "key_arn": arn(index),
        "status": status,
        "changed": status in (Status.IMPORTED, Status.REIMPORTED),
        "key_spec": "SYMMETRIC_DEFAULT",
        "key_state": "Enabled",
        "expiration_model": "KEY_MATERIAL_EXPIRES",
        "valid_to": datetime(2027, 1, 1, tzinfo=UTC),
        "key_material_id": "a" * 64,
        "wrapping_algorithm": "RSAES_OAEP_SHA_256",
        "wrapping_key_spec": "RSA_4096",
        "verification": Verification(
            verified=True, reads=4, consecutive=3, duration_seconds=4.012, proof=Proof.MATERIAL_ID, round_trip=None
        ),
        "attempts": 1,
        "request_ids": (Request("DescribeKey", "request-d"), Request("ImportKeyMaterial", "request-i")),
        "started_at": START.replace(microsecond=123456),
        "finished_at": START.replace(second=9),
        "error": None,
    }
    if not status.well:
        fields |= {
            "verification": None,
            "error": Failure(code, "ImportKeyMaterial", "It failed.", retryable=False, advice="Mend it."),
        }
    return Outcome(**{**fields, **changes})


async def write(journal: Journal, events: Sequence[Event]) -> None:
    for event, fields in events:
        journal.write(event, **fields)
    await journal.sync()


def make(path: Path, *events: Event) -> Path:
    """A closed journal of just these events."""
    with Journal.create(path) as journal:
        asyncio.run(write(journal, events))
    return path


def make_run(path: Path, targets: int, *events: Event, run_id: str = "run-1") -> Path:
    """A journal of a run of that many targets, and then these events."""
    listed = (target(index) for index in range(targets))
    return make(path, started(run_id, targets), *listed, caller(), *events)
