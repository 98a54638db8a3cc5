"""A manifest: read, checked, expanded, selected from; the check of its material; its division among machines."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from bulk_import import fleet, load, shards
from bulk_import.api.failed import load_failed
from bulk_import.errors import ManifestError, MaterialError, ObjectError, Problem
from bulk_import.family import links
from bulk_import.manifest.read import MAX_BYTES
from bulk_import.material import Materials, sources
from bulk_import.model import FailedTargets, Manifest, Target, in_s3
from bulk_import.settings import Settings


def load_manifest(
    uri: str,
    settings: Settings,
    *,
    stdin: BinaryIO | None = None,
    check_dates: bool = True,
    failed: FailedTargets | None = None,
) -> Manifest:
    """Reads, checks and expands a manifest, and selects from it as the settings say.

    `failed`: what `load_failed` returned, if it was called before.

    `uri`: a path, s3://bucket/key, or `-` for `stdin` (the process's own by default). Raises ManifestError with every
    problem found, and CallerError where the credentials that S3 is asked with do not work.
    """
    data = _manifest_in_s3(uri, settings) if in_s3(uri) else None
    failed = failed or load_failed(settings)
    loaded = load.manifest(uri, settings, data=data, stdin=stdin, check_dates=check_dates, failed=failed)
    return shards.take(loaded, settings.shard, links(loaded.targets))


def _manifest_in_s3(uri: str, settings: Settings) -> bytes:
    from bulk_import.aws import objects  # noqa: PLC0415 - an AWS library is loaded only where AWS is called

    try:
        return objects.fetch(uri, settings, limit=MAX_BYTES)
    except ObjectError as error:
        raise ManifestError([Problem(uri, 0, "", error.reason, error.advice)], code=error.code) from None


class CheckedMaterial(NamedTuple):
    """`not_read`: schemes of the sources that need a run or `plan`. `abilities`: what an HSM can do with its keys."""

    not_read: tuple[str, ...]
    abilities: tuple[tuple[Target, str], ...]


async def check_material(manifest: Manifest, settings: Settings) -> CheckedMaterial:
    """Reads the material of every target, where its source may be read without a run, and checks its shape.

    Raises ManifestError with every problem found.
    """
    from bulk_import.aws.stores import AwsStores  # noqa: PLC0415 - an AWS library is loaded only where AWS is called

    problems, abilities = [], []
    parts = [part for target in manifest.targets for part in target.parts]
    readable = [part for part in parts if sources.kind_of(part.material).checked_offline]
    opened = load.materials(manifest, settings, AwsStores(settings, manifest.partition, {}))
    opened.check(readable)
    async with opened as materials:
        await materials.begin(readable)
        for target in readable:
            try:
                await _check_one(target, materials)
                if ability := await materials.ability(target):
                    abilities.append((target, ability))
            except MaterialError as error:
                message = f"{error.message.rstrip('.')}."
                problems.append(Problem(manifest.uri, target.line, f"material of {target.id}", message, error.advice))
    if problems:
        raise ManifestError(list(dict.fromkeys(problems)))
    kinds = dict.fromkeys(sources.kind_of(part.material) for part in parts)
    return CheckedMaterial(tuple(kind.scheme for kind in kinds if not kind.checked_offline), tuple(abilities))


async def _check_one(target: Target, materials: Materials) -> None:
    """Without a stated key_spec, only KMS knows the right shape: then the check is that the material can be read."""
    if target.key_spec is None:
        await materials.readable(target)
    else:
        await materials.evidence(target, target.key_spec)


def division(manifest: Manifest, settings: Settings, of: int) -> fleet.Division:
    """What `validate --shards` shows: how the lanes divide among `of` machines, and how long each takes at least."""
    return fleet.division(manifest.targets, settings, of)
