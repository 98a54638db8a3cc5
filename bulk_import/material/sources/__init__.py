"""Where key material comes from: one source a URI scheme."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bulk_import.errors import MaterialError
from bulk_import.material.encoding import check_unambiguous, decode
from bulk_import.material.secret import Secret
from bulk_import.material.sources.base import Source
from bulk_import.material.sources.env import EnvSource
from bulk_import.material.sources.file import FileSource
from bulk_import.model import Encoding, KeySpec

# The registry. A new source is a file beside these and a row here.
SOURCES: Final[dict[str, Source]] = {
    "file": FileSource(),
    "env": EnvSource(),
}


def refusal(uri: str) -> str | None:
    """Why `uri` can name no source, without touching any; None where it can.

    The URI is not quoted: it may be key material that somebody pasted in the wrong place.
    """
    scheme, colon, rest = uri.partition(":")
    source = SOURCES.get(scheme)
    if not colon or source is None:
        return "material must be the URI of a source: " + ", ".join(f"{known}:…" for known in SOURCES)
    return source.refusal(rest)


async def load(uri: str, *, root: Path | None, encoding: Encoding | None, key_spec: KeySpec | None) -> Secret:
    """The key material that `uri` names, decoded; the caller wipes it.

    `root`: the folder that relative paths start from and that every file must lie in. `encoding` None: as the
    source says by itself (file: raw, or pem where it begins `-----BEGIN`; env: base64). `key_spec` None: not known.
    Raises MaterialError: MaterialNotFound, MaterialUnreadable, MaterialOutsideRoot, MaterialWrongLength (an empty or
    huge file), AmbiguousEncoding, MaterialInvalid.
    """
    if reason := refusal(uri):
        raise MaterialError(reason, code="MaterialNotFound")
    scheme, _, rest = uri.partition(":")
    source = SOURCES[scheme]
    data = await source.read(rest, root)
    material: bytearray | None = None
    try:
        taken = encoding or source.default_encoding(data)
        if encoding is None and taken is Encoding.RAW:
            check_unambiguous(data)
        material = decode(data, taken, key_spec)
        return Secret(material)
    finally:
        if material is not data:
            data[:] = bytes(len(data))
