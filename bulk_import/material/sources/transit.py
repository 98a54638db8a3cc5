"""`transit:MOUNT/KEY?version=N`: an RSA or ECC key of a Transit engine, sealed there under KMS's wrapping key.

The plaintext never leaves the server. KMS's wrapping key is imported into Transit as a public key, the key is exported
under it, and the wrapping key is removed again. It is named by its content, and the journal names it before it is
made: the next run removes what a killed run left.
https://developer.hashicorp.com/vault/api-docs/secret/transit#secure-export-key

What comes out is exactly RSA_AES_KEY_WRAP_SHA_256 (or _SHA_1) over PKCS#8. For AES and HMAC keys it is the same
hybrid form, which KMS does not accept for them: they cannot go this way.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bulk_import.errors import MaterialError
from bulk_import.material.evidence import Evidence
from bulk_import.material.sources import uri
from bulk_import.material.sources.base import Kind, Offer, Opened, Opening
from bulk_import.material.sources.vault_settings import SETTINGS, settings_problems
from bulk_import.model import KeySpec, Target, WrappingAlgorithm, WrappingKeySpec
from bulk_import.ports import Sink
from bulk_import.settings import Settings

if TYPE_CHECKING:
    import hvac

    from bulk_import.material.sources.vault_server import VaultServer

log = structlog.get_logger()

_TYPES: Final = {
    "rsa-2048": KeySpec.RSA_2048,
    "rsa-3072": KeySpec.RSA_3072,
    "rsa-4096": KeySpec.RSA_4096,
    "ecdsa-p256": KeySpec.ECC_NIST_P256,
    "ecdsa-p384": KeySpec.ECC_NIST_P384,
    "ecdsa-p521": KeySpec.ECC_NIST_P521,
    "ed25519": KeySpec.ECC_NIST_EDWARDS25519,
}
_HASHES: Final = {
    WrappingAlgorithm.RSA_AES_KEY_WRAP_SHA_256: "SHA256",
    WrappingAlgorithm.RSA_AES_KEY_WRAP_SHA_1: "SHA1",
}


class Place(NamedTuple):
    mount: str
    key: str
    version: int


def parse(rest: str) -> Place:
    """Raises ValueError. The key is the last part of the path."""
    path, query = uri.parse(rest, ("version",))
    *mount, key = uri.vault_path(path)
    version = uri.number(query, "version")
    if version is None:
        raise ValueError("say which version of the key, like transit:transit/payments?version=3")
    return Place("/".join(mount), key, version)


class TransitSealer:
    """Seals in the server."""

    def __init__(self, server: VaultServer, sink: Sink | None, leftovers: tuple[Mapping[str, str], ...]) -> None:
        self._server = server
        self._sink = sink
        self._leftovers = leftovers

    async def begin(self) -> None:
        """Logs in, and removes the wrapping keys that an earlier run recorded and did not remove."""
        await self._server.begin()
        here = (self._server.address, self._server.namespace or "")
        for left in self._leftovers:
            if (left["address"], left["namespace"]) == here:
                await self._remove(left["mount"], left["name"])

    async def offer(self, rest: str, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> Offer:
        del key_arn  # its keys have no material_check
        place = parse(rest)
        found = await self._server(lambda client: _read(client, place.mount, place.key))
        if found is None:
            raise MaterialError(
                f"there is no key {place.key} in the Transit engine {place.mount}", code="MaterialNotFound"
            )
        public_key = _public_key(place, found, key_spec)
        algorithm = target.wrapping_algorithm or WrappingAlgorithm.RSA_AES_KEY_WRAP_SHA_256
        if algorithm not in _HASHES:
            raise MaterialError(
                f"Transit cannot wrap with {algorithm}; it can with {', '.join(_HASHES)}", code="WrappingNotAllowed"
            )
        return Offer(Evidence(key_spec, public_key=public_key), algorithm)

    async def seal(
        self, rest: str, key_spec: KeySpec, *, public_key: bytes, algorithm: WrappingAlgorithm,
        wrapping_key_spec: WrappingKeySpec,
    ) -> bytes:  # fmt: skip
        del key_spec  # Transit knows its key's type
        place = parse(rest)
        name = f"kms-{hashlib.sha256(public_key).hexdigest()[:24]}"
        await self._note(place.mount, name, "made")
        try:
            exported = await self._server(
                lambda client: _export(
                    client, place, name, public_key=public_key, algorithm=algorithm, wrapping_key_spec=wrapping_key_spec
                )
            )
        finally:
            await self._remove(place.mount, name)
        return _sealed(place, exported)

    async def _remove(self, mount: str, name: str) -> None:
        """A wrapping key that stays is a nuisance, not a danger: it holds a public key only."""
        try:
            await self._server(lambda client: _delete(client, mount, name))
        except MaterialError as error:
            log.warning("a wrapping key stays in Transit", mount=mount, key=name, why=error.message)
        else:
            await self._note(mount, name, "removed")

    async def _note(self, mount: str, name: str, action: str) -> None:
        if self._sink is not None:
            self._sink.write(
                "wrapping_key", mount=mount, name=name, action=action, address=self._server.address,
                namespace=self._server.namespace or "",
            )  # fmt: skip
            if action == "made":
                await self._sink.sync()


def _public_key(place: Place, found: Mapping[str, Any], key_spec: KeySpec) -> bytes:
    """DER SubjectPublicKeyInfo of the version. Raises MaterialError if the key cannot be sealed for KMS."""
    kind = str(found.get("type"))
    if _TYPES.get(kind) is not key_spec:
        kinds = [name for name, spec in _TYPES.items() if spec is key_spec]
        wanted = (
            f"{key_spec} takes a key of type {kinds[0]}" if kinds else f"no Transit key can become {key_spec} this way"
        )
        raise MaterialError(f"the Transit key {place.key} has type {kind}; {wanted}", code="MaterialInvalid")
    if found.get("derived"):
        raise MaterialError(
            f"the Transit key {place.key} is derived: there is no one key to export", code="MaterialNotExportable",
            advice="Use a key that was created with derived=false.",
        )  # fmt: skip
    if not found.get("exportable"):
        raise MaterialError(
            f"the Transit key {place.key} is not exportable", code="MaterialNotExportable",
            advice="Its owner must allow it, which cannot be undone: vault write "
            f"{place.mount}/keys/{place.key}/config exportable=true.",
        )  # fmt: skip
    versions = _versions(found)
    version = versions.get(str(place.version))
    if not isinstance(version, dict):
        there = ", ".join(sorted(versions, key=lambda text: (len(text), text)))
        raise MaterialError(
            f"the Transit key {place.key} has no version {place.version}; it has {there or 'none'}",
            code="MaterialNotFound", advice="Correct version= in the manifest; an archived version cannot be exported.",
        )  # fmt: skip
    return _spki(str(version.get("public_key", "")), key_spec)


def _versions(found: Mapping[str, Any]) -> dict[str, Any]:
    """By their numbers, what the server says about the versions of a key."""
    versions = found.get("keys")
    return versions if isinstance(versions, dict) else {}


def _spki(text: str, key_spec: KeySpec) -> bytes:
    try:
        if key_spec is KeySpec.ECC_NIST_EDWARDS25519:
            key: Any = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
        else:
            key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise MaterialError("Transit's response has no public key", code="SourceFailed") from None
    der: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def _path(mount: str, *names: object) -> str:
    """hvac takes this path as it is: without this, `#` would end it, and `%2E%2E` would leave the mount."""
    return "/".join(quote(part, safe="") for part in (*mount.split("/"), *map(str, names)))


def _read(client: hvac.Client, mount: str, name: str) -> dict[str, Any] | None:
    from bulk_import.material.sources.vault_answers import data_of, named  # noqa: PLC0415 - needs the extra

    answer = client.read(_path(mount, "keys", name))
    return None if answer is None else named(data_of(answer), name)


def _export(
    client: hvac.Client,
    place: Place,
    name: str,
    *,
    public_key: bytes,
    algorithm: WrappingAlgorithm,
    wrapping_key_spec: WrappingKeySpec,
) -> dict[str, Any]:
    """Runs in a thread: import of the wrapping key, then the export under it."""
    from hvac import exceptions  # noqa: PLC0415 - an extra

    from bulk_import.material.sources.vault_answers import data_of, named  # noqa: PLC0415 - needs the extra

    key = serialization.load_der_public_key(public_key)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    kind = wrapping_key_spec.value.lower().replace("_", "-")
    try:
        client.write_data(_path(place.mount, "keys", name, "import"), data={"public_key": pem, "type": kind})
    except (exceptions.InternalServerError, exceptions.InvalidRequest):
        # Most likely it is there already: another target's, or left by a run that was killed. Is it the same key?
        there = _read(client, place.mount, name)
        versions = list(_versions(there or {}).values())
        if len(versions) != 1 or not isinstance(versions[0], dict):
            raise
        if _spki(str(versions[0].get("public_key", "")), KeySpec.RSA_4096) != public_key:
            raise
    answer = client.adapter.get(
        f"/v1/{_path(place.mount, 'byok-export', name, place.key, place.version)}", params={"hash": _HASHES[algorithm]}
    )
    return named(data_of(answer), place.key)


def _delete(client: hvac.Client, mount: str, name: str) -> None:
    from hvac import exceptions  # noqa: PLC0415 - an extra

    try:
        client.write_data(_path(mount, "keys", name, "config"), data={"deletion_allowed": True})
        client.delete(_path(mount, "keys", name))
    except (exceptions.InvalidPath, exceptions.InvalidRequest):
        if client.read(_path(mount, "keys", name)) is not None:
            raise


def _sealed(place: Place, exported: Mapping[str, Any]) -> bytes:
    found = _versions(exported).get(str(place.version))
    try:
        sealed = base64.b64decode(found, validate=True) if isinstance(found, str) else b""
    except ValueError:  # binascii's is one
        sealed = b""
    if not sealed:
        raise MaterialError("Transit's response has no wrapped key", code="SourceFailed")
    return sealed


def check(target: Target, _settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What a manifest may not ask of Transit."""
    spec, algorithm = target.key_spec, target.wrapping_algorithm
    if spec is not None and spec not in _TYPES.values():
        advice = "Use vault: for AES and HMAC keys; KMS accepts plain OAEP only for them."
        yield "material", f"Transit cannot seal a key of spec {spec}; it can {', '.join(_TYPES.values())}", advice
    if algorithm is not None and algorithm not in _HASHES:
        advice = f"Use {' or '.join(_HASHES)}, or leave it out."
        yield "wrapping_algorithm", f"Transit cannot wrap with {algorithm}", advice
    if target.encoding is not None:
        yield "encoding", "has no effect: the material never leaves Transit in the clear", "Leave it out."
    if target.expect is not None and target.expect.kcv is not None:
        yield "expect", "expect.kcv is for AES keys, which Transit cannot seal for KMS", "Use expect.spki_sha256."


def _open(opening: Opening) -> Opened:
    from bulk_import.material.sources.vault_server import VaultServer  # noqa: PLC0415 - needs the extra

    server = opening.one(VaultServer)
    sealer = TransitSealer(server, opening.sink, tuple(opening.leftovers))
    return Opened(sealer=sealer, begin=lambda _: sealer.begin(), close=server.close)


KIND = Kind(
    scheme="transit",
    form="transit:MOUNT/KEY?version=N",
    summary="an exportable RSA or ECC key of a Transit engine of Vault or OpenBao, sealed there by byok-export",
    parse=parse,
    open=_open,
    seals=True,
    network=True,
    extra="vault",
    module="hvac",
    settings=SETTINGS,
    settings_problems=settings_problems,
    check=check,
)
