"""What can be checked of a manifest with this package's tables alone, without opening any material."""

from __future__ import annotations

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
