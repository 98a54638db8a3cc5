"""Where key material comes from: one file per source, one registry by URI scheme."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bulk_import.errors import MaterialError
from bulk_import.material import der, memory
from bulk_import.material.ambiguity import check_material, check_source
from bulk_import.material.cause import kind_of_text
from bulk_import.material.encoding import decode
from bulk_import.material.secret import Secret
from bulk_import.material.sources import (
    env,
    exec,  # noqa: A004 - named as its scheme
    file,
    pkcs11,
    s3,
    secretsmanager,
    ssm,
    transit,
    vault,
)
from bulk_import.material.sources.base import Content, Kind
from bulk_import.model import Encoding, KeySpec

# The registry. A new source is a file next to these and a row here; help, schema and documentation follow.
KINDS: Final[dict[str, Kind]] = {
    kind.scheme: kind
    for kind in (
        file.KIND,
        env.KIND,
        exec.KIND,
        secretsmanager.KIND,
        ssm.KIND,
        s3.KIND,
        vault.KIND,
        transit.KIND,
        pkcs11.KIND,
    )
}


# AWS's stores; a scheme is the name of its service.
OF_AWS: Final = {"secretsmanager": secretsmanager.parse, "ssm": ssm.parse, "s3": s3.parse}


def refusal(uri: str) -> str | None:
    """Why `uri` cannot name a source; None if it can. Opens nothing.

    The URI is not quoted: it may be key material that somebody pasted in the wrong place.
    """
    scheme, colon, rest = uri.partition(":")
    kind = KINDS.get(scheme)
    if not colon or kind is None:
        return "material must be the URI of a source: " + ", ".join(kind.form for kind in KINDS.values())
    try:
        kind.parse(rest)
    except ValueError as error:
        return f"{scheme}: {error}"
    return None


def kind_of(uri: str) -> Kind:
    """The kind of a URI that `refusal` accepts."""
    return KINDS[uri.partition(":")[0]]


def stores(uris: Iterable[str]) -> list[tuple[str, str | None]]:
    """AWS services that hold material, each with a Region that it is asked in (None: the caller's)."""
    found: dict[tuple[str, str | None], None] = {}
    for scheme, _, rest in (uri.partition(":") for uri in uris):
        if scheme in OF_AWS:
            found[scheme, OF_AWS[scheme](rest).region] = None
    return list(found)


def decoded(content: Content, encoding: Encoding | None, key_spec: KeySpec | None) -> Secret:
    """The key material in `content`; the caller wipes it. What is left of `content` is wiped here.

    `encoding` None: as the source says by itself. `key_spec` None: not known.
    Raises MaterialError: AmbiguousEncoding, MaterialInvalid.
    """
    data = content.data
    material: bytearray | None = None
    secret: Secret | None = None
    try:
        taken = encoding or content.encoding
        if taken is None:
            raise MaterialError(
                f"no encoding is specified, and the source gives text{kind_of_text(data)}: it may be hex, base64 or "
                "the key itself",
                code="AmbiguousEncoding",
            )
        if encoding is None:
            check_source(data, taken)
        material = decode(data, taken, key_spec)
        if encoding is None and material is not data:  # raw bytes are what check_source has seen
            check_material(material, taken, key_spec)
        if key_spec is None or key_spec.asymmetric:
            der.to_version_1(material)
        secret = Secret(material)
        return secret
    finally:
        if secret is None or material is not data:
            memory.wipe(data)
        if secret is None and material is not None:
            memory.wipe(material)


def lines() -> list[str]:
    """One line per source, for descriptions."""
    return [f"{kind.form}: {kind.summary}." for kind in KINDS.values()]


def documentation() -> list[dict[str, str]]:
    """One row per source, for people: what it is and what it needs."""
    return [
        {
            "material": kind.form,
            "is": kind.summary,
            "extra": kind.extra or "",
            "network": "yes" if kind.network else "no",
            "validate --material": "reads it" if kind.checked_offline else "does not read it",
            "plaintext": "stays at the source" if kind.seals else "in this process, until it is sealed",
            "settings": ", ".join(kind.settings),
        }
        for kind in KINDS.values()
    ]
