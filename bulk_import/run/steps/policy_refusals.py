"""Refusals of a key policy, of CreateKey and PutKeyPolicy alike: which pass by themselves.

https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
"""

from __future__ import annotations

from bulk_import.errors import ServiceError

# A principal that was created a moment ago is not known to KMS yet.
SOON = frozenset({"MalformedPolicyDocumentException"})
LOCKOUT = "will not allow you to update the key policy"  # the check that this program never bypasses


def passes(error: ServiceError) -> bool:
    """Whether the same policy may be accepted a moment later."""
    return error.code in SOON and LOCKOUT not in error.message
