"""What a bundle and a sealed file say, line by line: the reference of every field, from which the schema is made.

Bundle: a BundleHead, then one line per selected target: Prepared, or NotPrepared. Sealed file: a SealedHead, then one
SealedKey per target that its custodian sealed. Neither holds key material in the clear. An import token is of use only
together with sealed material, and only to those who may call ImportKeyMaterial.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from bulk_import.ceremony.lines import CeremonyError, lines, refuse
from bulk_import.model.fields import ACCOUNT, REGION, AccountId, Count, Moment, Sha256, TargetId, about
from bulk_import.model.kms import KeySpec, WrappingAlgorithm, WrappingKeySpec
from bulk_import.model.run import ENDPOINTS, ENVIRONMENT, PARTITION, CallerFacts, Environment, ManifestFacts, Tool

VERSION: Final = 1
_STRICT: Final = ConfigDict(extra="forbid")

Base64 = Annotated[str, Field(pattern="^[A-Za-z0-9+/]+={0,2}$", max_length=65_536)]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How an account is entered."""

    __pydantic_config__ = _STRICT

    account: Annotated[AccountId, ACCOUNT]
    role_arn: Annotated[str | None, about("Role to assume. null: the caller's own credentials.")]
    external_id: Annotated[str | None, about("External ID of the role, if it needs one.")]
    session_duration: Annotated[int, about("Seconds.", ge=900, le=43200)]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class BundleHead:
    """The first line of a bundle."""

    kind: Annotated[Literal["bundle"], about("What this line is.")]
    version: Annotated[Literal[1], about("Version of this format.")]
    tool: Annotated[Tool, about("What wrote this.")]
    bundle_id: Annotated[str, about("ID of the `prepare` that began this bundle.")]
    prepared_at: Annotated[Moment, about("When it began.")]
    prepared_by: Annotated[CallerFacts, about("Whose credentials assumed the roles.")]
    partition: Annotated[str, PARTITION]
    environment: Annotated[Environment, ENVIRONMENT]
    endpoints: Annotated[dict[str, str], ENDPOINTS]
    manifest: Annotated[ManifestFacts, about("The manifest that was prepared.")]
    selection: Annotated[dict[str, list[str]], about("What --only-… chose. Empty: all.")]
    selected: Annotated[Count, about("Number of selected targets: so many lines follow if the bundle is complete.")]
    standby: Annotated[bool, about("Whether every target was prepared, also those that are as wanted.")]
    accounts: Annotated[list[Access], about("One entry per account.")]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """What every line about a target begins with."""

    kind: Annotated[str, about("What this line is.")]
    manifest_sha256: Annotated[Sha256, about("The manifest of this file's first line.")]
    index: Annotated[Count, about("Position among the selected targets of the bundle, from 0.")]
    id: Annotated[TargetId, about("The manifest's.")]
    account: Annotated[AccountId, ACCOUNT]
    region: Annotated[str, REGION]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class _Selected(_Line):
    """A target of a bundle: what the manifest says of it, and what KMS showed."""

    key_id: Annotated[str, about("As the manifest names the key.")]
    key_arn: Annotated[str | None, about("The KMS key. null: not known.")]
    key_spec: Annotated[KeySpec | None, about("As KMS showed it. null: not known.")]
    key_material_id: Annotated[str | None, about("As the manifest specifies it.")]
    valid_to: Annotated[Moment | None, about("The manifest's valid_to.")]
    valid_for: Annotated[int | None, about("The manifest's valid_for in seconds; it counts from `submit`.")]
    renew_before: Annotated[int | None, about("The manifest's renew_before in seconds.")]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared(_Selected):
    """One target with its import parameters."""

    kind: Annotated[Literal["prepared"], about("What this line is.")]
    key_arn: Annotated[str, about("The KMS key that the parameters are for.")]
    key_spec: Annotated[KeySpec, about("As KMS showed it.")]
    wrapping_algorithm: Annotated[WrappingAlgorithm, about("To seal with.")]
    wrapping_key_spec: Annotated[WrappingKeySpec, about("Key spec of the wrapping key.")]
    public_key: Annotated[Base64, about("The wrapping key, DER SubjectPublicKeyInfo in base64.")]
    import_token: Annotated[Base64, about("The import token in base64.")]
    deadline: Annotated[Moment, about("Until when KMS accepts both: ParametersValidTo.")]
    replicas: Annotated[list[str], about("Of a primary: the Regions of its replicas.")] = field(default_factory=list)
    primary_region: Annotated[str | None, about("Of a replica: the Region of its primary. null: it is none.")] = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class NotPrepared(_Selected):
    """One target without import parameters: as wanted already, or blocked."""

    kind: Annotated[Literal["unchanged", "blocked"], about("Why there are none.")]
    code: Annotated[str | None, about("Name of the error. null: there is none.")]
    message: Annotated[str | None, about("What happened.")]
    replicas: Annotated[list[str], about("Of a primary: the Regions of its replicas.")] = field(default_factory=list)
    primary_region: Annotated[str | None, about("Of a replica: the Region of its primary. null: it is none.")] = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class SealedHead:
    """The first line of a sealed file."""

    kind: Annotated[Literal["sealed"], about("What this line is.")]
    version: Annotated[Literal[1], about("Version of this format.")]
    tool: Annotated[Tool, about("What wrote this.")]
    sealed_at: Annotated[Moment, about("When it began.")]
    bundle_id: Annotated[str, about("Of the bundle that was sealed for.")]
    bundle_sha256: Annotated[Sha256, about("Fingerprint of that bundle, as it was then.")]
    manifest: Annotated[ManifestFacts, about("The custodian's own manifest.")]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKey(_Line):
    """One target's material under KMS's wrapping key, and what proves it later."""

    kind: Annotated[Literal["key"], about("What this line is.")]
    key_arn: Annotated[str, about("The KMS key that it was sealed for.")]
    key_spec: Annotated[KeySpec, about("Of that key.")]
    wrapping_algorithm: Annotated[WrappingAlgorithm, about("That it was sealed with.")]
    wrapping_key_sha256: Annotated[Sha256, about("SHA-256 of the wrapping key, DER SubjectPublicKeyInfo.")]
    encrypted_key_material: Annotated[Base64, about("For ImportKeyMaterial, in base64.")]
    message: Annotated[Base64 | None, about("HMAC keys: a random message, in base64.")]
    mac_algorithm: Annotated[str | None, about("HMAC keys: GenerateMac's MacAlgorithm.")]
    mac: Annotated[Base64 | None, about("HMAC keys: the MAC of the message by the sealed material.")]
    public_key: Annotated[Base64 | None, about("RSA and ECC keys: their public key, DER SubjectPublicKeyInfo.")]
    material_check: Annotated[
        str | None, about("Symmetric keys: the report's material_check.", pattern="^[0-9a-f]{16}$")
    ] = None
    remark: Annotated[str, about("What could not be checked about the material. Often empty.")]


Target = Prepared | NotPrepared
BundleLine = Annotated[BundleHead | Prepared | NotPrepared, Field(discriminator="kind")]
SealedLine = Annotated[SealedHead | SealedKey, Field(discriminator="kind")]
BUNDLE: Final[TypeAdapter[BundleHead | Prepared | NotPrepared]] = TypeAdapter(BundleLine)
SEALED: Final[TypeAdapter[SealedHead | SealedKey]] = TypeAdapter(SealedLine)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read. `targets`: by index."""

    head: BundleHead
    targets: dict[int, Target]


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A sealed file that was read. `keys`: by index, with their line numbers."""

    head: SealedHead
    keys: dict[int, tuple[int, SealedKey]]


def read_bundle(path: Path | str, data: bytes) -> Bundle:
    """Raises CeremonyError, with the line."""
    head: BundleHead | None = None
    targets: dict[int, Target] = {}
    for number, found in _parsed(path, data, BUNDLE):
        if isinstance(found, BundleHead) != (number == 1):
            raise refuse(path, number, _ORDER.format("a bundle"), "Name a bundle that `prepare` wrote.")
        if isinstance(found, BundleHead):
            head = found
            continue
        if head is None or found.manifest_sha256 != head.manifest.sha256:
            raise refuse(path, number, "is for another manifest than the first line.", _FOREIGN)
        before = targets.get(found.index)  # a target that was blocked may have been prepared by a later call
        if (before is not None and before.kind != "blocked") or found.index >= head.selected:
            raise refuse(path, number, f"is a second line for target {found.index}, or for one too many.", _FOREIGN)
        targets[found.index] = found
    if head is None:
        raise refuse(path, 0, "is empty.", "Name a bundle that `prepare` wrote.")
    return Bundle(head, targets)


def read_sealed(path: Path | str, data: bytes) -> SealedFile:
    """Raises CeremonyError, with the line."""
    head: SealedHead | None = None
    keys: dict[int, tuple[int, SealedKey]] = {}
    for number, found in _parsed(path, data, SEALED):
        if isinstance(found, SealedHead) != (number == 1):
            raise refuse(path, number, _ORDER.format("a sealed file"), "Name a file that `seal` wrote.")
        if isinstance(found, SealedHead):
            head = found
            continue
        if head is None or found.manifest_sha256 != head.manifest.sha256:
            raise refuse(path, number, "is for another manifest than the first line.", _FOREIGN)
        if found.index in keys:
            raise refuse(path, number, f"is a second line for target {found.index}.", _FOREIGN)
        keys[found.index] = (number, found)
    if head is None:
        raise refuse(path, 0, "is empty.", "Name a file that `seal` wrote.")
    return SealedFile(head, keys)


_ORDER: Final = "is not in its place: {} has its description in the first line, and targets in the others."
_FOREIGN: Final = "Somebody put it there. Get the file again from the person who made it."


def _parsed(path: Path | str, data: bytes, kinds: TypeAdapter[Any]) -> Iterator[tuple[int, Any]]:
    for number, members in lines(path, data):
        try:
            yield number, kinds.validate_json(orjson.dumps(members), strict=True)
        except ValidationError as error:
            raise _wrong(path, number, error) from None


def _wrong(path: Path | str, number: int, error: ValidationError) -> CeremonyError:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the line"
    return refuse(path, number, f"cannot be used: {field}: {first['msg']}.", "Use the version that wrote it.")


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the lines of both files, without the members that lines.py adds to each."""
    lines_of_both: TypeAdapter[Any] = TypeAdapter(BundleHead | Prepared | NotPrepared | SealedHead | SealedKey)
    framing = {
        "line": {"type": "integer", "description": "Number of the line, from 1."},
        "after": {"type": "string", "description": "`check` of the line before it; zeros in the first line."},
        "check": {"type": "string", "description": "First 16 hex digits of the SHA-256 of the line without `check`."},
    }
    made = lines_of_both.json_schema(mode="serialization")
    for name in ("BundleHead", "Prepared", "NotPrepared", "SealedHead", "SealedKey"):
        part = made["$defs"][name]
        part["properties"] = {**framing, **part["properties"]}
        part["required"] = [*framing, *part["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bulk-import bundle and sealed file, version 1: one line",
        **made,
    }


def members(line: object) -> dict[str, Any]:
    """A line as values of JSON."""
    kinds: TypeAdapter[Any] = TypeAdapter(type(line))
    return dict(kinds.dump_python(line, mode="json"))
