"""The step in the middle: material is sealed for the keys of a bundle, on a machine without a network.

The custodian's own manifest decides what is sealed for whom. The bundle only says which wrapping key KMS gave for each
key, and a line on which the two differ is refused. Nothing here opens a socket or loads an AWS library.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bulk_import import __version__
from bulk_import.ceremony.bundle import (
    VERSION,
    Bundle,
    Prepared,
    SealedHead,
    SealedKey,
    members,
    read_bundle,
    read_sealed,
)
from bulk_import.ceremony.lines import (
    LineWriter,
    begun,
    cut,
    fingerprint,
    last_check,
    prefixes,
    read_bytes,
    refuse,
)
from bulk_import.ceremony.trust import Vouched
from bulk_import.errors import TargetError
from bulk_import.material import Materials
from bulk_import.material.evidence import Evidence
from bulk_import.model import KeySpec, Manifest, Target
from bulk_import.model.run import ManifestFacts, Tool
from bulk_import.words import as_utc

SOON: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class NotSealed:
    """A target of the custodian's manifest that was not sealed."""

    target: Target
    error: TargetError


@dataclass(slots=True)
class Sealing:
    """What one `seal` did. `deadline`: the earliest one of what is sealed."""

    sealed: int = 0
    sealed_before: int = 0  # by an earlier call, whose file is continued
    unchanged: int = 0  # as wanted when the bundle was made: nothing to seal
    elsewhere: int = 0  # targets that the bundle does not have
    failures: list[NotSealed] = field(default_factory=list)
    deadline: datetime | None = None
    soon: int = 0  # sealed, with a deadline within the hour
    fingerprint: str = ""


async def seal(vouched: Vouched, manifest: Manifest, materials: Materials, into: Path) -> Sealing:
    """Seals what the manifest and the bundle both have. `materials` is entered, and its sources are open.

    Raises CeremonyError (the bundle or an older file at `into` cannot be used), OSError.
    """
    bundle = read_bundle(vouched.name, vouched.data)
    at = {(line.id, line.account, line.region): line for line in bundle.targets.values()}
    done, writer = _file(into, vouched, bundle, manifest)
    found = Sealing(sealed_before=len(done))
    try:
        for target in manifest.targets:
            line = at.get((target.id, target.lane.account, target.lane.region))
            if line is None:
                found.elsewhere += 1
            elif line.index in done:
                _note_deadline(found, line)
            elif isinstance(line, Prepared):
                try:
                    writer.write(members(await _sealed(target, line, bundle, manifest, materials)))
                except TargetError as error:
                    found.failures.append(NotSealed(target, error))
                else:
                    found.sealed += 1
                    _note_deadline(found, line)
            elif line.kind == "unchanged":
                found.unchanged += 1
            else:
                message = f"`prepare` could not prepare it: {line.code}: {line.message}"
                found.failures.append(NotSealed(target, TargetError(message, code="NotPrepared")))
    finally:
        writer.close()
    found.fingerprint = fingerprint(read_bytes(into))
    return found


def _note_deadline(found: Sealing, line: object) -> None:
    if isinstance(line, Prepared):
        found.deadline = min(found.deadline or line.deadline, line.deadline)
        found.soon += line.deadline - datetime.now(UTC) < SOON


def _file(into: Path, vouched: Vouched, bundle: Bundle, manifest: Manifest) -> tuple[set[int], LineWriter]:
    """A new file, or an earlier one of the same bundle and manifest to continue. Raises CeremonyError, OSError."""
    whole = begun(into, "a sealed file")
    if whole is None:
        cut(into, None)
        writer = LineWriter(into)
        writer.write(
            members(
                SealedHead(
                    kind="sealed",
                    version=VERSION,
                    tool=Tool("bulk-import", __version__),
                    sealed_at=datetime.now(UTC),
                    bundle_id=bundle.head.bundle_id,
                    bundle_sha256=vouched.fingerprint,
                    manifest=ManifestFacts(manifest.uri, manifest.sha256, manifest.total),
                )
            )
        )
        return set(), writer
    known = read_sealed(into, whole)
    if known.head.manifest.sha256 != manifest.sha256 or known.head.bundle_sha256 not in prefixes(vouched.data):
        advice = "Name another file, or move this one away."
        raise refuse(into, 1, "is a file of another bundle or manifest.", advice)
    cut(into, whole)
    return set(known.keys), LineWriter(into, line=whole.count(b"\n"), after=last_check(whole))


async def _sealed(
    target: Target, line: Prepared, bundle: Bundle, manifest: Manifest, materials: Materials
) -> SealedKey:
    """Raises TargetError."""
    if difference := next(_differences(target, line, bundle), None):
        raise TargetError(f"The bundle and the manifest differ: {difference}.", code="BundleContradiction")
    if line.deadline <= datetime.now(UTC):
        raise TargetError(f"Its import parameters expired at {as_utc(line.deadline)}.", code="ParametersExpired")
    wanted = replace(target, key_spec=line.key_spec, wrapping_algorithm=line.wrapping_algorithm)
    public_key = base64.b64decode(line.public_key)
    async with materials.hold(wanted, KeySpec(line.key_spec), key_arn=line.key_arn) as held:
        sealed = await held.seal(public_key)
        evidence = held.evidence
    return SealedKey(
        kind="key",
        manifest_sha256=manifest.sha256,
        index=line.index,
        id=line.id,
        account=line.account,
        region=line.region,
        key_arn=line.key_arn,
        key_spec=line.key_spec,
        wrapping_algorithm=line.wrapping_algorithm,
        wrapping_key_sha256=hashlib.sha256(public_key).hexdigest(),
        encrypted_key_material=base64.b64encode(sealed).decode(),
        remark=evidence.remark,
        **_evidence(evidence),
    )


def _evidence(evidence: Evidence) -> dict[str, str | None]:
    def text(data: bytes) -> str | None:
        return base64.b64encode(data).decode() if data else None

    return {
        "message": text(evidence.message),
        "mac_algorithm": evidence.mac_algorithm or None,
        "mac": text(evidence.mac),
        "public_key": text(evidence.public_key),
        "material_check": evidence.material_check or None,
    }


def _differences(target: Target, line: Prepared, bundle: Bundle) -> Iterator[str]:
    """What the custodian's manifest says otherwise than the bundle. It decides; the bundle only adds to it."""
    arn = line.key_arn.split(":", 5)
    place = [bundle.head.partition, "kms", target.lane.region, target.lane.account]
    if len(arn) != 6 or arn[1:5] != place or not arn[5].startswith("key/"):
        yield f"{line.key_arn} is not a key in {target.lane}"
        return
    key_id = arn[5].removeprefix("key/")
    named = target.key_id.rpartition("/")[2]
    if _is_alias(target.key_id):
        if line.key_id != target.key_id:
            yield f"key_id is {target.key_id}, and {line.key_id} in the bundle"
    elif named.lower() != key_id.lower():
        yield f"key_id is {target.key_id}, and the parameters are for {line.key_arn}"
    if target.key_spec not in (None, line.key_spec):
        yield f"key_spec is {target.key_spec}, and {line.key_spec} in the bundle"
    if target.wrapping_key_spec != line.wrapping_key_spec:
        yield f"wrapping_key_spec is {target.wrapping_key_spec}, and {line.wrapping_key_spec} in the bundle"
    if target.wrapping_algorithm not in (None, line.wrapping_algorithm):
        yield f"wrapping_algorithm is {target.wrapping_algorithm}, and {line.wrapping_algorithm} in the bundle"
    if target.materials:
        yield "the manifest lists several materials, and a ceremony seals one"
    if target.key_material_id != line.key_material_id:
        yield "key_material_id is another one"
    expiry = target.expiry
    if (expiry.valid_to, _seconds(expiry.valid_for), _seconds(expiry.renew_before)) != (
        line.valid_to,
        line.valid_for,
        line.renew_before,
    ):
        yield "the expiry (valid_to, valid_for, renew_before) is another one"


def _is_alias(key_id: str) -> bool:
    return "alias/" in key_id


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else int(span.total_seconds())
