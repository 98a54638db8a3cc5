"""What can be checked of a manifest with this package's tables alone, without opening any material."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator

from bulk_import.codes import advice_for
from bulk_import.material import expect, sources, wrapping
from bulk_import.material.sources.allowed import allowed
from bulk_import.model import Target
from bulk_import.settings import Settings

Check = Callable[[Target], Iterable[tuple[str, str, str]]]


def manifest_checks(settings: Settings) -> list[Check]:
    """For manifest/, which calls each with every target: yields (field, message, advice) of what is wrong.

    Those that need a key spec yield nothing for a target that specifies none; `run` asks KMS for it first.
    """
    return [lambda target: _material(target, settings), _wrapping, _expect]


def _material(target: Target, settings: Settings) -> Iterator[tuple[str, str, str]]:
    if target.ready_made is not None:
        pairs = (("encrypted_key_material", target.material), ("import_token", target.ready_made.import_token))
        for field, uri in pairs:
            if not allowed(uri, settings.allow_source):
                yield field, "file: sources are not allowed here", "Allow it in the pipeline: --allow-source file:"
        return
    if reason := sources.refusal(target.material):
        yield "material", reason, advice_for("MaterialNotFound")
        return
    if not allowed(target.material, settings.allow_source):
        # The URI itself is not quoted: it may hold what somebody pasted.
        scheme = target.material.partition(":")[0]
        given = " ".join(settings.allow_source)
        yield (
            "material",
            f"this {scheme}: source is not allowed; allowed: {given}",
            "Name an allowed source, or allow this one in the pipeline with --allow-source PREFIX.",
        )
        return
    yield from sources.kind_of(target.material).check(target, settings)


def conflicts(targets: Iterable[Target], settings: Settings) -> Iterator[tuple[int, str, str, str]]:
    """What is wrong between targets, each of which is right: yields (line, field, message, advice)."""
    targets = tuple(part for target in targets for part in target.parts)
    variables = variables_of(targets)
    said: set[str] = set()
    for target in targets:
        scheme, _, name = target.material.partition(":")
        if scheme != "exec" or name in said:
            continue
        said.add(name)
        for variable in sorted(variables.intersection(settings.exec[name].get("env", ()))):
            yield (
                target.line,
                "material",
                f"[exec.{name}] gives its command the variable {variable}, which is the material of another target",
                "Take it out of `env` in the settings file: no child process gets key material.",
            )
    yield from _named_twice(targets)


def _named_twice(targets: Iterable[Target]) -> Iterator[tuple[int, str, str, str]]:
    """A sealed file and a token belong to each other and to one key: a second use of either cannot be right."""
    seen: dict[str, tuple[str, Target]] = {}
    for target in targets:
        if target.ready_made is None:
            continue
        uris = {"encrypted_key_material": target.material, "import_token": target.ready_made.import_token}
        for field, uri in uris.items():
            first, other = seen.setdefault(posixpath.normpath(uri.partition(":")[2]), (field, target))
            if (first, other) != (field, target):
                yield (
                    target.line,
                    field,
                    f"this file is also the {first} of {other.id} in line {other.line}",
                    "Give each key its own pair of files: GetParametersForImport makes both for one key.",
                )


def variables_of(targets: Iterable[Target]) -> frozenset[str]:
    """The environment variables that `env:` sources name."""
    parts = (part for target in targets for part in target.parts)
    return frozenset(part.material[4:] for part in parts if part.material.startswith("env:"))


def _wrapping(target: Target) -> Iterator[tuple[str, str, str]]:
    if target.key_spec is None:
        return
    reason = wrapping.refusal(target.key_spec, target.wrapping_algorithm, target.wrapping_key_spec)
    if reason:
        yield "wrapping_algorithm", reason, advice_for("WrappingNotAllowed")


def _expect(target: Target) -> Iterator[tuple[str, str, str]]:
    if target.key_spec is None or target.expect is None:
        return
    if reason := expect.applies(target.expect, target.key_spec):
        yield "expect", reason, "Use kcv for SYMMETRIC_DEFAULT, spki_sha256 for RSA and ECC; HMAC keys have neither."
