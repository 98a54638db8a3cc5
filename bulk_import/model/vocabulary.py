"""The data types that all stages share. Frozen and slotted: a stage reads them and creates new ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from bulk_import.model.ceremony import CeremonyFacts
from bulk_import.model.material import NEVER, Encoding, Entry, Expect, Expiry
from bulk_import.shown import shown


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


_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
S3_SCHEME = "s3://"
STDOUT = "-"  # as a destination; as a source, stdin


@dataclass(frozen=True, slots=True)
class ObjectUri:
    """An object of S3, by s3://bucket/key. The key is taken as it stands: nothing in it is percent-decoded.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{S3_SCHEME}{self.bucket}/{self.key}"

    @classmethod
    def parse(cls, text: str) -> ObjectUri:
        """Raises ValueError, whose message is for people."""
        bucket, _, key = text.removeprefix(S3_SCHEME).partition("/")
        if not text.startswith(S3_SCHEME):
            raise ValueError("write s3://bucket/key")
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{bucket!r} is not a bucket name. Write s3://bucket/key")
        if not key or key.endswith("/") or len(key.encode()) > 1024:
            raise ValueError(f"{text!r} does not name an object. Write s3://bucket/key, the key of at most 1,024 bytes")
        return cls(bucket, key)

    def beside(self, name: str) -> ObjectUri:
        """The object of this name in the same folder."""
        folder, slash, _ = self.key.rpartition("/")
        return ObjectUri(self.bucket, f"{folder}{slash}{name}")

    @property
    def name(self) -> str:
        """What is after the last slash."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What S3 says of an object, all of one moment."""

    etag: str
    size: int  # bytes
    modified: datetime
    metadata: Mapping[str, str]  # as its writer set it


def in_s3(uri: str | None) -> bool:
    return uri is not None and uri.startswith(S3_SCHEME)


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """One account in one Region: what KMS's quotas are counted by."""

    partition: str
    account: str
    region: str

    def __str__(self) -> str:
        return f"{self.account}/{self.region}"


@dataclass(frozen=True, slots=True)
class AccountAccess:
    """How an account is entered. `role_arn` None: with the caller's own credentials."""

    account: str
    role_arn: str | None
    external_id: str | None = None
    session_duration: int = 3600  # seconds; role chaining allows no more


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """An inline policy of an assumed session. `scope`: `keys` (on the manifest's keys) or `operations` (on any)."""

    scope: str
    document: str  # JSON


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
class Create:
    """How a missing key is created, and what an existing one must show. None: KMS's default, and any is as wanted."""

    description: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    multi_region: bool | None = None
    policy: str | None = None  # JSON


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


@dataclass(frozen=True, slots=True)
class Primary:
    """Of a replica: where the primary key of its multi-Region key is, and how the manifest names it there."""

    lane: Lane
    key_id: str

    @property
    def alias(self) -> bool:
        """Whether only KMS knows the key ID."""
        return self.key_id.rsplit(":", 1)[-1].startswith("alias/")


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """Of material that was sealed before the run. `import_token`: URI. `wrapping_key_spec` None: not known."""

    import_token: str
    wrapping_key_spec: WrappingKeySpec | None


@dataclass(frozen=True, slots=True)
class Target:
    """One KMS key that must hold one key material. Holds a reference to the material, never its bytes."""

    index: int  # position among the targets of this run, in manifest order
    id: str
    lane: Lane
    key_id: str
    material: str  # URI of a source, placeholders already filled in; of encrypted_key_material, if it is ready-made
    encoding: Encoding | None = None
    key_spec: KeySpec | None = None
    key_material_id: str | None = None
    expect: Expect | None = None
    wrapping_algorithm: WrappingAlgorithm | None = None
    wrapping_key_spec: WrappingKeySpec = WrappingKeySpec.RSA_4096
    expiry: Expiry = NEVER
    line: int = 0  # of the manifest
    position: int | None = None  # of a shard's target: among the targets selected before sharding
    key_usage: KeyUsage | None = None
    create: Create | None = None  # None: the key must exist
    materials: tuple[Entry, ...] = ()  # oldest first; empty: the key has one material, which the fields above describe
    replicas: tuple[str, ...] = ()  # of a primary: the Regions of its replicas, as listed
    primary: Primary | None = None  # of a replica
    ready_made: ReadyMade | None = None  # None: the program seals the material

    def __str__(self) -> str:
        return f"{self.id} in {self.lane}"

    @property
    def alias(self) -> str | None:
        """`alias/…`, where the manifest names the key by an alias or its ARN."""
        name = self.key_id.rsplit(":", 1)[-1]
        return name if name.startswith("alias/") else None

    @property
    def parts(self) -> tuple[Target, ...]:
        """A target with one material for each that the key must hold, oldest first. Of one material: itself.

        Sources, checks and seals, which work with one material, work with these.
        """
        if not self.materials:
            return (self,)
        return tuple(
            replace(
                self, material=entry.material, encoding=entry.encoding, expect=entry.expect,
                key_material_id=entry.key_material_id, expiry=entry.expiry, materials=(),
                key_spec=KeySpec.SYMMETRIC_DEFAULT,  # KMS rotates no other
            )
            for entry in self.materials
        )  # fmt: skip

    @property
    def sealed_under(self) -> WrappingKeySpec | None:
        """The size of the wrapping key of an import. None: it was sealed elsewhere, and the manifest does not say."""
        return self.ready_made.wrapping_key_spec if self.ready_made else self.wrapping_key_spec

    @property
    def shown_key_id(self) -> str:
        """`key_id` as it may be written down: people paste keys behind `alias/`, too."""
        return shown(self.key_id)

    @property
    def reported_index(self) -> int:
        """The report's `index`: it is the same in every shard and in an unsharded run."""
        return self.index if self.position is None else self.position


@dataclass(frozen=True, slots=True)
class FailedTargets:
    """Targets that failed or were not attempted in an earlier run, by id, account and Region. `name`: of its report."""

    name: str
    run_id: str
    manifest_sha256: str
    targets: frozenset[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read, checked, expanded and selected from."""

    uri: str
    sha256: str  # of the bytes read
    targets: tuple[Target, ...]  # the selected ones, in manifest order
    accounts: dict[str, AccountAccess]  # of the selected targets
    total: int  # targets of the whole manifest
    partition: str
    folder: str | None  # that relative material paths start from; None: stdin or S3 without --material-root
    before_sharding: int | None = None  # targets selected before --shard took its part; None: no shard
    files: tuple[str, ...] = ()  # other than material, that the manifest names: paths in `folder`
    ceremony: CeremonyFacts | None = None  # what the targets were read from, if not from a manifest
    failed_in: str | None = None  # of --only-failed: the run whose failed targets were selected

    @property
    def shown_uri(self) -> str:
        """`uri` as it may be written down: without what looks like key material, or the user of a URL."""
        return shown(self.uri)

    @property
    def selected(self) -> int:
        """Targets selected before sharding: what the reports of all shards must add up to."""
        return len(self.targets) if self.before_sharding is None else self.before_sharding


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
class AmongSeveral:
    """What ImportKeyMaterial says in addition of one material of several. Symmetric keys only.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html
    """

    import_type: str  # NEW_KEY_MATERIAL | EXISTING_KEY_MATERIAL
    description: str
    key_material_id: str | None = None  # of existing material


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


@dataclass(frozen=True, slots=True)
class KnownMaterial:
    """What an earlier report proves of a symmetric key: the ID that KMS gave the source's material."""

    key_material_id: str
    material_check: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What an earlier part of the same run is known to have sent of one kind of change of one target."""

    attempts: int = 0  # requests that were sent, or may have been
    accepted: bool = False  # one was answered with 200
    in_doubt: bool = False  # one got no clear answer


@dataclass(frozen=True, slots=True)
class Past:
    """What an earlier part of the same run, before it was killed or stopped, is known to have done with a target."""

    key_arn: str  # that key_id was resolved to; it must still be. Empty: no key was found or created yet
    key_state: str  # as found before the first change; empty as above
    expiration_model: str | None
    valid_to: datetime | None
    sent: Mapping[str, Sent] = field(default_factory=dict)  # by operation, in order of the first intent
    key_material_id: str | None = None  # that KMS answered
    key_spec: str | None = None  # as found; it never changes
    ended_as: str | None = None  # the Status with which the target ended OK, if it ever did
    rechecks: bool = False  # it did last: it is only read again
    changed: bool = False  # a change took effect and was verified
    ended_state: str | None = None  # the key's state then
    asked_valid_to: datetime | None = None  # of the last import: not always the one that the run fixed at its start
    material_ids: Mapping[str, str] = field(default_factory=dict)  # of `materials`: by name, what KMS answered

    def of(self, operation: str) -> Sent:
        return self.sent.get(operation, Sent())
