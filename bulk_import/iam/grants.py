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
from functools import lru_cache
from typing import Final

from bulk_import.material import wrapping
from bulk_import.material.expect import applies
from bulk_import.model import Create, Expect, Expiry, KeySpec, Target, WrappingAlgorithm, WrappingKeySpec

Condition = tuple[str, str, tuple[str, ...]]  # operator, condition key, values


# Which grants each command needs. `prepare` imports nothing, `submit` has its import parameters already,
# and the others only read.
_PARTS: Final = {
    "run": ("Read", "SetPolicy", "SetTags", "SetDescription", "Parameters", "Import", "ProveUse"),
    "prepare": ("Read", "Parameters"),
    "submit": ("Read", "Import", "ProveUse"),
    "plan": ("Read",),
    "status": ("Read",),
    "discover": ("Read",),
    "delete": ("Read", "Delete"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The settings that decide which operations are called."""

    prove: str = "auto"  # auto | changed | all | none
    prove_use: bool = False
    command: str = "run"  # run | prepare | submit | plan | status | discover | delete
    correct: frozenset[str] = frozenset({"description"})

    @property
    def proves(self) -> bool:
        return self.prove != "none" and self.command not in ("prepare", "discover", "delete")

    @property
    def opens_sources(self) -> bool:
        """Whether key material is read: the ceremony reads it in `seal`, which calls no AWS service."""
        return self.command in ("run", "plan", "status")

    @property
    def finds_missing(self) -> bool:
        """Whether it makes sure that a key does not exist. The ceremony creates no keys."""
        return self.command in ("run", "plan", "status")

    @property
    def creates(self) -> bool:
        return self.command == "run"


RUN: Final = Asked()


@dataclass(frozen=True, slots=True)
class Grant:
    """Some operations on a key, under conditions that must all hold. `name` begins the statement's Sid."""

    name: str
    operations: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()


def grants(target: Target, asked: Asked, latest: datetime | None = None) -> tuple[Grant, ...]:
    """What one key needs. `latest`: allow a fixed ValidTo up to this instant instead of the target's own."""
    found = dict.fromkeys(grant for part in target.parts for grant in _of_one(part, asked, latest))
    if target.materials and target.primary is None and asked.command == "run":  # KMS rotates the primary only
        found[Grant("Rotate", ("RotateKeyOnDemand",))] = None
    return tuple(found)


def _of_one(target: Target, asked: Asked, latest: datetime | None) -> tuple[Grant, ...]:
    """What one material of a key needs."""
    expiry = target.expiry if latest is None or target.expiry.valid_to is None else Expiry(valid_to=latest)
    expect = target.expect and Expect(*(value and "" for value in (target.expect.kcv, target.expect.spki_sha256)))
    return _grants(
        key_spec=target.key_spec,
        algorithm=target.wrapping_algorithm,
        wrapping_key_spec=target.wrapping_key_spec,
        expect=expect,
        expiry=expiry,
        asked=asked,
        create=_kind_of(target.create),
        sealed=target.ready_made is not None,
    )


def _kind_of(create: Create | None) -> Create | None:
    """What matters of `create` here: which fields it states, and the names of its tags."""
    if create is None:
        return None
    return Create(
        description=create.description and "",
        tags=tuple((name, "") for name, _ in create.tags),
        policy=create.policy and "",
    )


@lru_cache(maxsize=4096)
def _grants(
    *,
    key_spec: KeySpec | None,
    algorithm: WrappingAlgorithm | None,
    wrapping_key_spec: WrappingKeySpec,
    expect: Expect | None,
    expiry: Expiry,
    asked: Asked,
    create: Create | None,
    sealed: bool,
) -> tuple[Grant, ...]:
    """Fleets have many keys and few kinds of them. `expect`, `create`: what is stated, not the values."""
    specs = [key_spec] if key_spec is not None else _possible_specs(algorithm, wrapping_key_spec, expect)
    found = [
        Grant("Read", tuple(_unconditional(specs, asked, create))),
        *_corrections(create, asked),
        Grant("Parameters", ("GetParametersForImport",), _wrapping(specs, algorithm, wrapping_key_spec)),
        Grant("Import", ("ImportKeyMaterial",), _expiry(expiry)),
        Grant("Delete", ("DeleteImportedKeyMaterial",)),
    ]
    if sealed:
        found = [grant for grant in found if grant.name != "Parameters"]  # it has its import token already
    if asked.prove_use and any(spec.symmetric for spec in specs):
        # The round trip's own encryption context: the role can open nothing that others have encrypted.
        context: Condition = ("StringEquals", "kms:EncryptionContext:bulk-import", ("proof",))
        found.append(Grant("ProveUse", ("Decrypt", "Encrypt"), (context,)))
    return tuple(grant for grant in found if grant.name in _PARTS[asked.command])


def _possible_specs(
    algorithm: WrappingAlgorithm | None, wrapping_key_spec: WrappingKeySpec, expect: Expect | None
) -> list[KeySpec]:
    """Without a stated key spec: all that the target's other fields leave possible."""
    return [
        spec
        for spec in KeySpec
        if wrapping.refusal(spec, algorithm, wrapping_key_spec) is None
        and (expect is None or applies(expect, spec) is None)
    ]


def _corrections(create: Create | None, asked: Asked) -> Iterator[Grant]:
    """What a run may set of a key that exists. Its key policy: also of one that it creates with a policy."""
    if create is None or asked.command != "run":
        return
    if create.policy is not None:
        yield Grant(
            "SetPolicy", ("PutKeyPolicy",), (("BoolIfExists", "kms:BypassPolicyLockoutSafetyCheck", ("false",)),)
        )
    if create.tags and "tags" in asked.correct:
        names = tuple(name for name, _ in create.tags)
        yield Grant("SetTags", ("TagResource",), (("ForAllValues:StringEquals", "aws:TagKeys", names),))
    if create.description is not None and "description" in asked.correct:
        yield Grant("SetDescription", ("UpdateKeyDescription",))


def _unconditional(specs: list[KeySpec], asked: Asked, create: Create | None) -> Iterator[str]:
    yield "DescribeKey"
    if not asked.finds_missing:
        create = None  # a ceremony does not compare it, and `discover` knows nothing of it
    if create is not None and create.tags:
        yield "ListResourceTags"
    if create is not None and create.policy is not None:
        yield "GetKeyPolicy"
    if any(spec.symmetric for spec in specs):
        yield "ListKeyRotations"
    if asked.proves and any(spec.hmac for spec in specs):
        yield "GenerateMac"
    if asked.proves and any(spec.asymmetric for spec in specs):
        yield "GetPublicKey"


def _wrapping(
    specs: list[KeySpec], stated: WrappingAlgorithm | None, wrapping_key_spec: WrappingKeySpec
) -> tuple[Condition, ...]:
    algorithms = {stated} if stated is not None else {wrapping.default_algorithm(spec) for spec in specs}
    return (
        ("StringEquals", "kms:WrappingAlgorithm", tuple(sorted(algorithm.value for algorithm in algorithms))),
        ("StringEquals", "kms:WrappingKeySpec", (wrapping_key_spec.value,)),
    )


def _expiry(expiry: Expiry) -> tuple[Condition, ...]:
    """https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-valid-to

    With valid_for the instant differs from run to run, and KMS's own limit of 365 days is all that bounds it. The
    guide compares ValidTo as Unix time with numeric operators, and so does this, though the Service Authorization
    Reference calls the key's type Date.
    """
    if expiry.never:
        return (("StringEquals", "kms:ExpirationModel", ("KEY_MATERIAL_DOES_NOT_EXPIRE",)),)
    expires: Condition = ("StringEquals", "kms:ExpirationModel", ("KEY_MATERIAL_EXPIRES",))
    if expiry.valid_to is None:
        return (expires,)
    return (expires, ("NumericLessThanEquals", "kms:ValidTo", (str(int(expiry.valid_to.timestamp())),)))
