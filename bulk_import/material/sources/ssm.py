"""`ssm:NAME`: a SecureString parameter of AWS Systems Manager's Parameter Store.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
"""

from __future__ import annotations

import re
from typing import Final

from bulk_import.errors import MaterialError
from bulk_import.material.sources import aws_uri, uri
from bulk_import.material.sources.base import MAX_BYTES, Content, Kind, text
from bulk_import.model import Target
from bulk_import.ports import Stores

_NAME: Final = re.compile(r"/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


def parse(rest: str) -> aws_uri.Asked:
    """Raises ValueError."""
    asked = aws_uri.parse(rest, "version")
    uri.number(asked.query, "version")
    if not _NAME.fullmatch(asked.path) or len(asked.path) > 1011:
        raise ValueError("write the name of a parameter, like ssm:/byok/payments")
    uri.segments(asked.path.removeprefix("/"))
    return asked


class SsmSource:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def read(self, rest: str, target: Target) -> Content:  # noqa: ARG002 - the URI says everything
        asked = parse(rest)
        version = asked.query.get("version")
        name = f"{asked.path}:{version}" if version else asked.path
        request = {"Name": name, "WithDecryption": True}
        answer = await self._stores.get("GetParameter", request, region=asked.region, role=asked.role, limit=MAX_BYTES)
        parameter = answer.get("Parameter") or {}
        given = str(parameter.get("Version"))
        # At the root, it is one parameter with a slash and without.
        named = str(parameter.get("Name")).removeprefix("/")
        if named != asked.path.removeprefix("/") or (version is not None and given != version):
            raise aws_uri.another(f"version {version} of {asked.path}" if version else asked.path)
        if parameter.get("Type") != "SecureString":
            raise MaterialError(
                f"the parameter {asked.path} is not a SecureString", code="MaterialInvalid",
                advice="Key material must be encrypted where it is kept: make it a SecureString.",
            )  # fmt: skip
        return text(aws_uri.encoded(parameter.get("Value"), asked.path))


KIND = Kind(
    scheme="ssm",
    form="ssm:NAME",
    summary="a SecureString parameter of AWS Systems Manager; also `version=`, `region=`, `role=`",
    parse=parse,
    open=aws_uri.opener(SsmSource),
    network=True,
    settings=aws_uri.SETTINGS,
    check=aws_uri.check(parse),
)
