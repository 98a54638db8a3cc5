"""KMS's terms: key specs, states, and what its responses say.

https://docs.aws.amazon.com/kms/latest/APIReference/Welcome.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class KeySpec(StrEnum):
    """Key specs whose material can be imported (SM2 of the China Regions is not in this version)."""

    SYMMETRIC_DEFAULT = "SYMMETRIC_DEFAULT"
    HMAC_224 = "HMAC_224"
    HMAC_256 = "HMAC_256"
    HMAC_384 = "HMAC_384"
    HMAC_512 = "HMAC_512"
    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"
    ECC_NIST_P256 = "ECC_NIST_P256"
    ECC_NIST_P384 = "ECC_NIST_P384"
    ECC_NIST_P521 = "ECC_NIST_P521"
    ECC_SECG_P256K1 = "ECC_SECG_P256K1"
    ECC_NIST_EDWARDS25519 = "ECC_NIST_EDWARDS25519"

    @property
    def symmetric(self) -> bool:
        """Whether KMS gives the key's material an ID (KeyMaterialId)."""
        return self is KeySpec.SYMMETRIC_DEFAULT

    @property
    def hmac(self) -> bool:
        return self.value.startswith("HMAC_")

    @property
    def asymmetric(self) -> bool:
        return not (self.symmetric or self.hmac)


class WrappingAlgorithm(StrEnum):
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_GetParametersForImport.html"""

    RSAES_OAEP_SHA_1 = "RSAES_OAEP_SHA_1"
    RSAES_OAEP_SHA_256 = "RSAES_OAEP_SHA_256"
    RSA_AES_KEY_WRAP_SHA_1 = "RSA_AES_KEY_WRAP_SHA_1"
    RSA_AES_KEY_WRAP_SHA_256 = "RSA_AES_KEY_WRAP_SHA_256"


class WrappingKeySpec(StrEnum):
    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"


class KeyUsage(StrEnum):
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html"""

    ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
    SIGN_VERIFY = "SIGN_VERIFY"
    KEY_AGREEMENT = "KEY_AGREEMENT"
    GENERATE_VERIFY_MAC = "GENERATE_VERIFY_MAC"


def key_usages(spec: KeySpec) -> tuple[KeyUsage, ...]:
    """What a key of this spec can be made for."""
    if spec.symmetric:
        return (KeyUsage.ENCRYPT_DECRYPT,)
    if spec.hmac:
        return (KeyUsage.GENERATE_VERIFY_MAC,)
    if spec.startswith("RSA_"):
        return (KeyUsage.ENCRYPT_DECRYPT, KeyUsage.SIGN_VERIFY)
    if spec.startswith("ECC_NIST_P"):
        return (KeyUsage.SIGN_VERIFY, KeyUsage.KEY_AGREEMENT)
    return (KeyUsage.SIGN_VERIFY,)


@dataclass(frozen=True, slots=True)
class NewKey:
    """What CreateKey is asked for; the origin is always EXTERNAL."""

    key_spec: KeySpec
    key_usage: KeyUsage
    description: str | None
    tags: Mapping[str, str]
    multi_region: bool
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class NewReplica:
    """What ReplicateKey is asked for."""

    region: str
    description: str | None
    tags: Mapping[str, str]
    policy: str | None = None


class KeyState(StrEnum):
    CREATING = "Creating"
    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETION = "PendingDeletion"
    PENDING_IMPORT = "PendingImport"
    PENDING_REPLICA_DELETION = "PendingReplicaDeletion"
    UNAVAILABLE = "Unavailable"
    UPDATING = "Updating"


@dataclass(frozen=True, slots=True)
class KeyView:
    """What one DescribeKey answered: one host's view, which may be stale."""

    arn: str
    state: str  # a KeyState; text, so that a state unknown to this version is reported, not a crash
    origin: str
    manager: str  # CUSTOMER | AWS
    key_spec: str
    key_usage: str
    expiration_model: str | None = None
    valid_to: datetime | None = None
    current_key_material_id: str | None = None
    description: str = ""
    multi_region: bool = False
    tags: tuple[tuple[str, str], ...] | None = None  # those that the manifest names; None: not read
    policy: str | None = None  # JSON; None: not read
    materials: tuple[KeyRotation, ...] | None = None  # what ListKeyRotations answered right after; None: not asked
    # Of a multi-Region key: where KMS says that the family is. Not a part of the key's own state, so not compared.
    primary_region: str | None = field(default=None, compare=False)
    replica_regions: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ImportParameters:
    """What GetParametersForImport answered. Lives in memory only; `repr` hides the token."""

    token: bytes = field(repr=False)
    public_key: bytes  # DER SubjectPublicKeyInfo of the wrapping key; empty: not known
    valid_to: datetime
    seal_again: str | None = None  # advice if KMS refuses the token. None: the program gets other parameters by itself


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """One entry of ListKeyRotations with ALL_KEY_MATERIAL."""

    key_material_id: str
    key_material_state: str  # CURRENT | NON_CURRENT | PENDING_ROTATION | …
    import_state: str | None = None  # IMPORTED | PENDING_IMPORT
    expiration_model: str | None = None
    valid_to: datetime | None = None
    description: str | None = None  # KeyMaterialDescription
    rotation_date: datetime | None = None  # None: the key's first material, or one that was never current
    rotation_type: str | None = None  # ON_DEMAND | AUTOMATIC
