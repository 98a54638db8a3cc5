"""The targets of a run: which key, in which lane, must hold which material. From the manifest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from bulk_import.model.approval import PlanFacts
from bulk_import.model.ceremony import CeremonyFacts
from bulk_import.model.kms import KeySpec, KeyUsage, WrappingAlgorithm, WrappingKeySpec
from bulk_import.model.material import NEVER, Encoding, Entry, Expect, Expiry
from bulk_import.shown import shown


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


@dataclass(frozen=True, slots=True)
class Create:
    """How a missing key is created, and what an existing one must show. None: KMS's default, and any is as wanted."""

    description: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    multi_region: bool | None = None
    policy: str | None = None  # JSON


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
    def related(self) -> bool:
        """Whether it is one of several Regions of a key: a primary with `replicas`, or a replica."""
        return self.primary is not None or bool(self.replicas)

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
    plan: PlanFacts | None = None  # of --plan

    def counts_from(self, started: datetime) -> datetime:
        """Where `valid_for` counts from, in a run that started then."""
        return started if self.plan is None else self.plan.created_at

    @property
    def shown_uri(self) -> str:
        """`uri` as it may be written down: without what looks like key material, or the user of a URL."""
        return shown(self.uri)

    @property
    def selected(self) -> int:
        """Targets selected before sharding: what the reports of all shards must add up to."""
        return len(self.targets) if self.before_sharding is None else self.before_sharding


@dataclass(frozen=True, slots=True)
class AmongSeveral:
    """What ImportKeyMaterial says in addition of one material of several. Symmetric keys only.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html
    """

    import_type: str  # NEW_KEY_MATERIAL | EXISTING_KEY_MATERIAL
    description: str
    key_material_id: str | None = None  # of existing material
