"""The data types that all stages share: KMS's terms (kms.py), targets (target.py), results (result.py).

Frozen and slotted: a stage reads them and creates new ones.
"""

from __future__ import annotations

from bulk_import.model.approval import Binding, CheckValue, Own, PlanFacts
from bulk_import.model.kms import (
    ImportParameters,
    KeyRotation,
    KeySpec,
    KeyState,
    KeyUsage,
    KeyView,
    NewKey,
    NewReplica,
    WrappingAlgorithm,
    WrappingKeySpec,
    key_usages,
)
from bulk_import.model.material import NEVER, Encoding, Entry, Expect, Expiry
from bulk_import.model.past import KnownMaterial, Past, Sent
from bulk_import.model.place import S3_SCHEME, STDOUT, ObjectFacts, ObjectUri, in_s3
from bulk_import.model.result import (
    Change,
    Failure,
    HeldMaterial,
    Outcome,
    Proof,
    Request,
    Status,
    Verification,
)
from bulk_import.model.target import (
    AccountAccess,
    AmongSeveral,
    Create,
    FailedTargets,
    Lane,
    Manifest,
    Primary,
    ReadyMade,
    SessionPolicy,
    Target,
)

__all__ = [
    "NEVER",
    "S3_SCHEME",
    "STDOUT",
    "AccountAccess",
    "AmongSeveral",
    "Binding",
    "Change",
    "CheckValue",
    "Create",
    "Encoding",
    "Entry",
    "Expect",
    "Expiry",
    "FailedTargets",
    "Failure",
    "HeldMaterial",
    "ImportParameters",
    "KeyRotation",
    "KeySpec",
    "KeyState",
    "KeyUsage",
    "KeyView",
    "KnownMaterial",
    "Lane",
    "Manifest",
    "NewKey",
    "NewReplica",
    "ObjectFacts",
    "ObjectUri",
    "Outcome",
    "Own",
    "Past",
    "PlanFacts",
    "Primary",
    "Proof",
    "ReadyMade",
    "Request",
    "Sent",
    "SessionPolicy",
    "Status",
    "Target",
    "Verification",
    "WrappingAlgorithm",
    "WrappingKeySpec",
    "in_s3",
    "key_usages",
]
