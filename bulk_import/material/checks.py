"""What of a manifest can be checked with this room's tables alone, no material opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bulk_import.codes import advice_for
from bulk_import.material import expect, sources, wrapping
from bulk_import.model import Target

Check = Callable[[Target], Iterable[tuple[str, str, str]]]


def manifest_checks() -> list[Check]:
    """For manifest/, which calls each with every target: yields (field, message, advice) of what is wrong.

    Those that need a key spec yield nothing for a target that states none; `run` asks KMS for it first.
    """
    return [_material, _wrapping, _expect]


def _material(target: Target) -> Iterator[tuple[str, str, str]]:
    if reason := sources.refusal(target.material):
        yield "material", reason, advice_for("MaterialNotFound")


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
