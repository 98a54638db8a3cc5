"""Every response of AWS, where it enters the program: its text cannot act on a terminal, a log or a CI runner, and its
times can be compared.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from botocore.utils import parse_timestamp

from bulk_import.aws.wire.http import Response
from bulk_import.text import harmless, harmless_values, is_plain

# What is compared with the manifest, or parsed, as it is: anyone who shows a part of it makes that harmless.
_AS_IT_IS: Final = frozenset({"Policy", "Tags"})
_SECRET: Final = frozenset({"SecretString", "Parameter"})
_TEXTS_AS_THEY_ARE: Final = ("Description", "KeyMaterialDescription")  # of a key, and of each of its materials
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def make_harmless(parsed: dict[str, Any] | None, http_response: Any = None, **_: Any) -> None:
    """A handler of botocore's event `after-call`: changes the parsed response, error or not, in place."""
    if not isinstance(parsed, dict) or (isinstance(http_response, Response) and _is_plain(http_response)):
        return
    for name, value in parsed.items():
        if name not in _SECRET:
            parsed[name] = _encodable(value) if name in _AS_IT_IS else _harmless(value)


def moment(value: Any) -> datetime:
    """A time of a response, in UTC: for botocore's parser, whose own makes a time zone of the machine's for each time.

    Raises ValueError for what is no time, or one without a zone.
    """
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        found = parse_timestamp(value)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (OverflowError, OSError, RuntimeError):  # in a year that no calendar has
        raise ValueError("not a time") from None
    raise ValueError("a time without a zone")


def _is_plain(response: Response) -> bool:
    """Whether nothing in a response of JSON can be harmful: one look at its bytes costs less than one at each text."""
    body = response.body.decode("latin-1")
    headers = " ".join((*response.headers, *response.headers.values()))
    return is_plain(body) and "\\" not in body and is_plain(headers)  # JSON escapes other characters with a backslash


def _harmless(value: Any) -> Any:
    made = harmless_values(value)
    if made is not value:
        _restore(made, value)
    return made


def _restore(made: Any, value: Any) -> None:
    """Puts the texts back that are compared as they are: `made` is `value` in harmless form."""
    if isinstance(value, list):
        for ours, theirs in zip(made, value, strict=True):
            _restore(ours, theirs)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in _TEXTS_AS_THEY_ARE:
                made[name] = _encodable(item)
            elif name in made:
                _restore(made[name], item)


def _encodable(value: Any) -> Any:
    """`value`, but a text with lone surrogates is made harmless: no file could hold it."""
    if isinstance(value, str):
        return harmless(value) if _SURROGATES.search(value) else value
    if isinstance(value, dict):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return value
