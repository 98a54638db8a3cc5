"""`env:NAME`: an environment variable, base64 unless the manifest states otherwise."""

from __future__ import annotations

import os
import re
from typing import Final

from bulk_import.errors import MaterialError
from bulk_import.material.sources.base import Content, Kind, Opened
from bulk_import.material.sources.covers import exactly
from bulk_import.model import Encoding, Target

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")  # shells know fewer names than Kubernetes can set


def parse(rest: str) -> str:
    """The variable's name. Raises ValueError; the name is not quoted: it may be the material itself."""
    if not _NAME.fullmatch(rest):
        raise ValueError("write the name of an environment variable, like env:PAYMENTS_KEY")
    return rest


class EnvSource:
    """Reads the variable's bytes as the system holds them, so that a value need not be UTF-8."""

    async def read(self, rest: str, target: Target) -> Content:  # noqa: ARG002 - the URI says everything
        value = os.environb.get(rest.encode("ascii"))
        if not value:
            state = "is not set" if value is None else "is set, but empty"
            raise MaterialError(f"the environment variable {rest} {state}", code="MaterialNotFound")
        return Content(bytearray(value), Encoding.BASE64)


KIND = Kind(
    scheme="env",
    form="env:NAME",
    summary="an environment variable, base64 unless `encoding` says otherwise",
    parse=parse,
    covers=exactly,
    open=lambda _: Opened(source=EnvSource()),
    checked_offline=True,
    shared=False,
)
