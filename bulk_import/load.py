"""A manifest as the settings read it, and the sources of its material. Calls no one, and loads no AWS library."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from bulk_import import manifest as package
from bulk_import.errors import ManifestError, MaterialError, Problem, SettingsError
from bulk_import.manifest.policy import LARGEST, Unusable
from bulk_import.material import Materials, environment, sources
from bulk_import.material.checks import conflicts, manifest_checks, variables_of
from bulk_import.material.sources.allowed import wrong
from bulk_import.material.sources.base import Opening
from bulk_import.material.sources.file import read_inside
from bulk_import.model import FailedTargets, Manifest, Target
from bulk_import.ports import Stores
from bulk_import.settings import Settings


def manifest(
    uri: str,
    settings: Settings,
    *,
    data: bytes | None = None,
    stdin: BinaryIO | None = None,
    check_dates: bool = True,
    failed: FailedTargets | None = None,
) -> Manifest:
    """Reads, checks and expands a manifest, and selects from it.

    `uri`: a path, `-` for `stdin` (the process's own by default), or any URI with its bytes in `data`. `failed`: of
    --only-failed. Raises ManifestError with every problem found.
    """
    misfits = [reason for prefix in settings.allow_source if (reason := wrong(prefix))]
    if misfits:
        raise SettingsError([Problem("settings", 0, "--allow-source", reason, "") for reason in misfits])
    variables: set[str] = set()

    def note(target: Target) -> tuple[()]:
        """Also of targets that are not selected."""
        variables.update(variables_of([target]))
        return ()

    loaded = package.load(
        uri,
        manifest_format=settings.manifest_format,
        material_root=settings.material_root,
        stdin=stdin or sys.stdin.buffer,
        data=data,
        role=settings.role,
        external_id=settings.external_id,
        only_accounts=settings.only_account,
        only_regions=settings.only_region,
        only_ids=settings.only_id,
        only_failed=failed,
        allow_accounts=settings.allow_account,
        max_targets=settings.max_targets,
        checks=[*manifest_checks(settings), note],
        schemes=frozenset(sources.KINDS),
        check_dates=check_dates,
        read_file=_file,
        now=datetime.now(UTC),
    )
    environment.keep_back(variables)
    found = [
        Problem(loaded.uri, line, field, f"{message}.", advice)
        for line, field, message, advice in conflicts(loaded.targets, settings)
    ]
    if found:
        raise ManifestError(found)
    return loaded


def _file(path: str, folder: str | None) -> bytes:
    """A file, other than material, that the manifest names. Raises Unusable."""
    if folder is None:
        raise Unusable("starts from the manifest's folder, and a manifest from here has none", "Give --material-root.")
    try:
        return bytes(read_inside(path, Path(folder), most=4 * LARGEST))
    except MaterialError as error:
        raise Unusable(error.message, "Name a small file in the manifest's folder.") from None


def materials(manifest: Manifest, settings: Settings, stores: Stores | None = None) -> Materials:
    """The sources of a manifest, not opened yet. `stores`: AWS's, if this command may use AWS.

    Raises ManifestError where file: paths have no folder.
    """
    return Materials(
        Opening(settings=settings, root=_root(manifest), variables=variables_of(manifest.targets), stores=stores)
    )


class NoMaterials(Materials):
    """For a command that imports nothing: no source is opened."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(Opening(settings=settings, root=None))

    def check(self, targets: Iterable[Target]) -> None:
        """Nothing to check."""

    async def begin(self, targets: Iterable[Target]) -> None:
        """Nothing to connect to."""


def _root(manifest: Manifest) -> Path | None:
    """The folder that `file:` paths start from. Raises ManifestError where there is none and one is needed."""
    if manifest.folder is not None:
        return Path(manifest.folder)
    parts = (part for target in manifest.targets for part in target.parts)
    first = next((part for part in parts if part.material.startswith("file:")), None)
    if first is not None:
        problem = Problem(
            manifest.uri,
            first.line,
            f"material of {first.id}",
            "a file: path starts from the manifest's folder, and a manifest from here has none.",
            "Give --material-root.",
        )
        raise ManifestError([problem])
    return None
