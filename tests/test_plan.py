"""Wanted + found → what will be done: every combination against the rules in words, boundaries one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest

from bulk_import.model import (
    NEVER,
    Expect,
    Expiry,
    KeyRotation,
    KeySpec,
    KeyState,
    KeyView,
    Lane,
    Target,
    WrappingAlgorithm,
    WrappingKeySpec,
)
from bulk_import.plan import Action, Decision, Wanted, decide, floor_seconds, must_wait, needs_rotations

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ARN = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000001"
TARGET = Target(0, "one", Lane("aws", "111122223333", "us-east-1"), "alias/one", "file:one.key")
PENDING = KeyView(ARN, "PendingImport", "EXTERNAL", "CUSTOMER", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
FOREVER = replace(PENDING, state="Enabled", expiration_model="KEY_MATERIAL_DOES_NOT_EXPIRE")
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
ID, OTHER_ID = "a" * 64, "b" * 64
CURRENT = KeyRotation(ID, "CURRENT", "IMPORTED")
OLDER = KeyRotation(OTHER_ID, "NON_CURRENT", "IMPORTED")


def until(valid_to: datetime, state: str = "Enabled") -> KeyView:
    return replace(PENDING, state=state, expiration_model="KEY_MATERIAL_EXPIRES", valid_to=valid_to)


def decision(
    view: KeyView,
    *,
    expiry: Expiry = NEVER,
    rotations: tuple[KeyRotation, ...] = (),
    again: bool = False,
    **wanted: Any,
) -> Decision:
    target = replace(TARGET, expiry=expiry, **wanted)
    return decide(Wanted(target, expiry.instant(NOW)), view, rotations, now=NOW, import_again=again)


def blocked(found: Decision) -> str | None:
    """The code, where it is blocked; and then nothing else is decided."""
    assert (found.action is Action.BLOCKED) is (found.error is not None)
    if found.error is None:
        return None
    assert found.error.advice
    assert found.detail == found.error.message
    assert found.algorithm is None
    return found.error.code


# --- every combination

STATES = [*KeyState, "a state of the future"]
ORIGINS = ["EXTERNAL", "AWS_KMS", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"]
MANAGERS = ["CUSTOMER", "AWS"]
STATED_SPECS = [None, KeySpec.SYMMETRIC_DEFAULT, KeySpec.HMAC_256]
FOUND_SPECS = ["SYMMETRIC_DEFAULT", "SM2"]
FOUND_EXPIRIES: list[dict[str, Any]] = [
    {},  # never had material, or lost it
    {"expiration_model": "KEY_MATERIAL_DOES_NOT_EXPIRE"},
    {"expiration_model": "KEY_MATERIAL_EXPIRES", "valid_to": NOW + 90 * DAY},
]
WANTED_EXPIRIES = [
    NEVER,
    Expiry(valid_to=NOW + 90 * DAY),
    Expiry(valid_to=NOW + timedelta(minutes=30)),  # too close
    Expiry(valid_for=90 * DAY),
]
MATERIAL_IDS = [(None, None), (None, ID), (ID, None), (ID, ID), (ID, OTHER_ID)]  # stated, found
ROTATIONS = [(), (CURRENT,), (CURRENT, OLDER)]


def rule(
    target: Target, view: KeyView, rotations: tuple[KeyRotation, ...], *, again: bool
) -> tuple[Action, str | None]:
    """What must be done, and why not, in the order in which a person would want to hear of it."""
    if view.manager == "AWS" or view.origin != "EXTERNAL":
        return Action.BLOCKED, "NotImportableOrigin"
    if view.state not in ("PendingImport", "Enabled", "Disabled"):
        return Action.BLOCKED, "KeyStateNotImportable"
    if target.key_spec not in (None, view.key_spec) or view.key_spec not in list(KeySpec):
        return Action.BLOCKED, "KeySpecMismatch"
    if len(rotations) > 1:
        return Action.BLOCKED, "RotatedKey"
    if target.key_material_id and view.current_key_material_id not in (None, target.key_material_id):
        return Action.BLOCKED, "MaterialMismatch"
    has_material = view.state != "PendingImport"
    shows = (view.expiration_model, view.valid_to)
    if target.expiry.never:
        as_wanted = shows == ("KEY_MATERIAL_DOES_NOT_EXPIRE", None)
    else:  # the table holds one ValidTo, 90 days ahead: exactly what both good expiries want
        as_wanted = shows == ("KEY_MATERIAL_EXPIRES", NOW + 90 * DAY) and target.expiry != WANTED_EXPIRIES[2]
    if has_material and as_wanted and not again:
        return Action.UNCHANGED, None
    if target.expiry == WANTED_EXPIRIES[2]:
        return Action.BLOCKED, "ExpiryTooClose"
    return (Action.REIMPORT if has_material else Action.IMPORT), None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("manager", MANAGERS)
def test_every_combination(state: str, origin: str, manager: str) -> None:
    everything = product(
        STATED_SPECS, FOUND_SPECS, FOUND_EXPIRIES, WANTED_EXPIRIES, MATERIAL_IDS, ROTATIONS, (False, True)
    )
    for stated_spec, found_spec, found_expiry, expiry, (stated_id, found_id), rotations, again in everything:
        view = replace(
            PENDING, state=state, origin=origin, manager=manager, key_spec=found_spec,
            current_key_material_id=found_id, **found_expiry,
        )  # fmt: skip
        target = replace(TARGET, key_spec=stated_spec, expiry=expiry, key_material_id=stated_id)
        found = decide(Wanted(target, expiry.instant(NOW)), view, rotations, now=NOW, import_again=again)
        assert (found.action, blocked(found)) == rule(target, view, rotations, again=again), (target, view)
        if found.action is not Action.BLOCKED:
            # Nothing here enables a key: Disabled stays Disabled; only new material ends as Enabled.
            assert found.final_state == ("Enabled" if state == "PendingImport" else state)
            assert found.key_spec == found_spec
            assert found.algorithm is WrappingAlgorithm.RSAES_OAEP_SHA_256  # the strongest that the spec allows


# --- expiry, boundary by boundary

QUARTER = Expiry(valid_for=90 * DAY)  # renewed once a third is left
WEEK_BEFORE = Expiry(valid_for=90 * DAY, renew_before=7 * DAY)


@pytest.mark.parametrize(
    ("expiry", "remaining", "action"),
    [
        (QUARTER, 90 * DAY, Action.UNCHANGED),
        (QUARTER, 90 * DAY + SECOND, Action.REIMPORT),  # longer than anyone asked for
        (QUARTER, 30 * DAY + SECOND, Action.UNCHANGED),
        (QUARTER, 30 * DAY, Action.REIMPORT),  # "more than a third" is as wanted, a third is not
        (QUARTER, 30 * DAY - SECOND, Action.REIMPORT),
        (QUARTER, -SECOND, Action.REIMPORT),  # expired, and this host does not know yet
        (WEEK_BEFORE, 7 * DAY + SECOND, Action.UNCHANGED),
        (WEEK_BEFORE, 7 * DAY, Action.REIMPORT),
        (WEEK_BEFORE, 30 * DAY, Action.UNCHANGED),
        (Expiry(valid_for=90 * DAY, renew_before=timedelta(0)), SECOND, Action.UNCHANGED),
        (Expiry(valid_to=NOW + 90 * DAY), 90 * DAY, Action.UNCHANGED),
        (Expiry(valid_to=NOW + 90 * DAY), 90 * DAY + SECOND, Action.REIMPORT),
        (Expiry(valid_to=NOW + 90 * DAY), 90 * DAY - SECOND, Action.REIMPORT),
        (NEVER, 90 * DAY, Action.REIMPORT),
    ],
)
@pytest.mark.parametrize("state", ["Enabled", "Disabled"])
def test_expiry(expiry: Expiry, remaining: timedelta, action: Action, state: str) -> None:
    found = decision(until(NOW + remaining, state), expiry=expiry)
    assert found.action is action
    assert found.final_state == state
    if action is Action.REIMPORT:
        assert f"{NOW + remaining:%Y-%m-%dT%H:%M:%SZ}" in found.detail  # what KMS has


@pytest.mark.parametrize("expiry", [QUARTER, Expiry(valid_to=NOW + 90 * DAY)])
def test_a_key_without_expiry_gets_the_one_that_is_wanted(expiry: Expiry) -> None:
    assert decision(FOREVER, expiry=expiry).action is Action.REIMPORT


def test_instants_not_texts() -> None:
    there = (NOW + 90 * DAY).astimezone(timezone(timedelta(hours=-8)))
    assert decision(until(there), expiry=Expiry(valid_to=NOW + 90 * DAY)).action is Action.UNCHANGED


@pytest.mark.parametrize(
    ("ahead", "code"),
    [
        (timedelta(hours=1), None),
        (timedelta(hours=1) - SECOND, "ExpiryTooClose"),
        (timedelta(0), "ExpiryTooClose"),
        (-DAY, "ExpiryTooClose"),
    ],
)
def test_less_than_an_hour_ahead_is_too_close(ahead: timedelta, code: str | None) -> None:
    assert blocked(decision(PENDING, expiry=Expiry(valid_to=NOW + ahead))) == code


def test_what_needs_no_import_is_not_too_close() -> None:
    soon = NOW + timedelta(minutes=5)
    assert decision(until(soon), expiry=Expiry(valid_to=soon)).action is Action.UNCHANGED


# --- the rest, one by one


def test_prove_all_imports_symmetric_material_again_and_no_other() -> None:
    again = decision(FOREVER, again=True)
    assert (again.action, again.detail) == (Action.REIMPORT, "as wanted; imported again as a proof")
    assert decision(replace(FOREVER, key_spec="HMAC_256"), again=True).action is Action.UNCHANGED
    assert decision(replace(FOREVER, key_spec="RSA_2048"), again=True).action is Action.UNCHANGED


@pytest.mark.parametrize("spec", KeySpec)
def test_the_strongest_algorithm_of_each_spec(spec: KeySpec) -> None:
    found = decision(replace(PENDING, key_spec=spec.value))
    expected = "RSA_AES_KEY_WRAP_SHA_256" if spec.asymmetric else "RSAES_OAEP_SHA_256"
    assert found.action is Action.IMPORT
    assert found.algorithm == expected


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("SYMMETRIC_DEFAULT", {"wrapping_algorithm": WrappingAlgorithm.RSA_AES_KEY_WRAP_SHA_256}),
        ("RSA_2048", {"wrapping_algorithm": WrappingAlgorithm.RSAES_OAEP_SHA_256}),
        (
            "ECC_NIST_P521",
            {
                "wrapping_algorithm": WrappingAlgorithm.RSAES_OAEP_SHA_256,
                "wrapping_key_spec": WrappingKeySpec.RSA_2048,
            },
        ),
    ],
)
def test_an_algorithm_that_the_spec_does_not_allow(spec: str, wanted: dict[str, Any]) -> None:
    assert blocked(decision(replace(PENDING, key_spec=spec), **wanted)) == "WrappingNotAllowed"


def test_a_check_value_of_another_kind_of_key() -> None:
    assert blocked(decision(replace(PENDING, key_spec="RSA_2048"), expect=Expect(kcv="08d7b4"))) == "CheckValueMismatch"
    assert blocked(decision(PENDING, expect=Expect(spki_sha256="0" * 64))) == "CheckValueMismatch"
    assert blocked(decision(PENDING, expect=Expect(kcv="08d7b4"))) is None


@pytest.mark.parametrize("state", STATES)
def test_what_passes_by_itself_is_waited_for(state: str) -> None:
    assert must_wait(replace(PENDING, state=state)) is (state in ("Creating", "Updating"))


@pytest.mark.parametrize(
    ("view", "needed"),
    [
        (PENDING, False),  # a new key
        (replace(PENDING, current_key_material_id=ID), True),  # had material and lost it
        (FOREVER, True),
        (replace(FOREVER, state="Disabled"), True),
        (replace(FOREVER, key_spec="HMAC_256"), False),  # only symmetric keys rotate
        (replace(FOREVER, key_spec="RSA_2048"), False),
    ],
)
def test_which_keys_may_hold_several_materials(view: KeyView, *, needed: bool) -> None:
    assert needs_rotations(view) is needed


@pytest.mark.parametrize(
    ("imports", "rate", "reads", "interval", "seconds"),
    [
        (0, 1, 3, 2, 0),  # nothing to import: nothing to wait for
        (1, 1, 3, 2, 4),  # one permit at once; three reads, two apart
        (1, 1, 1, 2, 0),
        (100, 1, 3, 2, 103),
        (100, 0.25, 3, 2, 400),
        (3001, 15, 3, 0.5, 201),
    ],
)
def test_floor_seconds(imports: int, rate: float, reads: int, interval: float, seconds: float) -> None:
    assert floor_seconds(imports, rate, reads=reads, interval=interval) == pytest.approx(seconds)
