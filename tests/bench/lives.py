"""Keys that a run creates, and keys found as wanted: on the sandbox with the quotas of KMS, which knows CreateKey."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import orjson

from tests.bench import harness
from tests.bench.harness import PYTHON, RunFailedError
from tests.sandbox_client import CALLER, Sandbox

ACCOUNT, REGION = "111122223333", "us-east-1"
CREATED, UNCHANGED = 20, 50
READS, INTERVAL = 3, 2.0  # the program's defaults
WINDOW = (READS - 1) * INTERVAL  # seconds
# Of the 50 unchanged keys: a read of their rotations each, at 100 per second.
ROTATIONS = UNCHANGED / 100
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:{partition}:iam::{account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ],
}


def created(*, full: bool) -> list[dict[str, Any]]:
    """20 keys created and filled in one lane, and 50 found as wanted, over what the quotas and the reads require."""
    del full
    with tempfile.TemporaryDirectory(prefix="bulk-import-bench-") as name, Sandbox("--enforce-quotas") as sandbox:
        folder = Path(name)
        (folder / "new.key").write_bytes(os.urandom(32))
        create = {"description": "Benchmark", "tags": {"Team": "bench"}, "policy": POLICY}
        made = _run(folder, sandbox, [_key(number, "new", create=create) for number in range(CREATED)])
        material = os.urandom(32)
        (folder / "found.key").write_bytes(material)
        planted = [
            {"alias": f"alias/found{number}", "material": {"hex": material.hex()}, "key_spec": "SYMMETRIC_DEFAULT"}
            for number in range(UNCHANGED)
        ]
        sandbox.seed({"accounts": {ACCOUNT: {"regions": {REGION: {"keys": planted}}}}})
        found = _run(folder, sandbox, [_key(number, "found") for number in range(UNCHANGED)])
    # Two windows: reads that must not find the key, and reads that verify it.
    return [_row("created", made, CREATED - 1 + 2 * WINDOW), _row("unchanged", found, WINDOW + ROTATIONS)]


def _key(number: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"{kind}{number}", "account": ACCOUNT, "region": REGION, "key_id": f"alias/{kind}{number}",
        "key_spec": "SYMMETRIC_DEFAULT", "material": f"file:{kind}.key", "encoding": "raw", **fields,
    }  # fmt: skip


def _run(folder: Path, sandbox: Sandbox, keys: list[dict[str, Any]]) -> dict[str, Any]:
    manifest, report = folder / "manifest.json", folder / "report.json"
    manifest.write_bytes(orjson.dumps({"version": 1, "defaults": {"role": "Importer"}, "keys": keys}))
    command = [PYTHON, "-m", "bulk_import", "run", str(manifest), "--report", str(report), "--quiet"]
    environment = harness.environment(sandbox.url) | {
        "AWS_ACCESS_KEY_ID": CALLER["aws_access_key_id"], "AWS_SECRET_ACCESS_KEY": CALLER["aws_secret_access_key"],
    }  # fmt: skip
    usage = harness.run(command, environment)
    if usage.exit_code:
        raise RunFailedError(f"exit code {usage.exit_code}: {usage.command}\n{usage.stderr[-2000:]}")
    found: dict[str, Any] = orjson.loads(report.read_bytes())
    return found


def _row(what: str, report: dict[str, Any], floor: float) -> dict[str, Any]:
    (lane,) = report["lanes"]
    return {
        "keys": what,
        "targets": report["summary"]["total"],
        "status": ", ".join(sorted({result["status"] for result in report["results"]})),
        "floor s": floor,
        "wall s": lane["duration_seconds"],
        "wall / floor": lane["duration_seconds"] / floor,
        "calls": sum(lane["calls"].values()),
        "throttled": sum(lane["throttled"].values()),
    }
