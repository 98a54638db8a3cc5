"""What a source of key material is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bulk_import.model import Encoding


class Source(Protocol):
    """One URI scheme. Every method is told the URI without its scheme and colon."""

    def refusal(self, rest: str) -> str | None:
        """Why this can be no URI of the scheme, without looking at the world; None where it can be one."""
        ...

    async def read(self, rest: str, root: Path | None) -> bytearray:
        """The source's bytes as they are, not decoded; the caller owns and wipes them. Raises MaterialError."""
        ...

    def default_encoding(self, data: bytearray) -> Encoding:
        """How the bytes are to be taken where the manifest states no encoding."""
        ...
