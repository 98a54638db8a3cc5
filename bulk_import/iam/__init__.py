"""Least-privilege policies for exactly one manifest: the importer roles', their keys' and the caller's. Calls no one.

    targets ─ grants.py ─▶ operations under conditions ─ policies.py ─▶ policy documents ─┬─ document.py ───── JSON
                                                         packing.py: IAM's limits         └─ cloudformation.py

Only what `run` calls is granted, or `prepare`, or `submit`. https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html
"""

from __future__ import annotations

from bulk_import.iam.caller import check_caller
from bulk_import.iam.cloudformation import caller_template, importer_template
from bulk_import.iam.document import document
from bulk_import.iam.grants import Asked
from bulk_import.iam.material import vault_policy
from bulk_import.iam.policies import Access, access
from bulk_import.iam.sessions import discovery_policies, session_policies

__all__ = [
    "Access",
    "Asked",
    "access",
    "caller_template",
    "check_caller",
    "discovery_policies",
    "document",
    "importer_template",
    "session_policies",
    "vault_policy",
]
