"""`secretsmanager:NAME-or-ARN`: a secret of AWS Secrets Manager, or one field of a JSON secret.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from bulk_import import strict_json
from bulk_import.errors import MaterialError
from bulk_import.material.sources import aws_uri
from bulk_import.material.sources.base import MAX_BYTES, Content, Kind, binary, text
from bulk_import.material.sources.covers import by_path_or_arn
from bulk_import.model import Target
from bulk_import.ports import Stores

_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_ARN: Final = re.compile(r"arn:[a-z-]+:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,512}")


def parse(rest: str) -> aws_uri.Asked:
    """Raises ValueError."""
    asked = aws_uri.parse(rest, "field", "version_stage", "version_id")
    arn = _ARN.fullmatch(asked.path)
    if arn is None and not _NAME.fullmatch(asked.path):
        raise ValueError("write the name or the ARN of a secret, like secretsmanager:byok/payments")
    if arn is not None and asked.region not in (None, arn[1]):
        raise ValueError("region= contradicts the Region of the ARN")
    return asked._replace(region=arn[1]) if arn is not None else asked


class SecretsManagerSource:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def read(self, rest: str, target: Target) -> Content:  # noqa: ARG002 - the URI says everything
        asked = parse(rest)
        request = {"SecretId": asked.path}
        request |= {"VersionStage": asked.query["version_stage"]} if "version_stage" in asked.query else {}
        request |= {"VersionId": asked.query["version_id"]} if "version_id" in asked.query else {}
        answer = await self._stores.get(
            "GetSecretValue", request, region=asked.region, role=asked.role, limit=MAX_BYTES
        )
        _check(answer, asked)
        field = asked.query.get("field")
        secret, data = answer.get("SecretString"), answer.get("SecretBinary")
        if (secret is None) == (data is None):
            what = "no value" if data is None else "two values, a text and a binary one"
            raise MaterialError(f"{asked.path} has {what}", code="MaterialInvalid")
        if data is not None:
            if field is not None:
                raise MaterialError(f"{asked.path} is binary: it has no fields", code="MaterialInvalid")
            return binary(bytearray(data))
        found = aws_uri.encoded(secret, asked.path)
        return text(found if field is None else _field(found, field, asked.path))


def _check(answer: Mapping[str, Any], asked: aws_uri.Asked) -> None:
    """Raises MaterialError for the answer to another request: its bytes would go into the wrong key."""
    arn, name = str(answer.get("ARN")), answer.get("Name")
    if asked.path.startswith("arn:"):  # without its last six characters, it is that of the same secret
        same = arn == asked.path or (arn.startswith(f"{asked.path}-") and len(arn) == len(asked.path) + 7)
    else:
        match = _ARN.fullmatch(arn)
        same = name == asked.path and match is not None and asked.region in (None, match[1])
    if not same:
        raise aws_uri.another(asked.path)
    version = asked.query.get("version_id")
    stage = asked.query.get("version_stage", "AWSCURRENT" if version is None else None)
    if version is not None and answer.get("VersionId") != version:
        raise aws_uri.another(f"version {version} of {asked.path}")
    if stage is not None and stage not in (answer.get("VersionStages") or ()):
        raise aws_uri.another(f"the version {stage} of {asked.path}")


def _field(secret: bytearray, field: str, shown: str) -> bytearray:
    why = ""
    try:
        found: Any = strict_json.loads(bytes(secret))
    except json.JSONDecodeError as error:
        found, why = None, f" ({error.msg})"
    if not isinstance(found, dict):
        raise MaterialError(
            f"{shown} is not a JSON object{why}, so it has no field {field}", code="MaterialInvalid",
            advice="Correct the JSON of the secret."
            if secret.lstrip().startswith(b"{")
            else "Leave field= out for a secret that is the material itself.",
        )  # fmt: skip
    value = found.get(field)
    if not isinstance(value, str) or not value:
        raise MaterialError(f"{shown} has no field {field} that is text", code="MaterialNotFound")
    return bytearray(value, "utf-8")


KIND = Kind(
    scheme="secretsmanager",
    form="secretsmanager:NAME-or-ARN",
    summary="a secret of AWS Secrets Manager; also `field=` of a JSON secret, `region=`, `version_stage=`, "
    "`version_id=`, `role=`",
    parse=parse,
    covers=by_path_or_arn,
    open=aws_uri.opener(SecretsManagerSource),
    network=True,
    settings=aws_uri.SETTINGS,
    check=aws_uri.check(parse),
)
