"""Under which heading --help lists a setting: by its name, otherwise by its group."""

from __future__ import annotations

from typing import Final

from bulk_import.settings.marks import group_of
from bulk_import.settings.model import Settings

OTHERS: Final = "Options"  # --config, --help
_MEMBERS: Final[dict[str, tuple[str, ...]]] = {
    "Selection and guards": (
        "account", "region",
        "only_account", "only_region", "only_id", "only_failed", "all", "shard", "shards", "allow_account",
        "allow_source",
        "allow_source_role", "max_targets",
    ),
    "Manifest": ("manifest", "role"),
    "Sources of key material": ("sources", "hsm"),
    "Verification and proof": ("prove", "correct", "decide", "prove_use", "require_proof", "known", "verify_timeout"),
    "Report and journal": (
        "report", "render", "label", "journal", "resume", "checkpoint", "checkpoint_interval", "s3", "format", "output",
        "allow_stale",
    ),
    "Ceremony": ("prepare", "trust", "sign"),
    "Run": ("run", "delete", "dry_run", "plan_only", "out", "approved", "status", "validate", "iam", "sandbox"),
    "Pace": ("aws",),
    "Access to AWS": ("caller",),
    "Log": ("common",),
}  # fmt: skip
HEADINGS: Final = (*_MEMBERS, OTHERS)


def heading_of(name: str) -> str:
    group = group_of(Settings.model_fields[name])
    for member in (name, group):
        for heading, members in _MEMBERS.items():
            if member in members:
                return heading
    return OTHERS
