"""--allow-source: which URIs a manifest may name. A manifest is input, often from a pull request.

A prefix matches on the boundaries of a URI only: `vault:byok` allows `vault:byok/a`, and not `vault:byok-2/a`. `file:`
paths are compared in their normal form, so that `file:keys/../other.key` is outside `file:keys/`; in other sources
`.` and `..` are not allowed at all.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection

from bulk_import.material.sources import KINDS

BOUNDARIES = "/:?;"


def allowed(uri: str, prefixes: Collection[str]) -> bool:
    """Whether one of the prefixes matches `uri`, whose placeholders are replaced."""
    if f"{uri.partition(':')[0]}:" in prefixes:
        return True  # the complete scheme: by far the most usual
    uri = _normal(uri)
    return any(_matches(uri, _normal(prefix)) for prefix in prefixes)


def wrong(prefix: str) -> str | None:
    """Why `prefix` can match nothing; None if it can."""
    scheme, colon, _ = prefix.partition(":")
    if scheme in KINDS and colon:
        return None
    return f"{prefix!r} is not the beginning of a source's URI. Begin with one of: " + " ".join(f"{s}:" for s in KINDS)


def _matches(uri: str, prefix: str) -> bool:
    if not uri.startswith(prefix):
        return False
    return prefix[-1] in BOUNDARIES or len(uri) == len(prefix) or uri[len(prefix)] in BOUNDARIES


def _normal(uri: str) -> str:
    scheme, _, path = uri.partition(":")
    if scheme != "file" or not path:
        return uri
    return f"file:{posixpath.normpath(path)}{'/' if path.endswith('/') else ''}"
