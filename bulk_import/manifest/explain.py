"""pydantic's errors → what is wrong and what to do, in the manifest's own terms. Values are quoted only where they
are no secret: accounts, Regions, dates, names of AWS's enums; never `material`, never what no field is known for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from bulk_import.manifest.blemish import blemish
from bulk_import.manifest.meant import meant
from bulk_import.manifest.models import (
    FIELDS_OF_ACCESS,
    FIELDS_OF_DEFAULTS,
    FIELDS_OF_IDENTITY,
)
from bulk_import.manifest.problems import joined, nearest
from bulk_import.model import Encoding, KeySpec, KeyUsage, WrappingAlgorithm, WrappingKeySpec

Said = tuple[str, str]  # message, advice

_DURATION = "Write a number and h, d or w: 12h, 90d, 8w."
_ENUMS: dict[str, Sequence[str]] = {
    "key_spec": tuple(KeySpec),
    "key_usage": tuple(KeyUsage),
    "encoding": tuple(Encoding),
    "wrapping_algorithm": tuple(WrappingAlgorithm),
    "wrapping_key_spec": tuple(WrappingKeySpec),
}
HOLDS_KEY = (
    "looks like key material, and is kept in clear by reports, logs and AWS",
    "Write a name. If this is a key, replace it: others may have read it here. A digest is written as sha256:HEX.",
)
_TYPES = {"string": "text", "list": "a list", "dict": "a mapping", "int": "a whole number"}


def explain(error: ErrorDetails, known: Sequence[str]) -> Said:
    """`known`: the fields that may be where the error is. Returns (message, advice)."""
    kind, loc, value = error["type"], error["loc"], error["input"]
    name = next((str(part) for part in reversed(loc) if isinstance(part, str) and part != "[key]"), "")
    if kind == "extra_forbidden":
        return blemish(name) or _unknown(name, known)
    if kind == "missing":
        return "is missing", "State it."
    if not loc:
        return f"must be a mapping, not {_type_of(value)}", "Write the fields of one key there."
    if value is None:
        return "must not be null", "Specify a value, or omit the field."
    if kind.endswith("_type"):
        return f"must be {_TYPES.get(kind.partition('_')[0], 'another type')}, not {_type_of(value)}", ""
    if kind == "too_short":
        return "is an empty list", "Name at least one, or omit the field."
    if isinstance(value, str) and (said := blemish(value)):
        return said
    if kind == "holds_key":
        return HOLDS_KEY
    if kind == "enum":
        return _not_of_enum(name, str(value))
    if loc[-1] == "[key]":
        return account(str(value))
    return _by_field(name, value)


def _type_of(value: Any) -> str:
    kinds = ((list, "a list"), (dict, "a mapping"), (str, "text"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "empty")


def _unknown(name: str, known: Sequence[str]) -> Said:
    if name in FIELDS_OF_ACCESS:
        return "belongs to an account, never to a key", f"Move it to `accounts` or `defaults`: {name}."
    if name in FIELDS_OF_IDENTITY and set(known) == set(FIELDS_OF_DEFAULTS):
        return "belongs to a key; it cannot be inherited", "Specify it in each entry of `keys`."
    if name == "<<":
        return "YAML merge keys are not supported", "Use `defaults` for what keys share."
    wanted = meant("", name)
    if wanted in known:
        return "unknown field", f"Did you mean {wanted}?"
    return "unknown field", nearest(name, known) or f"Known here: {joined(known)}."


def _not_of_enum(name: str, value: str) -> Said:
    allowed = _ENUMS[name]
    if value == "RSAES_PKCS1_V1_5":
        return "AWS withdrew RSAES_PKCS1_V1_5 on 2023-10-10", "Leave it out, or use RSAES_OAEP_SHA_256."
    if value in ("SM2", "SM2PKE"):
        return "SM2 (China Regions) is not in this version", f"Allowed: {joined(allowed)}."
    if value.startswith(("ML_DSA", "ML_KEM")):
        return "KMS imports no key material of this spec", f"Importable: {joined(allowed)}."
    if re.fullmatch(r"aes[-_ ]?(?:128|192)(?:[-_ ]?gcm)?", value, re.IGNORECASE):
        return "KMS has no symmetric keys but those of 256 bits (SYMMETRIC_DEFAULT)", "Use a key of 32 bytes."
    shown = f"{value} is" if re.fullmatch(r"[A-Za-z0-9_-]{1,32}", value) else "is"
    wanted = meant(name, value)
    advice = f"Did you mean {wanted}?" if wanted else nearest(value, allowed) or f"Allowed: {joined(allowed)}."
    return f"{shown} not one of the allowed values", advice


def account(text: str) -> Said:
    """What is wrong with something that should be an account ID."""
    if text.startswith("="):
        return "is a formula of a spreadsheet, not an account ID", "Format the column as text; write the 12 digits."
    if re.fullmatch(r"[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+|[0-9]{9,12}[.,]0*", text):
        return (
            f"{text[:40]} is a number as a spreadsheet writes it, not an account ID",
            "Format the column as text and write the 12 digits again: the spreadsheet may have lost some.",
        )
    if re.fullmatch(r"[0-9]{9,11}", text):
        return (
            f"{text} has {len(text)} digits; an account ID has 12",
            f"If a spreadsheet dropped leading zeros, it is {text.zfill(12)}: format the column as text.",
        )
    if re.fullmatch(r"[0-9]{4}[- ][0-9]{4}[- ][0-9]{4}", text):
        return f"{text} is not 12 digits", f"Write it without separators: {re.sub('[- ]', '', text)}."
    shown = f"{text} is" if re.fullmatch(r"[0-9A-Za-z.-]{1,24}", text) else "is"
    return f"{shown} not an account ID", "An account ID has 12 digits."


def _valid_to(value: str) -> Said:
    if meant("valid_to", value):
        return "is not a date", "Did you mean never?"
    if match := re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,2})\.(20[0-9]{2})", value):
        return "is not RFC 3339", f"Write {match[3]}-{match[2]:0>2}-{match[1]:0>2}T00:00:00Z."
    if re.fullmatch(r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}|[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}", value):
        return "is not RFC 3339", "Write the year first, such as 2027-06-30T00:00:00Z."
    if re.fullmatch(r"[0-9]{9,13}", value):
        return "is a number of seconds, not RFC 3339", "Write a date, such as 2027-06-30T00:00:00Z."
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return f"{value} has no time and no offset", f"Write {value}T00:00:00Z."
    if re.search(r"[0-9]\.[0-9]+([Zz]|[+-][0-9:]+)?$", value):
        return "has fractions of a second; KMS stores whole seconds", "Write it without the fraction."
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2})?", value):
        return f"{value} has no offset", "Add the offset: Z for UTC, or one such as +02:00."
    return "is not a date", "Write RFC 3339 with an offset, such as 2027-06-30T00:00:00Z, or never."


_LONG = re.compile(
    r"[Pp]?[Tt]?\s*([0-9]{1,5})\s*(h|hours?|d|days?|w|weeks?|y|years?|months?|m|min|minutes?|s)?\s*", re.IGNORECASE
)


def _lasts(text: str) -> Said:
    """`90 days` and the like → 90d."""
    match = _LONG.fullmatch(text)
    number, unit = (int(match[1]), (match[2] or "").lower()) if match else (0, "")
    if not number:
        return "is not a duration", _DURATION
    if not unit:
        return "has no unit", f"Did you mean {number}d?"
    if unit[0] in "hdw":
        return "is not a duration", f"Did you mean {number}{unit[0]}?"
    if unit[0] == "y":
        return "is not a duration", "KMS allows at most 365d."
    if unit.startswith("month"):
        return "is not a duration", f"Months have no fixed length. Write days: {number * 30}d."
    return "is not a duration", _DURATION


_FIELDS: dict[str, Callable[[str], Said]] = {
    "id": lambda _: (
        "is not an id",
        "Use 1 to 128 letters, digits, `.`, `_`, `-`, beginning with a letter or digit.",
    ),
    "name": lambda _: (
        "is not the name of a material",
        "Use 1 to 256 letters, digits, spaces, `:`, `/`, `_`, `.`, `-`.",
    ),
    "account": account,
    "accounts": account,
    "external_id": lambda _: (
        "is not an external ID",
        "STS accepts 2 to 1224 letters, digits and _+=,.@:/- characters.",
    ),
    "valid_to": _valid_to,
    "valid_for": _lasts,
    "renew_before": _lasts,
    "kcv": lambda _: ("is not a check value", "It is 3 bytes: 6 hex digits, leading zeros included."),
    "spki_sha256": lambda _: ("is not a SHA-256", "It is 64 hex digits, without colons."),
    "key_material_id": lambda _: ("is not a key material ID", "It is 64 hex digits, as DescribeKey shows it."),
    "session_duration": lambda _: (
        "is not between 900 and 3600 seconds",
        "Role chaining allows no session longer than an hour; STS none shorter than 15 minutes.",
    ),
    "policy": lambda _: (
        "is neither file:PATH nor a mapping",
        "Write file:policies/payments.json, a path in the manifest's folder, or the policy itself (YAML and JSON).",
    ),
    "version": lambda _: ("is not 1", "This program reads manifests of version 1."),
}


def _by_field(name: str, value: Any) -> Said:
    if name in _FIELDS:
        return _FIELDS[name](str(value))
    if isinstance(value, str) and len(value) > 1024:
        return f"is too long ({len(value):,} characters)", ""
    return "is empty", "Specify a value, or omit the field."
