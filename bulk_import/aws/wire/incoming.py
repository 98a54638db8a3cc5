"""Every response of AWS, where it enters the program: its text cannot act on a terminal, a log or a CI runner."""

from __future__ import annotations

from typing import Any

from bulk_import.text import harmless_values

# What is compared or parsed as it is: anyone who shows a part of it makes that harmless.
_AS_IT_IS = frozenset({"Policy", "Description", "Tags", "SecretString", "Parameter"})


def make_harmless(parsed: dict[str, Any] | None, **_: Any) -> None:
    """A handler of botocore's event `after-call`: changes the parsed response, error or not, in place."""
    if not isinstance(parsed, dict):
        return
    for name, value in parsed.items():
        if name not in _AS_IT_IS:
            parsed[name] = harmless_values(value)
