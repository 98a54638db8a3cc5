"""`env:NAME`: an environment variable, base64 unless the manifest states otherwise."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from bulk_import.errors import MaterialError
from bulk_import.model import Encoding

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")  # shells know fewer names than Kubernetes can set


class EnvSource:
    """Reads the variable's bytes as the system holds them, so that a value need not be UTF-8."""

    def refusal(self, rest: str) -> str | None:
        # The name is not quoted: somebody may have put the material itself behind `env:`.
        return (
            None if _NAME.fullmatch(rest) else "env: needs the name of an environment variable, like env:PAYMENTS_KEY"
        )

    async def read(self, rest: str, root: Path | None) -> bytearray:  # noqa: ARG002 - a variable lies in no folder
        value = os.environb.get(rest.encode("ascii"))
        if not value:
            state = "is not set" if value is None else "is set, but empty"
            raise MaterialError(f"the environment variable{_shown(rest)} {state}", code="MaterialNotFound")
        return bytearray(value)

    def default_encoding(self, data: bytearray) -> Encoding:  # noqa: ARG002 - whatever the value looks like
        return Encoding.BASE64


def _shown(name: str) -> str:
    """The name, unless it is long and has no part of a name in it: it could be a key in hex or base64."""
    return f" {name}" if len(name) < 32 or "_" in name else ""
