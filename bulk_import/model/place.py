"""Where files and objects are: a path, `-`, or s3://bucket/key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
S3_SCHEME = "s3://"
STDOUT = "-"  # as a destination; as a source, stdin


@dataclass(frozen=True, slots=True)
class ObjectUri:
    """An object of S3, by s3://bucket/key. The key is taken as it stands: nothing in it is percent-decoded.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{S3_SCHEME}{self.bucket}/{self.key}"

    @classmethod
    def parse(cls, text: str) -> ObjectUri:
        """Raises ValueError, whose message is for people."""
        bucket, _, key = text.removeprefix(S3_SCHEME).partition("/")
        if not text.startswith(S3_SCHEME):
            raise ValueError("write s3://bucket/key")
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{bucket!r} is not a bucket name. Write s3://bucket/key")
        if not key or key.endswith("/") or len(key.encode()) > 1024:
            raise ValueError(f"{text!r} does not name an object. Write s3://bucket/key, the key of at most 1,024 bytes")
        return cls(bucket, key)

    def beside(self, name: str) -> ObjectUri:
        """The object of this name in the same folder."""
        folder, slash, _ = self.key.rpartition("/")
        return ObjectUri(self.bucket, f"{folder}{slash}{name}")

    @property
    def name(self) -> str:
        """What is after the last slash."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What S3 says of an object, all of one moment."""

    etag: str
    size: int  # bytes
    modified: datetime
    metadata: Mapping[str, str]  # as its writer set it


def in_s3(uri: str | None) -> bool:
    return uri is not None and uri.startswith(S3_SCHEME)
