"""The document itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

import orjson


def write(found: Mapping[str, Any], out: TextIO) -> None:
    out.write(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
