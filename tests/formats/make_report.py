"""Honest reports of any size, always the same for the same arguments: `make_report(1_000)`.

Every status, proof and error code occurs; the summary adds up; every lane's imports begin about one second apart,
as GetParametersForImport's quota makes them. `python -m tests.formats.make_report 1000 > report.json` prints one.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bulk_import.codes import advice_for

STARTED = datetime(2026, 3, 2, 4, 30, tzinfo=UTC)
REGIONS = ("us-east-1", "eu-west-1", "eu-central-1", "ap-southeast-2")
SPECS = ("SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT", "HMAC_256", "RSA_3072", "ECC_NIST_P256", "SYMMETRIC_DEFAULT")

# (code, operation, message, retryable, whether an import took effect)
ERRORS: tuple[tuple[str, str | None, str, bool, bool | None], ...] = (
    (
        "AccessDeniedException",
        "GetParametersForImport",
        "{role} may not call GetParametersForImport on {arn}.",
        False,
        False,
    ),
    ("MaterialNotFound", None, "file:keys/{id}.key does not exist.", False, False),
    ("MaterialMismatch", "GenerateMac", "KMS's MAC differs from the one of file:keys/{id}.key.", False, True),
    ("OutcomeUnknown", "ImportKeyMaterial", "The connection broke before KMS answered ImportKeyMaterial.", True, None),
    ("VerificationTimeout", "DescribeKey", "KMS showed PendingImport in 2 of 41 reads within 600 s.", True, True),
    ("KeyStateNotImportable", "DescribeKey", "The key is PendingDeletion.", False, False),
    ("ThrottlingException", "GetParametersForImport", "Rate exceeded: 20 attempts in 118 s.", True, False),
    ("NotFoundException", "DescribeKey", "Alias arn:aws:kms:{region}:{account}:alias/{id} is not found.", False, False),
)


def make_report(
    n: int,
    *,
    lanes: int | None = None,
    all_failed: bool = False,
    environment: str = "aws",
    interrupted: bool = False,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A report of `n` targets as the program writes it. `lanes`: accounts times Regions, by size if None."""
    rng = random.Random(n)  # noqa: S311 - the same report each time is the point
    lane_names = _lanes(lanes or max(2, min(40, n // 25)))
    next_start = {lane: STARTED + timedelta(seconds=rng.uniform(0.4, 1.2)) for lane in lane_names}
    results = [
        _result(i, lane_names[i % len(lane_names)], next_start, _status(i, n, all_failed=all_failed), rng)
        for i in range(n)
    ]
    counts = Counter(r["status"] for r in results)
    finished = max([r["finished_at"] for r in results if r["finished_at"]], default=_text(STARTED))
    well = n - counts["failed"] - counts["not_attempted"]
    outcome, code = ("succeeded", 0) if well == n else ("partial", 4) if well else ("failed", 5)
    if interrupted:
        outcome, code = "interrupted", 143
    return {
        "schema_version": 1,
        "tool": {"name": "bulk-import", "version": "0.1.0"},
        "run": {
            "run_id": "20260302T043000Z-6f1d",
            "started_at": _text(STARTED),
            "finished_at": finished,
            "duration_seconds": _seconds(_text(STARTED), finished),
            "outcome": outcome,
            "exit_code": code,
            "manifest": {"uri": "manifests/payments.yaml", "sha256": _hex(rng, 64), "targets": n},
            "selection": {"accounts": [], "regions": [], "ids": []},
            "selected": n,
            "caller": {"account": "111122223333", "arn": "arn:aws:sts::111122223333:assumed-role/pipeline/byok-42"},
            "partition": "aws",
            "environment": environment,
            "endpoints": {}
            if environment == "aws"
            else {"kms": "http://127.0.0.1:4566", "sts": "http://127.0.0.1:4566"},
            "labels": dict(labels or {"pipeline": "byok-rotation", "build": "4711"}),
            "journal_sha256": _hex(rng, 64),
            "shard": None,
            "resumes": [],
            "ceremony": None,
        },
        "summary": {
            "total": n,
            **{s: counts[s] for s in ("imported", "reimported", "unchanged", "failed", "not_attempted")},
            "corrected": 0,
            "deleted": 0,
            "unproved": sum(1 for r in results if r["status"] in _WELL and r["verification"]["proof"] == "none"),
        },
        "lanes": [_lane(lane, results[i :: len(lane_names)], rng) for i, lane in enumerate(lane_names)],
        "results": results,
    }


_WELL = ("imported", "reimported", "unchanged")


def _lanes(count: int) -> list[tuple[str, str]]:
    per_account = min(len(REGIONS), count, 4 if count > 2 else 2)
    return [(str(111122223333 + 7_000_003 * (i // per_account)), REGIONS[i % per_account]) for i in range(count)]


def _status(i: int, n: int, *, all_failed: bool) -> str:
    if all_failed:
        return "failed"
    if n < 100:
        return (
            "imported",
            "imported",
            "reimported",
            "failed",
            "imported",
            "unchanged",
            "imported",
            "not_attempted",
            "failed",
            "imported",
        )[i % 10]
    return {
        11: "failed",
        37: "failed",
        23: "reimported",
        24: "reimported",
        40: "unchanged",
        41: "unchanged",
        49: "not_attempted",
    }.get(i % 51, "imported")


def _result(
    i: int, lane: tuple[str, str], next_start: dict[tuple[str, str], datetime], status: str, rng: random.Random
) -> dict[str, Any]:
    account, region = lane
    spec = SPECS[i % len(SPECS)]
    id_ = f"{('payments', 'ledger', 'tokens', 'archive')[i % 4]}-{i:05d}"
    arn = f"arn:aws:kms:{region}:{account}:key/{_uuid(rng)}"
    started = next_start[lane]
    if status != "unchanged":  # an unchanged target takes no permit of GetParametersForImport
        next_start[lane] = started + timedelta(seconds=1.02 + rng.expovariate(40))
    verifying = 4.02 + rng.expovariate(1.2)  # seconds, after an import
    finished = started + timedelta(seconds=0.3 if status == "unchanged" else 0.38 + verifying)
    error, changed = _error(i, status, arn, {"id": id_, "account": account, "region": region})
    expires = _valid_to(i) if status in _WELL or changed else None
    attempted = status != "not_attempted"
    imported = bool(changed) or changed is None
    operations = ["DescribeKey"] if attempted else []
    if imported:
        operations += ["GetParametersForImport", "ImportKeyMaterial", "DescribeKey", "DescribeKey", "DescribeKey"]
    elif error and error["operation"] == "GetParametersForImport":
        operations.append("GetParametersForImport")
    known = attempted and not (error and error["code"] == "NotFoundException")
    return {
        "index": i,
        "id": id_,
        "account": account,
        "region": region,
        "key_id": f"alias/{id_}",
        "key_arn": arn if known else None,
        "status": status,
        "changed": changed,
        "changes": ["imported"] if changed else [],
        "key_spec": spec if known else None,
        "key_state": _key_state(status, error) if known else None,
        "expiration_model": ("KEY_MATERIAL_EXPIRES" if expires else "KEY_MATERIAL_DOES_NOT_EXPIRE")
        if status in _WELL
        else None,
        "valid_to": expires,
        "key_material_id": _hex(rng, 64) if spec == "SYMMETRIC_DEFAULT" and status in _WELL else None,
        "wrapping_algorithm": "RSA_AES_KEY_WRAP_SHA_256" if spec.startswith("RSA") else "RSAES_OAEP_SHA_256",
        "wrapping_key_spec": "RSA_4096",
        "materials": _materials(i, rng) if spec == "SYMMETRIC_DEFAULT" and status == "reimported" else [],
        "material_check": f"{i:016x}" if spec == "SYMMETRIC_DEFAULT" and status in _WELL else None,
        "verification": _verification(i, status, spec, verifying),
        "attempts": 1 if imported else 0,
        "request_ids": [{"operation": o, "request_id": _uuid(rng)} for o in operations],
        "started_at": _text(started) if attempted else None,
        "finished_at": _text(finished) if attempted else None,
        "error": error,
    }


def _error(i: int, status: str, arn: str, names: Mapping[str, str]) -> tuple[dict[str, Any] | None, bool | None]:
    """(error, changed)"""
    if status == "not_attempted":
        code, operation, message, retryable, changed = (
            "Stopped",
            None,
            "SIGTERM came before this target was started.",
            True,
            False,
        )
    elif status == "failed":
        code, operation, message, retryable, changed = ERRORS[i // 5 % len(ERRORS)]
    else:
        return None, status != "unchanged"
    message = message.format(**names, arn=arn, role="KmsMaterialImporter")
    error = {
        "code": code,
        "operation": operation,
        "message": message,
        "retryable": retryable,
        "advice": advice_for(code),
    }
    return error, changed


def _materials(i: int, rng: random.Random) -> list[dict[str, Any]]:
    """Of a key that was rotated once."""
    return [
        {
            "name": name,
            "key_material_id": _hex(rng, 64),
            "state": state,
            "import_state": "IMPORTED",
            "expiration_model": "KEY_MATERIAL_DOES_NOT_EXPIRE",
            "valid_to": None,
            "material_check": f"{i:016x}",
            "proof": "material_id",
        }
        for name, state in (("2025", "NON_CURRENT"), ("2026", "CURRENT"))
    ]


def _key_state(status: str, error: dict[str, Any] | None) -> str:
    if status in _WELL:
        return "Enabled"
    return "PendingDeletion" if error and error["code"] == "KeyStateNotImportable" else "PendingImport"


def _verification(i: int, status: str, spec: str, verifying: float) -> dict[str, Any] | None:
    if status not in _WELL:
        return None
    proof = "hmac" if spec.startswith("HMAC") else "material_id" if spec == "SYMMETRIC_DEFAULT" else "public_key"
    detail = ""
    if status == "unchanged" and spec == "SYMMETRIC_DEFAULT":
        proof, detail = "none", "material_not_compared"
    elif i % 29 == 6:
        proof, detail = "none", "AccessDeniedException: the policy denies the proof's operation"
    duration = 0.2 if status == "unchanged" else round(verifying, 3)
    return {
        "verified": True,
        "reads": 3,
        "consecutive": 3,
        "duration_seconds": duration,
        "proof": proof,
        "round_trip": None,
        "detail": detail,
    }


def _valid_to(i: int) -> str | None:
    """Three in four never expire; the others on quarter ends, a few within the week."""
    if i % 4:
        return None
    days = (119, 210, 302, 4, 119, 302, 363, 210)[i // 4 % 8] + (i // 4 % 3)
    return (STARTED + timedelta(days=days)).strftime("%Y-%m-%dT00:00:00Z")


def _lane(lane: tuple[str, str], mine: list[dict[str, Any]], rng: random.Random) -> dict[str, Any]:
    calls = Counter(q["operation"] for r in mine for q in r["request_ids"])
    starts = [r["started_at"] for r in mine if r["started_at"]]
    ends = [r["finished_at"] for r in mine if r["finished_at"]]
    return {
        "account": lane[0],
        "region": lane[1],
        "targets": len(mine),
        "duration_seconds": _seconds(min(starts), max(ends)) if starts else 0.0,
        "calls": dict(calls),
        "throttled": {"GetParametersForImport": rng.randrange(1, 4)} if rng.random() < 0.2 else {},
        "quota": {"GetParametersForImport": 1.0, "ImportKeyMaterial": 15.0, "DescribeKey": 2000.0},
    }


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _seconds(start: str, end: str) -> float:
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3)


def _hex(rng: random.Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def _uuid(rng: random.Random) -> str:
    h = _hex(rng, 32)
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


if __name__ == "__main__":
    json.dump(make_report(int(sys.argv[1])), sys.stdout, indent=2)
