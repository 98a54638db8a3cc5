"""`seal BUNDLE MANIFEST SEALED`: seals material for the keys of a bundle, on a machine without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bulk_import import load
from bulk_import.ceremony import trust
from bulk_import.ceremony.seal import Sealing, seal
from bulk_import.commands import loop, output
from bulk_import.commands.asking import asker
from bulk_import.errors import ExitCode, InputError, Problem, UsageError
from bulk_import.material import sources
from bulk_import.model import STDOUT, Manifest, in_s3
from bulk_import.settings import Settings
from bulk_import.words import as_utc, plural, spoken

ARGUMENTS: dict[str, Any] = {
    "bundle": Annotated[str, typer.Argument(metavar="BUNDLE", help="The file that `prepare` wrote.")],
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="The custodian's own manifest.")],
    "sealed": Annotated[str, typer.Argument(metavar="SEALED", help="The file to write.")],
}
GROUPS = ("common", "manifest", "role", "sources", "hsm", "trust", "sign")


def execute(settings: Settings, bundle: str, manifest: str, sealed: str) -> ExitCode:
    output.configure(settings)
    for name in (bundle, manifest, sealed):
        if in_s3(name) or name == STDOUT:
            raise UsageError(f"{name}: `seal` works without a network, on files. Name a file.")
    if settings.sign_with:
        trust.check_key(settings.sign_with)
    vouched = trust.Trust(settings.fingerprint, settings.signed_by, asker()).read(Path(bundle))
    loaded = load.manifest(manifest, settings)
    if settings.sign_with:
        trust.check_place(Path(sealed), settings, loaded, [bundle])
    _refuse_networks(loaded)
    found = loop.run(_seal(vouched, loaded, settings, Path(sealed)))
    if settings.sign_with:
        output.say(f"Signature: {trust.sign(Path(sealed), settings.sign_with)}")
    _say(found, Path(sealed), settings)
    return _exit_code(found)


async def _seal(vouched: trust.Vouched, manifest: Manifest, settings: Settings, into: Path) -> Sealing:
    opened = load.materials(manifest, settings)
    opened.check(manifest.targets)
    async with opened as materials:
        await materials.begin(manifest.targets)
        try:
            return await seal(vouched, manifest, materials, into)
        except OSError as error:
            problem = Problem(str(into), 0, "", f"cannot be written: {error.strerror}.", "Name another file.")
            raise InputError([problem]) from None


def _refuse_networks(manifest: Manifest) -> None:
    problems = [
        Problem(
            manifest.uri, target.line, "material", f"a {kind.scheme}: source needs a network, and `seal` has none.",
            "Use file:, env:, exec: or pkcs11: on this machine.",
        )
        for target in manifest.targets
        if (kind := sources.kind_of(target.material)).network
    ]  # fmt: skip
    if problems:
        raise InputError(list(dict.fromkeys(problems)))


def _say(found: Sealing, sealed: Path, settings: Settings) -> None:
    for failure in found.failures:
        error = failure.error
        output.say(f"{failure.target}: {error.code}: {error.message}\n  What to do: {error.advice}")
    if found.soon:
        output.say(f"Warning: the import parameters of {plural(found.soon, 'sealed target')} expire within the hour.")
    if settings.quiet:
        return
    before = f", {found.sealed_before} by an earlier call" if found.sealed_before else ""
    output.say(
        f"{sealed}: {found.sealed} sealed{before}, {found.unchanged} as wanted already, {len(found.failures)} failed, "
        f"{found.elsewhere} not in the bundle."
    )
    if found.deadline is not None:
        output.say(f"Submit it before {as_utc(found.deadline)}: then the first import parameters expire.")
    output.say(f"Fingerprint, to read aloud: {spoken(found.fingerprint)}")


def _exit_code(found: Sealing) -> ExitCode:
    good = found.sealed + found.sealed_before + found.unchanged
    if found.failures:
        return ExitCode.PARTIAL if good else ExitCode.NONE_WELL
    return ExitCode.OK if good else ExitCode.NONE_WELL
