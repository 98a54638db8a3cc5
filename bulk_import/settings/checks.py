"""What the value of a setting must be, where its type alone does not say so."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from bulk_import.files import LONGEST_NAME, no_path
from bulk_import.model import ObjectUri, in_s3
from bulk_import.shards import AUTO, parse
from bulk_import.shown import shown

CORRECTABLE = ("description", "tags", "policy")
LONGEST_WRITTEN = 200  # bytes: the names of older results, their sums and new files are longer
_PATHS = (
    "known", "material_root", "only_failed", "pkcs11_module", "pkcs11_pin_file", "plan", "seed", "sign_with",
    "signed_by", "vault_jwt_file",
)  # fmt: skip
_WRITTEN = ("journal", "out", "output", "render", "report")
RENDERINGS = ("html", "junit", "markdown", "github", "csv")  # of a report


class Checked(BaseSettings):
    """The base of Settings, which has the fields."""

    @field_validator("quota", check_fields=False)
    @classmethod
    def _rates(cls, rates: dict[str, float]) -> dict[str, float]:
        wrong = [name for name, rate in rates.items() if not 0 < rate <= 100_000]
        if wrong:
            raise ValueError(f"the rate of {wrong[0]} must be above 0 and at most 100000 per second")
        return rates

    @field_validator("sts_region", check_fields=False)
    @classmethod
    def _region(cls, region: str | None) -> str | None:
        """It becomes a part of host names, which are shown: so anything but a Region's form is refused."""
        if region is not None and not re.fullmatch(r"[a-z][a-z0-9-]{1,30}", region):
            raise ValueError("is not a Region. Write a Region's code, such as eu-central-1")
        return region

    @field_validator("endpoint_url", check_fields=False)
    @classmethod
    def _endpoint(cls, url: str | None) -> str | None:
        """Also where the URL is malformed, so that a parser would see the password as a part of the host."""
        if url is not None and "@" in url:
            raise ValueError("the URL holds a user or a password, which would be written down with it. Leave them out")
        return url

    @field_validator("allow_account", "only_account", "account", check_fields=False)
    @classmethod
    def _accounts(cls, accounts: tuple[str, ...]) -> tuple[str, ...]:
        wrong = sum(not re.fullmatch(r"[0-9]{12}", account) for account in accounts)
        if wrong:
            raise ValueError(f"{wrong} of {len(accounts)} values are not an account ID. Write 12 digits")
        return accounts

    @field_validator("allow_source", check_fields=False)
    @classmethod
    def _prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            if not re.fullmatch(r"[a-z][a-z0-9]*:.*", prefix):
                raise ValueError(f"{prefix!r} must begin with a source and its colon, such as vault: or vault:byok/")
        return prefixes

    @field_validator("correct", check_fields=False)
    @classmethod
    def _correctable(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [name for name in names if name not in CORRECTABLE]
        if wrong:
            raise ValueError(f"{shown(wrong[0])!r} cannot be corrected. Use {', '.join(CORRECTABLE)}")
        return names

    @field_validator("label", check_fields=False)
    @classmethod
    def _labels(cls, labels: dict[str, str]) -> dict[str, str]:
        if len(labels) > 50 or any(len(k) > 128 or len(v) > 1024 for k, v in labels.items()):
            raise ValueError("at most 50 labels, names of at most 128 and values of at most 1024 characters")
        return {shown(name): shown(value) for name, value in labels.items()}

    @field_validator("render", check_fields=False)
    @classmethod
    def _renderings(cls, renderings: dict[str, str]) -> dict[str, str]:
        for name, path in renderings.items():
            if name not in RENDERINGS:
                raise ValueError(f"{name!r} is not a rendering. Use one of: {', '.join(RENDERINGS)}")
            if path in ("", "-"):
                raise ValueError(f"{name} needs a path, such as {name}=report.{name}")
            if in_s3(path):
                ObjectUri.parse(path)
        return renderings

    @field_validator("report", "checkpoint", "output", "out", "plan", check_fields=False)
    @classmethod
    def _objects(cls, uri: str | None, info: ValidationInfo) -> str | None:
        if uri == "-" and info.field_name in ("out", "plan"):
            raise ValueError("a saved plan is a file. Name one, or s3://bucket/key")
        if uri is not None and (in_s3(uri) or info.field_name == "checkpoint"):
            ObjectUri.parse(uri)
        return uri

    @field_validator(*_PATHS, *_WRITTEN, check_fields=False)
    @classmethod
    def _paths(cls, value: Any, info: ValidationInfo) -> Any:
        longest = LONGEST_WRITTEN if info.field_name in _WRITTEN else LONGEST_NAME
        paths = value.values() if isinstance(value, dict) else [value] if isinstance(value, str) else value or ()
        for path in paths:
            if not in_s3(path) and (why := no_path(path, longest=longest)):
                raise ValueError(f"is not a path: {why}")
        return value

    @field_validator("journal", check_fields=False)
    @classmethod
    def _local(cls, journal: str | None) -> str | None:
        if in_s3(journal):
            raise ValueError("the journal is a local file; --checkpoint keeps a copy of it in S3")
        return journal

    @field_validator("shard", check_fields=False)
    @classmethod
    def _shard(cls, shard: str | None) -> str | None:
        if shard in (None, AUTO):
            return shard
        number, of = parse(str(shard))
        return f"{number}/{of}"  # 01/08 is 1/8
