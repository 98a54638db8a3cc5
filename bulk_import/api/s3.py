"""Input from S3."""

from __future__ import annotations

from bulk_import.errors import InputError, ObjectError, Problem
from bulk_import.manifest.read import MAX_BYTES
from bulk_import.settings import Settings


def fetch(uri: str, settings: Settings) -> bytes:
    """An object of S3 (s3://bucket/key, of at most 1 GiB), with the caller's own credentials.

    Raises InputError, which names the URI, and CallerError where the caller's credentials do not work.
    """
    from bulk_import.aws import objects  # noqa: PLC0415 - an AWS library is loaded only where AWS is called

    try:
        return objects.fetch(uri, settings, limit=MAX_BYTES)
    except ObjectError as error:
        raise InputError([Problem(uri, 0, "", error.reason, error.advice)], code=error.code) from None
