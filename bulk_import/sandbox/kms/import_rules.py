"""What an import may ask for with every key: origin, state, algorithm, fields and dates."""

from __future__ import annotations

from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms import states
from bulk_import.sandbox.kms.keys import EXPIRES, NEVER_EXPIRES, SandboxKey

LONGEST_EXPIRY = 365 * 24 * 3600
NEW, EXISTING = "NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"
WRAPPING_ALGORITHMS = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"]


def importable(key: SandboxKey, operation: str) -> None:
    if not key.external:
        raise wrong_origin(key)
    states.check(operation, key.arn, key.now().state)


def wrong_origin(key: SandboxKey) -> AwsError:
    return AwsError(
        "UnsupportedOperationException", f"{key.arn} origin is {key.origin} which is not valid for this operation."
    )


def symmetric_only(key: SandboxKey, field: str) -> AwsError:
    return AwsError("UnsupportedOperationException", f"{field} is not supported for {key.arn}: {key.key_spec}.")


def allowed(key: SandboxKey, algorithm: str, wrapping_spec: str) -> None:
    """Which algorithm and wrapping key may carry which material."""
    refused = AwsError(
        "UnsupportedOperationException",
        f"Wrapping algorithm {algorithm} with wrapping key spec {wrapping_spec} is not supported for {key.key_spec}.",
    )
    if algorithm not in WRAPPING_ALGORITHMS or algorithm not in key.spec.wrapping:
        raise refused
    if not wrapping_spec.startswith("RSA_"):
        raise refused
    if key.key_spec == "ECC_NIST_P521" and wrapping_spec == "RSA_2048" and algorithm.startswith("RSAES"):
        raise refused


def parameters_agree(key: SandboxKey, params: dict[str, Any], now: float) -> None:
    if not key.spec.symmetric:
        for field in ("ImportType", "KeyMaterialId", "KeyMaterialDescription"):
            if field in params:
                raise symmetric_only(key, field)
    if params.get("ImportType") == NEW and "KeyMaterialId" in params:
        raise AwsError("ValidationException", "KeyMaterialId can not be specified with ImportType NEW_KEY_MATERIAL")
    valid_to = params.get("ValidTo")
    if params.get("ExpirationModel", EXPIRES) == NEVER_EXPIRES:
        if valid_to is not None:
            raise AwsError(
                "ValidationException",
                "A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE",
            )
        return
    if valid_to is None:
        raise AwsError(
            "ValidationException", "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"
        )
    if int(valid_to) <= now:
        raise AwsError("ValidationException", "The validTo date must be in the future")
    if valid_to > now + LONGEST_EXPIRY:
        raise AwsError("ValidationException", "The validTo date must be within 365 days of the current date")
