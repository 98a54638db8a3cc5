"""A key with several materials in a manifest, its runs, and what KMS holds of it."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from tests.e2e.support import ACCOUNT, REGION, Result, Workplace, quick
from tests.faults.forks import Forks, Kill
from tests.sandbox.helpers import NEVER
from tests.sandbox_client import Sandbox

NEW = {"ImportType": "NEW_KEY_MATERIAL", **NEVER}
PROVED = ("--require-proof", "--known", "report.json")


def kms(sandbox: Sandbox) -> Any:
    return sandbox.client("kms", ACCOUNT, REGION)


def listed(sandbox: Sandbox, key_id: str) -> list[dict[str, Any]]:
    """KMS's own list of the key's materials."""
    answer = kms(sandbox).list_key_rotations(KeyId=key_id, IncludeKeyMaterial="ALL_KEY_MATERIAL")
    found: list[dict[str, Any]] = answer["Rotations"]
    return found


def states(sandbox: Sandbox, key_id: str) -> list[tuple[str | None, str]]:
    return [(entry.get("KeyMaterialDescription"), entry["KeyMaterialState"]) for entry in listed(sandbox, key_id)]


def sent(sandbox: Sandbox) -> Counter[str]:
    return Counter(call["operation"] for call in sandbox.calls())


class Key:
    """One key of the manifest with several materials, and a run of that manifest."""

    def __init__(self, work: Workplace, forks: Forks, key_id: str, *names: str, **fields: Any) -> None:
        work.defaults |= {"wrapping_key_spec": "RSA_2048", "encoding": "raw"}
        self.work = work
        self.forks = forks
        self.id = key_id
        self.materials: dict[str, bytes] = {}
        self.entry: dict[str, Any] = {
            "id": "payments", "account": ACCOUNT, "region": REGION, "key_id": key_id, "materials": [], **fields,
        }  # fmt: skip
        work.keys.append(self.entry)
        for name in names:
            self.add(name)

    def add(self, name: str, material: bytes | None = None, **fields: Any) -> bytes:
        self.materials[name] = material or os.urandom(32)
        (self.work.folder / f"{name}.key").write_bytes(self.materials[name])
        self.entry["materials"].append({"name": name, "material": f"file:{name}.key", **fields})
        return self.materials[name]

    def run(self, *options: str, kill: Kill | None = None) -> Result:
        self.work.write()
        arguments = ["run", "manifest.json", *quick(options), *options]
        return self.forks.run(self.work.folder, self.work.environment(), arguments, kill=kill)

    def ok(self, *options: str) -> dict[str, Any]:
        """The target's entry of the report of a run that succeeds."""
        result = self.run(*options)
        assert result.code == 0, (result.stderr, [each["error"] for each in result.report["results"]])
        entry: dict[str, Any] = result.entries["payments"]
        return entry

    def refused(self, *options: str) -> dict[str, Any]:
        """The error of the target in a run that changes nothing."""
        result = self.run(*options)
        entry = result.entries["payments"]
        assert (result.code, entry["changed"], entry["changes"]) == (5, False, []), result.stderr
        error: dict[str, Any] = entry["error"]
        return error
