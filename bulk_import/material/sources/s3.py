"""`s3://BUCKET/KEY`: an object of at most 64 KiB.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

from bulk_import.errors import MaterialError
from bulk_import.material.sources import aws_uri, uri
from bulk_import.material.sources.base import MAX_BYTES, Content, Kind, binary
from bulk_import.model import ObjectUri, Target
from bulk_import.ports import Stores


def parse(rest: str) -> aws_uri.Asked:
    """Raises ValueError."""
    asked = aws_uri.parse(rest, "version_id")
    uri.segments(asked.path.removeprefix("//"), least=2)
    ObjectUri.parse(f"s3:{asked.path}")
    if "*" in asked.path or "${" in asked.path:
        raise ValueError("its key must not hold * or ${: the policy for it would name other objects too")
    return asked


class S3Source:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def read(self, rest: str, target: Target) -> Content:  # noqa: ARG002 - the URI says everything
        asked = parse(rest)
        place = ObjectUri.parse(f"s3:{asked.path}")
        request = {"Bucket": place.bucket, "Key": place.key}
        request |= {"VersionId": asked.query["version_id"]} if "version_id" in asked.query else {}
        answer = await self._stores.get("GetObject", request, region=asked.region, role=asked.role, limit=MAX_BYTES)
        version = asked.query.get("version_id")
        if version is not None and answer.get("VersionId") != version:
            raise aws_uri.another(f"version {version} of {place}")
        data = bytearray(answer["Body"])
        if not data or len(data) > MAX_BYTES:
            what = "is empty" if not data else f"has more than {MAX_BYTES} bytes"
            raise MaterialError(f"{place} {what}", code="MaterialWrongLength")
        return binary(data)


KIND = Kind(
    scheme="s3",
    form="s3://BUCKET/KEY",
    summary="an object of at most 64 KiB; also `version_id=`, `region=`, `role=`",
    parse=parse,
    open=aws_uri.opener(S3Source),
    network=True,
    settings=aws_uri.SETTINGS,
    check=aws_uri.check(parse),
)
