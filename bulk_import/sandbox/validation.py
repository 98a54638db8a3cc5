"""KMS's own check of a request's form, read off botocore's service model: required, length, enum, pattern, range.

Blobs come out as bytes and timestamps as seconds, so that the operations never see the wire format.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from functools import cache
from typing import Any

import botocore.session

from bulk_import.sandbox.answers import AwsError

# KMS lists these values in another order than the service model.
ORDER = {
    "KeySpec": [
        "RSA_2048",
        "ECC_NIST_P384",
        "ECC_NIST_P256",
        "ECC_NIST_P521",
        "HMAC_384",
        "RSA_3072",
        "ECC_SECG_P256K1",
        "RSA_4096",
        "SYMMETRIC_DEFAULT",
        "HMAC_256",
        "HMAC_224",
        "HMAC_512",
    ],
    "KeyUsageType": ["ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC"],
    "MacAlgorithmSpec": ["HMAC_SHA_384", "HMAC_SHA_256", "HMAC_SHA_224", "HMAC_SHA_512"],
}
# Younger than the service model that the program pins.
LATER_VALUES = {
    "KeySpec": ["ECC_NIST_EDWARDS25519"],
    "CustomerMasterKeySpec": ["ECC_NIST_EDWARDS25519"],
    "SigningAlgorithmSpec": ["ED25519_SHA_512", "ED25519_PH_SHA_512"],
}


LATER_OPERATIONS = {"GetKeyLastUsage": "ListResourceTags"}  # → an operation whose request has the same members


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def operations(service: str) -> frozenset[str]:
    """The operations that `service` has."""
    return frozenset(_model(service).operation_names) | (LATER_OPERATIONS.keys() if service == "kms" else set())


def check(service: str, operation: str, given: dict[str, Any], *, code: str = "ValidationException") -> dict[str, Any]:
    """The request's parameters, decoded. Raises AwsError as AWS words it, all violations in one message."""
    shape = _model(service).operation_model(LATER_OPERATIONS.get(operation, operation)).input_shape
    if shape is None:
        return {}
    problems: list[str] = []
    decoded = _structure(shape, given, "", problems)
    if problems:
        count = len(problems)
        plural = "s" if count > 1 else ""
        raise AwsError(code, f"{count} validation error{plural} detected: {'; '.join(problems)}")
    return decoded


def _structure(shape: Any, given: dict[str, Any], path: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise AwsError("SerializationException", "Unexpected value type in payload")
    decoded: dict[str, Any] = {}
    for name, member in shape.members.items():
        where = f"{path}.{name[0].lower()}{name[1:]}" if path else name[0].lower() + name[1:]
        value = given.get(name)
        if value is not None:
            decoded[name] = _value(member, value, where, problems)
        elif name in shape.required_members:
            problems.append(f"Value null at '{where}' failed to satisfy constraint: Member must not be null")
    return decoded


def _value(shape: Any, value: Any, where: str, problems: list[str]) -> Any:
    kind = shape.type_name
    try:
        if kind == "structure":
            return _structure(shape, value, where, problems)
        if kind == "list":
            return [_value(shape.member, item, f"{where}.{n}.member", problems) for n, item in enumerate(value, 1)]
        if kind == "map":
            return {str(key): _value(shape.value, item, where, problems) for key, item in value.items()}
        if kind == "blob":
            value = base64.b64decode(value, validate=True)
        elif kind == "timestamp":
            return _instant(value)
        elif kind == "boolean" and not isinstance(value, bool):
            raise TypeError
        elif kind in ("integer", "long"):
            value = int(value)
        elif kind == "string" and not isinstance(value, str):
            raise TypeError
    except (TypeError, ValueError, AttributeError, binascii.Error):
        raise AwsError("SerializationException", f"{where} can not be converted to a {kind}") from None
    _constraints(shape, value, where, problems)
    return value


def _instant(value: Any) -> float:
    """Seconds since 1970, from a number or from ISO 8601 text."""
    if isinstance(value, int | float):
        return float(value)
    return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()


def _constraints(shape: Any, value: Any, where: str, problems: list[str]) -> None:
    rules = shape.metadata
    shown = f"Value '{value}'" if isinstance(value, str | int) and not rules.get("sensitive") else "Value"
    measured = value if isinstance(value, int) else len(value)
    noun = "value" if isinstance(value, int) else "length"

    def broken(constraint: str) -> None:
        problems.append(f"{shown} at '{where}' failed to satisfy constraint: Member must {constraint}")

    if isinstance(value, bool):
        return
    if "min" in rules and measured < rules["min"]:
        broken(f"have {noun} greater than or equal to {rules['min']}")
    if "max" in rules and measured > rules["max"]:
        broken(f"have {noun} less than or equal to {rules['max']}")
    if not isinstance(value, str):
        return
    allowed = [*dict.fromkeys([*ORDER.get(shape.name, []), *rules.get("enum", []), *LATER_VALUES.get(shape.name, [])])]
    if "enum" in rules and value not in allowed:
        broken(f"satisfy enum value set: [{', '.join(allowed)}]")
    if "pattern" in rules and value and not re.fullmatch(rules["pattern"], value):
        broken(f"satisfy regular expression pattern: {rules['pattern']}")
