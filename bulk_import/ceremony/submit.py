"""The last step: sealed material is imported with the bundle's import parameters, verified and proved as in a run.

The bundle says which keys and which parameters, the sealed files say which material, and every input was vouched for
before anything of it was used (trust.py). Each pair must agree about the key, the wrapping key and the algorithm.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bulk_import.ceremony.bundle import (
    Bundle,
    NotPrepared,
    Prepared,
    SealedFile,
    SealedKey,
    read_bundle,
    read_sealed,
)
from bulk_import.ceremony.lines import prefixes, refuse
from bulk_import.ceremony.trust import Vouched
from bulk_import.errors import TargetError
from bulk_import.journal.entry import instant
from bulk_import.material import Held, Materials
from bulk_import.material.evidence import Evidence
from bulk_import.material.sources.base import Opening
from bulk_import.model import (
    AccountAccess,
    Expiry,
    ImportParameters,
    KeySpec,
    Lane,
    Manifest,
    Primary,
    Target,
    WrappingAlgorithm,
    WrappingKeySpec,
)
from bulk_import.model.ceremony import CeremonyFacts, CeremonyFile
from bulk_import.settings import Settings
from bulk_import.words import as_utc


@dataclass(frozen=True, slots=True)
class Inputs:
    """A bundle and its sealed files, read and compared."""

    bundle: Bundle
    keys: dict[int, SealedKey]  # by the bundle's index
    facts: CeremonyFacts


def read(bundle_file: Vouched, sealed_files: Sequence[Vouched]) -> Inputs:
    """Raises CeremonyError for the first line that does not fit, with its number."""
    bundle = read_bundle(bundle_file.name, bundle_file.data)
    known = set(prefixes(bundle_file.data))
    keys: dict[int, SealedKey] = {}
    files = []
    for vouched in sealed_files:
        sealed = read_sealed(vouched.name, vouched.data)
        if sealed.head.bundle_sha256 not in known:
            raise refuse(vouched.name, 1, "was sealed for another bundle.", "Name the bundle that it was sealed for.")
        for number, key in sealed.keys.values():
            if difference := _difference(bundle, key):
                raise refuse(vouched.name, number, f"does not fit the bundle: {difference}.", _FOREIGN)
            if key.index in keys:
                message = f"is a second sealed material for {key.id} in {key.account}/{key.region}."
                raise refuse(vouched.name, number, message, "Give only one of the two files.")
            keys[key.index] = key
        files.append(_facts(vouched, sealed))
    head = bundle.head
    prepared = CeremonyFile(
        file=bundle_file.name, sha256=bundle_file.fingerprint, signed_by=bundle_file.signed_by,
        made_at=instant(head.prepared_at), manifest_sha256=head.manifest.sha256, targets=len(bundle.targets),
    )  # fmt: skip
    facts = CeremonyFacts(
        bundle=prepared, prepared_by_account=head.prepared_by.account, prepared_by=head.prepared_by.arn,
        standby=head.standby, sealed=files,
    )  # fmt: skip
    return Inputs(bundle, keys, facts)


_FOREIGN = "Somebody changed it, or it belongs to another ceremony. Seal for this bundle again."


def _facts(vouched: Vouched, sealed: SealedFile) -> CeremonyFile:
    return CeremonyFile(
        file=vouched.name, sha256=vouched.fingerprint, signed_by=vouched.signed_by,
        made_at=instant(sealed.head.sealed_at), manifest_sha256=sealed.head.manifest.sha256, targets=len(sealed.keys),
    )  # fmt: skip


def _difference(bundle: Bundle, key: SealedKey) -> str | None:
    line = bundle.targets.get(key.index)
    if not isinstance(line, Prepared):
        return f"target {key.index} has no import parameters there"
    wrapping_key = hashlib.sha256(base64.b64decode(line.public_key)).hexdigest()
    pairs = [
        ("key_arn", key.key_arn, line.key_arn),
        ("id", (key.id, key.account, key.region), (line.id, line.account, line.region)),
        ("key_spec", key.key_spec, line.key_spec),
        ("wrapping_algorithm", key.wrapping_algorithm, line.wrapping_algorithm),
        ("the wrapping key", key.wrapping_key_sha256, wrapping_key),
    ]
    return next((f"{name} is another one" for name, sealed, prepared in pairs if sealed != prepared), None)


def manifest_of(inputs: Inputs) -> Manifest:
    """The bundle's targets, each named by the ARN that its parameters are for."""
    head = inputs.bundle.head
    lines = [inputs.bundle.targets[index] for index in sorted(inputs.bundle.targets)]
    targets = tuple(_target(index, line, head.partition) for index, line in enumerate(lines))
    accounts = {
        access.account: AccountAccess(access.account, access.role_arn, access.external_id, access.session_duration)
        for access in head.accounts
    }
    used = {target.lane.account for target in targets}
    return Manifest(
        uri=head.manifest.uri,
        sha256=head.manifest.sha256,
        targets=targets,
        accounts={account: access for account, access in accounts.items() if account in used},
        total=head.manifest.targets,
        partition=head.partition,
        folder=None,
        before_sharding=head.selected,
        ceremony=inputs.facts,
    )


def _target(index: int, line: Prepared | NotPrepared, partition: str) -> Target:
    more = {}
    if isinstance(line, Prepared):
        more = {
            "wrapping_algorithm": WrappingAlgorithm(line.wrapping_algorithm),
            "wrapping_key_spec": WrappingKeySpec(line.wrapping_key_spec),
        }
    return Target(
        index=index,
        position=line.index,
        id=line.id,
        lane=Lane(partition, line.account, line.region),
        key_id=line.key_arn or line.key_id,
        material="sealed:",
        key_spec=line.key_spec,
        key_material_id=line.key_material_id,
        expiry=Expiry(line.valid_to, _span(line.valid_for), _span(line.renew_before)),
        replicas=tuple(line.replicas),
        primary=_primary(line, partition),
        **more,  # type: ignore[arg-type]  # the two enums above
    )


def _primary(line: Prepared | NotPrepared, partition: str) -> Primary | None:
    """Where a replica's primary is; both are named by their own ARN, so nothing else is needed to find it."""
    if line.primary_region is None:
        return None
    return Primary(Lane(partition, line.account, line.primary_region), line.key_arn or line.key_id)


def _span(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


class SealedMaterials(Materials):
    """The material of a submission: sealed already, so that nothing is opened and nothing is secret."""

    def __init__(self, inputs: Inputs, settings: Settings) -> None:
        super().__init__(Opening(settings=settings, root=None))
        self._inputs = inputs

    def check(self, targets: Iterable[Target]) -> None:
        """No source is opened, so that nothing can be missing."""

    async def begin(self, targets: Iterable[Target]) -> None:
        """No source is opened."""

    async def evidence(self, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> Evidence:  # noqa: ARG002 - it was sealed for one key
        """Of a target found as wanted. Without sealed material nothing can be compared."""
        key = self._inputs.keys.get(target.reported_index)
        return Evidence(key_spec) if key is None else evidence_of(key)

    @asynccontextmanager
    async def hold(self, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> AsyncIterator[Held]:  # noqa: ARG002 - as above
        """Raises TargetError (NotSealed, ParametersExpired, KeySpecMismatch)."""
        line = self._inputs.bundle.targets[target.reported_index]
        key = self._inputs.keys.get(target.reported_index)
        if not isinstance(line, Prepared):
            why = f"{line.code}: {line.message}" if isinstance(line, NotPrepared) and line.code else "it was as wanted."
            raise TargetError(f"`prepare` got no import parameters for it: {why}", code="NotPrepared")
        if key is None:
            raise TargetError("No given file holds sealed material for it.", code="NotSealed")
        if key.key_spec != key_spec:
            raise TargetError(f"It was sealed for {key.key_spec}, and the key is {key_spec}.", code="KeySpecMismatch")
        if line.deadline <= datetime.now(UTC):
            raise TargetError(f"Its import parameters expired at {as_utc(line.deadline)}.", code="ParametersExpired")
        yield _Held(line, key)


class _Held:
    """Implements material.Held for material that was sealed before."""

    def __init__(self, line: Prepared, key: SealedKey) -> None:
        self.evidence = evidence_of(key)
        self.algorithm = WrappingAlgorithm(line.wrapping_algorithm)
        self.parameters = ImportParameters(
            base64.b64decode(line.import_token), base64.b64decode(line.public_key), line.deadline
        )
        self._sealed = base64.b64decode(key.encrypted_key_material)

    async def seal(self, public_key: bytes) -> bytes:
        """For the bundle's wrapping key only: there is no other way to it."""
        if public_key != self.parameters.public_key:
            raise TargetError("It was sealed for another wrapping key.", code="InvalidWrappingKey")
        return self._sealed


def evidence_of(key: SealedKey) -> Evidence:
    def raw(text: str | None) -> bytes:
        return base64.b64decode(text) if text else b""

    return Evidence(
        KeySpec(key.key_spec),
        message=raw(key.message),
        mac_algorithm=key.mac_algorithm or "",
        mac=raw(key.mac),
        public_key=raw(key.public_key),
        material_check=key.material_check or "",
        remark=key.remark,
    )


def expiring(inputs: Inputs, within: timedelta) -> list[Prepared]:
    """The sealed targets whose parameters expire within this time, or have expired; the first to expire first."""
    now = datetime.now(UTC)
    lines = (inputs.bundle.targets[index] for index in inputs.keys)
    found = [line for line in lines if isinstance(line, Prepared) and line.deadline - now < within]
    return sorted(found, key=lambda line: (line.deadline, line.index))
