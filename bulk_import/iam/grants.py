"""Targets → what their role may do with their keys, and under which conditions.

Which condition keys an operation knows:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awskeymanagementservice.html
kms:WrappingAlgorithm and kms:WrappingKeySpec are known to GetParametersForImport only, kms:ExpirationModel and
kms:ValidTo to ImportKeyMaterial only: in any other statement they would grant nothing. So each gets its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from bulk_import.material import wrapping
from bulk_import.material.expect import applies
from bulk_import.model import KeySpec, Target

Condition = tuple[str, str, tuple[str, ...]]  # operator, condition key, values


@dataclass(frozen=True, slots=True)
class Asked:
    """The settings that decide which operations a run calls."""

    prove: str = "auto"  # auto | changed | all | none
    prove_use: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """Some operations on a key, under conditions that must all hold. `name` begins the statement's Sid."""

    name: str
    operations: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()


def grants(target: Target, asked: Asked, latest: datetime | None = None) -> Iterator[Grant]:
    """What a run needs for one key. `latest`: allow a fixed ValidTo up to this instant instead of the target's own."""
    specs = possible_specs(target)
    symmetric = any(spec.symmetric for spec in specs)
    yield Grant("Read", tuple(_unconditional(specs, asked)))
    yield Grant("Parameters", ("GetParametersForImport",), _wrapping(target, specs))
    yield Grant("Import", ("ImportKeyMaterial",), _expiry(target, latest))
    if asked.prove_use and symmetric:
        # The round trip's own encryption context: the role can open nothing that others have encrypted.
        context: Condition = ("StringEquals", "kms:EncryptionContext:bulk-import", ("proof",))
        yield Grant("ProveUse", ("Decrypt", "Encrypt"), (context,))


def possible_specs(target: Target) -> list[KeySpec]:
    """The stated key spec; without one, all that the target's other fields leave possible."""
    if target.key_spec is not None:
        return [target.key_spec]
    return [
        spec
        for spec in KeySpec
        if wrapping.refusal(spec, target.wrapping_algorithm, target.wrapping_key_spec) is None
        and (target.expect is None or applies(target.expect, spec) is None)
    ]


def _unconditional(specs: list[KeySpec], asked: Asked) -> Iterator[str]:
    yield "DescribeKey"
    if any(spec.symmetric for spec in specs):
        yield "ListKeyRotations"
    if asked.prove != "none" and any(spec.hmac for spec in specs):
        yield "GenerateMac"
    if asked.prove != "none" and any(spec.asymmetric for spec in specs):
        yield "GetPublicKey"


def _wrapping(target: Target, specs: list[KeySpec]) -> tuple[Condition, ...]:
    stated = target.wrapping_algorithm
    algorithms = {stated} if stated is not None else {wrapping.default_algorithm(spec) for spec in specs}
    return (
        ("StringEquals", "kms:WrappingAlgorithm", tuple(sorted(algorithm.value for algorithm in algorithms))),
        ("StringEquals", "kms:WrappingKeySpec", (target.wrapping_key_spec.value,)),
    )


def _expiry(target: Target, latest: datetime | None) -> tuple[Condition, ...]:
    """https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-valid-to

    With valid_for the instant differs from run to run, and KMS's own limit of 365 days is all that bounds it. The
    guide compares ValidTo as Unix time with numeric operators, and so does this.
    """
    if target.expiry.never:
        return (("StringEquals", "kms:ExpirationModel", ("KEY_MATERIAL_DOES_NOT_EXPIRE",)),)
    expires: Condition = ("StringEquals", "kms:ExpirationModel", ("KEY_MATERIAL_EXPIRES",))
    if target.expiry.valid_to is None:
        return (expires,)
    instant = latest or target.expiry.valid_to
    return (expires, ("NumericLessThanEquals", "kms:ValidTo", (str(int(instant.timestamp())),)))
