"""What a prefix of --allow-source covers, per kind of URI. Both sides come without the scheme and its colon.

Only what separates two names in URIs of that kind is a boundary: in `file:keys/a;b`, the `;` is part of a name.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable

Covers = Callable[[str, str], bool]


def exactly(prefix: str, rest: str) -> bool:
    """The URI is one name, such as a variable's."""
    return prefix in ("", rest)


def by_path(prefix: str, rest: str) -> bool:
    """The URI is a path, and may have a query. A prefix that goes into the query is the complete URI."""
    return _begins(prefix, rest, boundaries="" if "?" in prefix.rstrip("?") else "/?")


def by_path_or_arn(prefix: str, rest: str) -> bool:
    """The same, or the path is an ARN, whose parts are separated by colons."""
    if prefix.startswith("arn:") and "?" not in prefix:
        return _begins(prefix, rest, boundaries="/?:")
    return by_path(prefix, rest)


def by_file(prefix: str, rest: str) -> bool:
    """The URI is the path of a file, compared in its normal form: `keys/../other.key` is outside `keys/`."""
    return not prefix or _begins(_normal(prefix), _normal(rest), boundaries="/")


def _begins(prefix: str, rest: str, *, boundaries: str) -> bool:
    if not rest.startswith(prefix):
        return False
    return not prefix or len(rest) == len(prefix) or prefix[-1] in boundaries or rest[len(prefix)] in boundaries


def _normal(path: str) -> str:
    return f"{posixpath.normpath(path)}{'/' if path.endswith('/') else ''}" if path else path
