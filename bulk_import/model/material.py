"""Key material as a manifest describes it: one material, or one of several that a key holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum


class Encoding(StrEnum):
    """How the bytes of a source become key material."""

    RAW = "raw"
    BASE64 = "base64"
    HEX = "hex"
    PEM = "pem"


@dataclass(frozen=True, slots=True)
class Expect:
    """A check value of the material; exactly one is set. Lower-case hex."""

    kcv: str | None = None  # AES: the first 3 bytes of AES-ECB of a zero block
    spki_sha256: str | None = None  # asymmetric: SHA-256 of the public key, DER SubjectPublicKeyInfo


@dataclass(frozen=True, slots=True)
class Expiry:
    """When the material must expire: at an instant, some time after the run's start, or (both None) never."""

    valid_to: datetime | None = None  # aware, whole seconds
    valid_for: timedelta | None = None
    renew_before: timedelta | None = None  # with valid_for only; None: a third of it

    @property
    def never(self) -> bool:
        return self.valid_to is None and self.valid_for is None

    def renews_before(self, valid_for: timedelta) -> timedelta:
        """With so little life left or less, material is imported again."""
        return self.renew_before if self.renew_before is not None else valid_for / 3

    def instant(self, run_started: datetime) -> datetime | None:
        """The ValidTo to import with, in whole seconds of UTC (KMS keeps no fractions)."""
        if self.valid_for is not None:
            return (run_started + self.valid_for).astimezone(UTC).replace(microsecond=0)
        return self.valid_to.astimezone(UTC) if self.valid_to else None


NEVER = Expiry()


@dataclass(frozen=True, slots=True)
class Entry:
    """One of several key materials of a symmetric key. Holds a reference to the material, never its bytes.

    https://docs.aws.amazon.com/kms/latest/developerguide/rotating-keys-on-demand.html
    """

    name: str  # KMS's KeyMaterialDescription of it
    material: str  # URI of a source, placeholders already filled in
    encoding: Encoding | None = None
    expect: Expect | None = None
    key_material_id: str | None = None
    expiry: Expiry = NEVER
