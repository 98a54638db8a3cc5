"""The fields that describe one key material, for a key's only one (models.py) and for each entry of `materials`."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from bulk_import.manifest.scalars import NO_KEY, number_too
from bulk_import.model import Encoding

_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)


@with_config(_STRICT)
class ExpectFields(TypedDict):
    """A check value of the material. Exactly one of the two."""

    kcv: NotRequired[
        Annotated[
            str,
            Field(
                pattern=r"^[0-9A-Fa-f]{6}$",
                description="Check value of an AES key: the first 3 bytes of AES-ECB of a zero block, as 6 hex digits.",
                examples=["08d7b4"],
                json_schema_extra=number_too(),
            ),
        ]
        | None
    ]
    spki_sha256: NotRequired[
        Annotated[
            str,
            Field(
                pattern=r"^[0-9A-Fa-f]{64}$",
                description="SHA-256 of an asymmetric key's public key (DER SubjectPublicKeyInfo), as 64 hex digits.",
                examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
            ),
        ]
        | None
    ]


KeyMaterialId = Annotated[
    str,
    Field(
        pattern=r"^[0-9A-Fa-f]{64}$",
        description="What KMS must call the material (KeyMaterialId, 64 hex digits). SYMMETRIC_DEFAULT only.",
        examples=["0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
    ),
]

Material = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="URI of the key material. `file:` paths are relative to the manifest's folder and stay "
        "inside it; `env:` names an environment variable. Placeholders: {partition} {account} {region} {id}; "
        "{{ and }} are literal braces.",
        examples=["file:payments.key", "file:{account}/{id}.key", "env:PAYMENTS_KEY"],
    ),
]

EncryptedKeyMaterial = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="Instead of `material`, with `import_token` and `wrapping_algorithm`: a file of material "
        "that was sealed before, for this key and this token. file:PATH, the bytes as KMS takes them. "
        "Placeholders as in `material`.",
        examples=["file:payments.sealed"],
    ),
]

ImportToken = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="With `encrypted_key_material`: a file of the import token that belongs to it. file:PATH, "
        "the bytes as KMS gave them. Placeholders as in `material`.",
        examples=["file:payments.token"],
    ),
]

MaterialEncoding = Annotated[
    Encoding | None,
    Field(
        description="How the source's bytes become material. Default for `file:`: raw, or pem after "
        "`-----BEGIN`; for `env:`: base64.",
        examples=["raw", "base64"],
    ),
]

ExpectField = Annotated[
    ExpectFields | None,
    Field(description="A check value that the material must have.", examples=[{"kcv": "08d7b4"}]),
]

ValidTo = Annotated[
    str,
    Field(
        pattern=r"^(never|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([Zz]|[+-][0-9]{2}:[0-9]{2}))$",
        description="When the material expires: RFC 3339 with an offset, whole seconds, at most 365 days "
        "ahead; or `never`. Excludes valid_for.",
        examples=["2027-06-30T00:00:00Z", "never"],
    ),
]

ValidFor = Annotated[
    str,
    Field(
        pattern=r"^[1-9][0-9]{0,4}[hdw]$",
        description="How long after the run's start the material expires: hours, days or weeks, at most 365d. "
        "Excludes valid_to.",
        examples=["90d", "12h", "8w"],
    ),
]

RenewBefore = Annotated[
    str,
    Field(
        pattern=r"^[1-9][0-9]{0,4}[hdw]$",
        description="With valid_for: import again once less life than this remains. Default: a third of it.",
        examples=["30d"],
    ),
]


@with_config(_STRICT)
class EntryFields(TypedDict):
    """One of several key materials of a key."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9:/_ .-]{1,256}$",
            description="Your name for the material, unique in its list; KMS keeps it as KeyMaterialDescription.",
            examples=["2026"],
            json_schema_extra=number_too(),
        ),
        NO_KEY,
    ]
    material: Material
    encoding: NotRequired[MaterialEncoding]
    expect: NotRequired[ExpectField]
    key_material_id: NotRequired[KeyMaterialId | None]
    valid_to: NotRequired[ValidTo | None]
    valid_for: NotRequired[ValidFor | None]
    renew_before: NotRequired[RenewBefore | None]
