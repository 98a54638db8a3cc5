"""The shape of a manifest, as pydantic v2 models; schema.py prints it.

The models are typed dicts, because of one rule: a field that is absent inherits, one that is null overrides. In a
typed dict the first is absent and the second is None, and the merge (nearest wins) is `{**defaults, **account, **key}`.
Patterns show the shape only; fields.py checks what a value means (a day that exists, a Region, an ARN that fits).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, WithJsonSchema, with_config
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from bulk_import.manifest.material_fields import (
    EncryptedKeyMaterial,
    EntryFields,
    ExpectField,
    ImportToken,
    KeyMaterialId,
    Material,
    MaterialEncoding,
    RenewBefore,
    ValidFor,
    ValidTo,
)
from bulk_import.manifest.scalars import (
    NO_KEY,
    Account,
    ExternalId,
    Region,
    Role,
    SessionDuration,
    number_too,
    policy,
    whole,
    yes_or_no,
)
from bulk_import.model import KeySpec, KeyUsage, WrappingAlgorithm, WrappingKeySpec

STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)
# What must be there is asked after inheritance, in expand.py; an editor can at least ask for these.
_KEY = ConfigDict(extra="forbid", hide_input_in_errors=True, json_schema_extra={"required": ["id", "key_id"]})


@with_config(STRICT)
class CreateFields(TypedDict):
    """How a missing key is created, and what an existing key must show. An absent field: KMS's default, and any."""

    description: NotRequired[
        Annotated[
            str,
            Field(max_length=8192, description="The key's description. Placeholders as in `material`.",
                  examples=["Payments, {region}"]),
            NO_KEY,
        ]
        | None
    ]  # fmt: skip
    tags: NotRequired[
        Annotated[
            dict[Annotated[str, NO_KEY], Annotated[str, NO_KEY]],
            Field(description="Tags of the key, by name. Placeholders as in `material`, in values.",
                  examples=[{"Team": "payments"}]),
        ]
        | None
    ]  # fmt: skip
    policy: NotRequired[
        Annotated[
            Any,
            Field(description="The key policy: `file:PATH` of a JSON file in the manifest's folder, or the policy "
                  "itself (YAML and JSON). Placeholders as in `material`, in its values. Absent: KMS's default policy.",
                  examples=["file:policies/payments.json"]),
            BeforeValidator(policy),
            WithJsonSchema({"type": ["string", "object", "null"]}),
        ]
    ]  # fmt: skip
    multi_region: NotRequired[
        Annotated[
            bool | None,
            Field(description="Whether the key is a multi-Region primary key. Default: false.", examples=[True]),
            BeforeValidator(yes_or_no),
        ]
    ]


@with_config(STRICT)
class SharedFields(TypedDict):
    """What a key may state itself or inherit."""

    region: NotRequired[
        Annotated[Region | None, Field(description="One Region; or `regions`.", examples=["eu-central-1"])]
    ]
    regions: NotRequired[
        Annotated[
            list[Region] | None,
            Field(
                min_length=1,
                description="Several Regions: one target in each, in this order.",
                examples=[["us-east-1", "eu-west-1"]],
            ),
        ]
    ]
    replicas: NotRequired[
        Annotated[
            list[Region] | None,
            Field(
                min_length=1,
                description="Regions of the replicas of a multi-Region key, whose primary is in `region`: one target "
                "in each, after the primary, in this order. All get the same material.",
                examples=[["eu-west-1", "us-east-1"]],
            ),
        ]
    ]
    key_spec: NotRequired[
        Annotated[
            KeySpec | None,
            Field(
                description="Key spec; must equal KMS's. If specified, `validate` can check more before any call.",
                examples=["SYMMETRIC_DEFAULT", "HMAC_256", "RSA_2048"],
            ),
        ]
    ]
    key_usage: NotRequired[
        Annotated[
            KeyUsage | None,
            Field(
                description="Key usage; must equal KMS's. With `create`, required for RSA and NIST ECC keys.",
                examples=["ENCRYPT_DECRYPT", "SIGN_VERIFY"],
            ),
        ]
    ]
    create: NotRequired[
        Annotated[
            CreateFields | None,
            Field(
                description="Create the key if it is missing; `key_id` must then be an alias, and `key_spec` is "
                "required. {}: with KMS's defaults. Absent: the key must exist.",
                examples=[{"description": "Payments, {region}", "tags": {"Team": "payments"}}],
            ),
        ]
    ]
    key_material_id: NotRequired[KeyMaterialId | None]
    material: NotRequired[Material | None]
    materials: NotRequired[
        Annotated[
            list[EntryFields] | None,
            Field(
                min_length=1,
                description="Several key materials, oldest first; the last is the current one. SYMMETRIC_DEFAULT only; "
                "YAML and JSON only. Replaces `material`. New entries at the end rotate the key.",
                examples=[[{"name": "2025", "material": "file:v1.key"}, {"name": "2026", "material": "file:v2.key"}]],
            ),
        ]
    ]
    encrypted_key_material: NotRequired[EncryptedKeyMaterial | None]
    import_token: NotRequired[ImportToken | None]
    encoding: NotRequired[MaterialEncoding]
    expect: NotRequired[ExpectField]
    wrapping_algorithm: NotRequired[
        Annotated[
            WrappingAlgorithm | None,
            Field(
                description="Default: the strongest that the key spec allows.",
                examples=["RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_256"],
            ),
        ]
    ]
    wrapping_key_spec: NotRequired[
        Annotated[
            WrappingKeySpec | None,
            Field(description="Size of KMS's wrapping key. Default: RSA_4096.", examples=["RSA_4096"]),
        ]
    ]
    valid_to: NotRequired[ValidTo | None]
    valid_for: NotRequired[ValidFor | None]
    renew_before: NotRequired[RenewBefore | None]


@with_config(STRICT)
class AccessFields(TypedDict):
    """How an account is entered; belongs to the account, never to a key."""

    role: NotRequired[Role | None]
    external_id: NotRequired[ExternalId | None]
    session_duration: NotRequired[SessionDuration | None]


@with_config(STRICT)
class DefaultFields(SharedFields, AccessFields):
    """`defaults`, and each of `accounts`: every field of a key but its identity, and the account's fields."""


@with_config(_KEY)
class KeyFields(SharedFields):
    """One entry of `keys`; without fan-out it is one target."""

    id: NotRequired[
        Annotated[
            str,
            Field(
                pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
                description="Your name for the key, unique per account and Region; the report uses it.",
                examples=["payments"],
                json_schema_extra=number_too(),
            ),
            NO_KEY,
        ]
    ]
    account: NotRequired[Account | None]
    accounts: NotRequired[
        Annotated[
            list[Account] | None,
            Field(
                min_length=1,
                description="Several accounts: a target in each, in each Region; accounts outer.",
                examples=[["111122223333", "444455556666"]],
            ),
        ]
    ]
    key_id: NotRequired[
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=2048,
                description="The KMS key: key ID, mrk-…, key ARN, alias or alias ARN (not alias/aws/…). "
                "Placeholders as in `material`.",
                examples=[
                    "alias/payments",
                    "1234abcd-12ab-34cd-56ef-1234567890ab",
                    "mrk-1234abcd12ab34cd56ef1234567890ab",
                ],
            ),
        ]
    ]


@with_config(STRICT)
class RowFields(KeyFields, AccessFields):
    """A line of JSON Lines or CSV: a key's fields and its account's, which must agree on all lines of an account."""


@with_config(STRICT)
class Head(TypedDict):
    """A document without its keys."""

    version: Annotated[Literal[1], Field(description="Always 1.", examples=[1]), BeforeValidator(whole)]
    defaults: NotRequired[
        Annotated[
            DefaultFields | None,
            Field(
                description="Fields of every key and account that does not specify them.",
                examples=[{"role": "KmsMaterialImporter"}],
            ),
        ]
    ]
    accounts: NotRequired[
        Annotated[
            dict[Account, DefaultFields | None] | None,
            Field(
                description="What differs by account: nearer than `defaults`, farther than the key.",
                examples=[{"111122223333": {"role": "byok/Importer", "external_id": "org-7f3a"}}],
            ),
        ]
    ]


HEAD: TypeAdapter[Any] = TypeAdapter(Head)
KEY: TypeAdapter[Any] = TypeAdapter(KeyFields)
ROW: TypeAdapter[Any] = TypeAdapter(RowFields)

FIELDS_OF_DEFAULTS = tuple(DefaultFields.__annotations__)
FIELDS_OF_KEYS = tuple(KeyFields.__annotations__)
FIELDS_OF_ROWS = tuple(RowFields.__annotations__)
FIELDS_OF_ACCESS = tuple(AccessFields.__annotations__)
FIELDS_OF_CREATE = tuple(CreateFields.__annotations__)
FIELDS_OF_ENTRIES = tuple(EntryFields.__annotations__)
FIELDS_OF_IDENTITY = ("id", "account", "accounts", "key_id")  # of a key alone: `defaults` cannot hold them
