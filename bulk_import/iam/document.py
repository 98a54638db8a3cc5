"""`iam --format json`: one document with a section for each account, and one for the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bulk_import import __version__
from bulk_import.iam.grants import RUN, Asked
from bulk_import.iam.material import statements
from bulk_import.iam.packing import pack
from bulk_import.iam.policies import Access, caller_policies
from bulk_import.model import Manifest


def document(
    manifest: Manifest, accounts: Sequence[Access], caller_arn: str | None, asked: Asked = RUN
) -> dict[str, Any]:
    """What to attach where. Accounts in the manifest's order."""
    return {
        "schema_version": 1,
        "tool": {"name": "bulk-import", "version": __version__},
        "manifest": {"uri": manifest.shown_uri, "sha256": manifest.sha256, "targets": manifest.total},
        "partition": manifest.partition,
        "caller": {"arn": caller_arn, "permissions_policies": caller_policies(manifest, caller_arn, asked)},
        **(_source_roles(manifest) if asked.opens_sources else {}),
        "accounts": [_section(access) for access in accounts],
    }


def _source_roles(manifest: Manifest) -> dict[str, Any]:
    """Roles that URIs of material name with role=: what each must be allowed to read."""
    found = {role: made for role, made in statements(manifest, None).items() if role is not None}
    if not found:
        return {}
    return {
        "source_roles": [
            {"role_arn": role, "permissions_policies": pack(made, most=len(made)) or []} for role, made in found.items()
        ]
    }


def _section(access: Access) -> dict[str, Any]:
    return {
        "account": access.account.account,
        "role_arn": access.account.role_arn,
        "targets": len(access.targets),
        "permissions_policies": list(access.permissions),
        "trust_policy": access.trust,
        "key_policies": [
            {
                "keys": [
                    {"id": target.id, "region": target.lane.region, "key_id": target.key_id} for target in each.targets
                ],
                "statements": list(each.statements),
            }
            for each in access.key_policies
        ],
        "warnings": list(access.warnings),
    }
