"""The URIs of `pkcs11:` sources: which token, and which object in it. RFC 7512, section 2.3."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from bulk_import.material.sources import uri

_TOKEN: Final = ("token", "manufacturer", "serial", "model", "slot-id")
_OBJECT: Final = ("object", "id", "type")
_TYPES: Final = ("secret-key", "private")
_FROM_SETTINGS: Final = ("pin-value", "pin-source", "module-path", "module-name")


class Place(NamedTuple):
    token: dict[str, str]
    attributes: dict[str, str]  # object, type, and id in hex


def parse(rest: str) -> Place:
    """Raises ValueError."""
    path, mark, query = rest.partition("?")
    for name in _FROM_SETTINGS:
        if name in query or name in path:
            raise ValueError(f"{name} cannot come from a manifest: use --pkcs11-module and --pkcs11-pin-file")
    if mark:
        raise ValueError("a pkcs11: URI has no query here")
    found = _attributes(path)
    if "object" not in found and "id" not in found:
        raise ValueError("say which key: object= or id=")
    if found.get("type", _TYPES[0]) not in _TYPES:
        raise ValueError(f"type= must be {' or '.join(_TYPES)}")
    token = {name: value for name, value in found.items() if name in _TOKEN}
    if not token:
        raise ValueError("say which token: token= or serial=")
    return Place(token, {name: found[name] for name in _OBJECT if name in found})


def _attributes(path: str) -> dict[str, str]:
    """Percent-decoded; `id` in hex. Raises ValueError."""
    found: dict[str, str] = {}
    for part in path.split(";"):
        name, equals, value = part.partition("=")
        if not equals or not value or name not in (*_TOKEN, *_OBJECT):
            raise ValueError(f"write name=value pairs joined by ;, with the names {', '.join((*_TOKEN, *_OBJECT))}")
        if name in found:
            raise ValueError(f"{name}= is there twice")
        found[name] = unquote_to_bytes(value).hex() if name == "id" else uri.decoded(value)
    return found


def covers(prefix: str, rest: str) -> bool:
    """Whether the URI has every attribute of the prefix. Their order has no meaning (RFC 7512, section 2.3)."""
    wanted = _attributes(prefix.removesuffix(";")) if prefix else {}
    return bool(rest) and wanted.items() <= _attributes(rest).items()
