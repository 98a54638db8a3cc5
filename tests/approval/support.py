"""A fleet with a plan that somebody approved, and what KMS shows to a client of its own."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.e2e.support import ACCOUNT, REGION, Result, Workplace, quick
from tests.faults.forks import Forks, Kill
from tests.sandbox_client import Sandbox

CHANGES = frozenset(
    {
        "CreateKey", "CreateAlias", "ImportKeyMaterial", "GetParametersForImport", "ReplicateKey", "RotateKeyOnDemand",
        "PutKeyPolicy", "TagResource", "UpdateKeyDescription",
    }
)  # fmt: skip


class Fleet:
    """Commands in one folder, at one sandbox."""

    def __init__(self, sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
        self.sandbox = sandbox
        self.work = work
        self.forks = forks
        work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly

    def call(self, *arguments: str, kill: Kill | None = None, **environment: str) -> Result:
        settings = quick(arguments)
        return self.forks.run(
            self.work.folder, self.work.environment(**environment), [*arguments, *settings], kill=kill
        )

    def plan(self, *options: str, out: str = "plan.json") -> dict[str, Any]:
        """A plan that can run, saved."""
        self.work.write()
        result = self.call("plan", "manifest.json", "--out", out, *options)
        assert result.code == 0, result.stderr
        found: dict[str, Any] = json.loads((self.work.folder / out).read_bytes())
        return found

    def run(self, *options: str, kill: Kill | None = None, **environment: str) -> Result:
        return self.call("run", "manifest.json", "--plan", "plan.json", *options, kill=kill, **environment)

    def refused(self, *options: str, says: str, **environment: str) -> str:
        """`run` refuses the plan: exit code 3, and no call. Returns what it said."""
        before = len(self.sandbox.calls())
        result = self.run(*options, **environment)
        assert result.code == 3, (result.code, result.stderr)
        assert says in result.stderr, result.stderr
        assert len(self.sandbox.calls()) == before
        return result.stderr

    def kms(self, region: str = REGION) -> Any:
        return self.sandbox.client("kms", ACCOUNT, region)

    def state(self, key_id: str, region: str = REGION) -> str:
        return str(self.kms(region).describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"])

    def changes(self, *key_ids: str) -> Counter[str]:
        """Calls that change something: of these keys, or of all; by operation."""
        return Counter(
            call["operation"]
            for call in self.sandbox.calls()
            if call["operation"] in CHANGES and (not key_ids or any(key_id in str(call["key"]) for key_id in key_ids))
        )


def stale(result: Result, name: str = "one") -> str:
    """What the error of a target says that is no longer as the plan saw it."""
    entry = result.entries[name]
    assert entry["error"] is not None, entry
    assert (entry["status"], entry["changed"], entry["error"]["code"]) == ("failed", False, "PlanStale"), entry["error"]
    assert entry["error"]["advice"]
    return str(entry["error"]["message"])
