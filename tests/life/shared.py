"""What tests of several commands do to a key's life: a race for its alias, a Region that shows other material."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.e2e.support import ACCOUNT, REGION, Result, Workplace
from tests.faults.support import fired, wait_until
from tests.sandbox_client import Sandbox

Answer = dict[str, Any]


def lose_the_race(sandbox: Sandbox, work: Workplace) -> tuple[Result, Answer]:
    """A run that creates a key; meanwhile somebody else gives alias/payments to another one, which is returned too."""
    kms = sandbox.client("kms", ACCOUNT, REGION)
    rule = sandbox.hold("CreateAlias", times=1)
    process = work.start("--read-timeout", "100s")
    wait_until(lambda: fired(sandbox) > 0, process)  # its CreateAlias is on its way
    winner = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]
    kms.create_alias(AliasName="alias/payments", TargetKeyId=winner["KeyId"])
    sandbox.release(rule)
    return work.finish(process), winner


def other_material_in(region: str) -> Callable[[str, Answer], Answer]:
    """For a Rewriter: every key of the Region shows another CurrentKeyMaterialId."""

    def rewrite(_: str, answer: Answer) -> Answer:
        found = answer.get("KeyMetadata", {})
        if f":{region}:" in found.get("Arn", ""):
            found["CurrentKeyMaterialId"] = "ab" * 32
        return answer

    return rewrite
