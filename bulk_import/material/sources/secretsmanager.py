"""`secretsmanager:NAME-or-ARN`: a secret of AWS Secrets Manager, or one field of a JSON secret.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

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
        field = asked.query.get("field")
        if "SecretBinary" in answer and field is None:
            return binary(bytearray(answer["SecretBinary"]))
        secret = answer.get("SecretString")
        if secret is None:
            raise MaterialError(f"{asked.path} is binary: it has no fields", code="MaterialInvalid")
        return text(bytearray(secret if field is None else _field(secret, field, asked.path), "utf-8"))


def _field(secret: str, field: str, shown: str) -> str:
    try:
        found: Any = json.loads(secret)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise MaterialError(
            f"{shown} is not a JSON object, so it has no field {field}", code="MaterialInvalid",
            advice="Leave field= out for a secret that is the material itself.",
        )  # fmt: skip
    value = found.get(field)
    if not isinstance(value, str) or not value:
        raise MaterialError(f"{shown} has no field {field} that is text", code="MaterialNotFound")
    return value


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
