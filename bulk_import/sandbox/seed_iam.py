"""Roles, trust and policies as `bulk-import iam` printed them, put into a sandbox.

This reads that command's documented JSON output; none of its code is used.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from bulk_import.errors import InputError, Problem
from bulk_import.sandbox.access.documents import faults
from bulk_import.sandbox.identity import ROLE_ARN, Identity, Role


def plant_iam(identity: Identity, path: Path) -> None:
    """Gives the roles of the document their policies and trust. Raises InputError that names the file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        caller = document["caller"]
        _attach(identity, caller["arn"], caller["permissions_policies"], None)
        for account in document["accounts"]:
            policies, trust = account["permissions_policies"], account["trust_policy"]
            for policy in (*policies, *([trust] if trust else [])):
                faults(policy)
            _attach(identity, account["role_arn"], policies, trust)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        advice = "Write it again: bulk-import iam MANIFEST > FILE"
        message = f"is not what `bulk-import iam` prints ({type(error).__name__}: {error})."
        raise InputError([Problem(str(path), 0, "", message, advice)]) from None


def _attach(identity: Identity, arn: str | None, policies: list[Any], trust: dict[str, Any] | None) -> None:
    """To the role `arn`; without a role, to the caller. What the seed file says of a role's trust stays."""
    match = ROLE_ARN.fullmatch(arn or "")
    if not match:
        identity.caller_policies = [*(identity.caller_policies or []), *policies]
        return
    roles = identity.roles.setdefault(match[2], {})
    role = roles.get(match[3], Role(match[3]))
    roles[match[3]] = replace(role, policies=(*role.policies, *policies), trust=role.trust or trust)
