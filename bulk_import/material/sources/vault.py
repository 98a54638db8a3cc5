"""`vault:MOUNT/PATH?field=NAME`: one field of a secret in a KV v2 engine of Vault or OpenBao.

https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bulk_import.errors import MaterialError
from bulk_import.material.sources import uri
from bulk_import.material.sources.base import MAX_BYTES, Content, Kind, Opened, Opening, text
from bulk_import.material.sources.vault_settings import SETTINGS, settings_problems
from bulk_import.model import Target

if TYPE_CHECKING:
    import hvac

    from bulk_import.material.sources.vault_server import VaultServer

_NAMES: Final = ("field", "version")


class Place(NamedTuple):
    mount: str
    path: str
    field: str
    version: int | None


def parse(rest: str) -> Place:
    """Raises ValueError. The mount is the first part of the path."""
    path, query = uri.parse(rest, _NAMES)
    mount, *parts = uri.vault_path(path)
    if "field" not in query:
        raise ValueError("say which field of the secret, like vault:byok/payments?field=key")
    return Place(mount, "/".join(parts), query["field"], uri.number(query, "version"))


class VaultSource:
    """Reads a secret once per target."""

    def __init__(self, server: VaultServer) -> None:
        self._server = server

    async def read(self, rest: str, target: Target) -> Content:  # noqa: ARG002 - the URI says everything
        place = parse(rest)
        value = await self._server(lambda client: _value(client, place))
        data = bytearray(value, "utf-8")  # an answer with half of a character does not get this far
        if len(data) > MAX_BYTES:
            raise MaterialError(
                f"the field {place.field} holds more than {MAX_BYTES} bytes", code="MaterialWrongLength"
            )
        return text(data)


def _value(client: hvac.Client, place: Place) -> str:
    from hvac import exceptions  # noqa: PLC0415 - an extra

    from bulk_import.material.sources.vault_answers import data_of, mapping  # noqa: PLC0415 - needs the extra

    shown = f"{place.mount}/{place.path}"
    version = f"version {place.version}" if place.version else "the current version"
    try:
        answer: Any = client.secrets.kv.v2.read_secret_version(
            place.path, version=place.version, mount_point=place.mount, raise_on_deleted_version=True
        )
    except exceptions.InvalidPath as error:
        raise MaterialError(_missing(error, shown, version), code="MaterialNotFound", advice=_ADVICE) from None
    data = data_of(answer)
    given = mapping(data, "metadata").get("version")
    if place.version is not None and given != place.version:
        raise MaterialError(
            f"version {place.version} of {shown} was asked for, and the server's answer is not that version",
            code="SourceFailed",
            advice="Check that the engine is KV version 2, and what is between here and the server.",
        )
    fields = data.get("data")
    if not isinstance(fields, dict) or place.field not in fields:
        raise MaterialError(f"{version} of {shown} has no field {place.field}", code="MaterialNotFound")
    value = fields[place.field]
    if not isinstance(value, str) or not value:
        raise MaterialError(f"the field {place.field} of {shown} is not text, or is empty", code="MaterialInvalid")
    return value


_ADVICE: Final = (
    "Check mount, path and version, and that the engine is KV version 2. A deleted version can be undeleted, a "
    "destroyed one cannot."
)


def _missing(error: Any, shown: str, version: str) -> str:
    """A missing path, a missing version and a deleted one are all answered by 404; the answer's metadata differs."""
    from bulk_import.material.sources.vault_answers import mapping  # noqa: PLC0415 - needs the extra

    metadata = mapping(mapping(error.json or {}, "data"), "metadata")
    if metadata.get("destroyed"):
        return f"{version} of {shown} was destroyed"
    if metadata.get("deletion_time"):
        return f"{version} of {shown} was deleted at {metadata['deletion_time']}"
    return f"there is no {shown}, or {version} of it does not exist"


def _open(opening: Opening) -> Opened:
    from bulk_import.material.sources.vault_server import VaultServer  # noqa: PLC0415 - needs the extra

    server = opening.one(VaultServer)
    return Opened(source=VaultSource(server), begin=lambda _: server.begin(), close=server.close)


KIND = Kind(
    scheme="vault",
    form="vault:MOUNT/PATH?field=NAME",
    summary="a field of a secret in a KV v2 engine of HashiCorp Vault or OpenBao; also `version=`",
    parse=parse,
    open=_open,
    network=True,
    extra="vault",
    module="hvac",
    settings=SETTINGS,
    settings_problems=settings_problems,
)
