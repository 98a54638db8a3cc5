"""--allow-source: which URIs a manifest may name. A manifest is input, often from a pull request.

A prefix matches on the boundaries of its scheme only (`Kind.covers`): `vault:byok` allows `vault:byok/a`, but neither
`vault:byok-2/a` nor `vault:byok:2/a`.
"""

from __future__ import annotations

from collections.abc import Collection

from bulk_import.material.sources import KINDS


def allowed(uri: str, prefixes: Collection[str]) -> bool:
    """Whether one of the prefixes matches `uri`, whose placeholders are replaced."""
    scheme, _, rest = uri.partition(":")
    if f"{scheme}:" in prefixes:
        return True  # the complete scheme: by far the most usual
    kind = KINDS.get(scheme)
    if kind is None:
        return False
    beginnings = (prefix.partition(":") for prefix in prefixes)
    return any(kind.covers(begins, rest) for of, _, begins in beginnings if of == scheme)


def wrong(prefix: str) -> str | None:
    """Why `prefix` can match nothing; None if it can."""
    scheme, colon, begins = prefix.partition(":")
    if not colon or scheme not in KINDS:
        known = " ".join(f"{name}:" for name in KINDS)
        return f"{prefix!r} is not the beginning of a source's URI. Begin with one of: {known}"
    try:
        KINDS[scheme].covers(begins, "")
    except ValueError as error:
        return f"{prefix!r} can match no URI: {error}"
    return None
