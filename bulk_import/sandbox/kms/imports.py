"""The import operations: parameters, import, deletion.

https://docs.aws.amazon.com/kms/latest/APIReference/API_GetParametersForImport.html
https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.clock import Clock
from bulk_import.sandbox.kms import states
from bulk_import.sandbox.kms.import_rules import (
    EXISTING,
    NEW,
    allowed,
    importable,
    parameters_agree,
    symmetric_only,
    wrong_origin,
)
from bulk_import.sandbox.kms.keys import (
    CURRENT,
    EXPIRES,
    NEVER_EXPIRES,
    PENDING,
    PENDING_EVERYWHERE,
    Material,
    SandboxKey,
    Snapshot,
)
from bulk_import.sandbox.kms.rotation import settle_pending
from bulk_import.sandbox.kms.specs import material_fits
from bulk_import.sandbox.kms.unwrap import Unopenable, unwrap
from bulk_import.sandbox.kms.wrapping_keys import WrappingKey, WrappingKeys

TOKEN_LIFE = 24 * 3600


@dataclass(frozen=True, slots=True)
class Ticket:
    """What an import token stands for."""

    key_arn: str
    wrapping_key: WrappingKey
    algorithm: str
    expires: float


class Imports:
    """GetParametersForImport and its tokens, ImportKeyMaterial, and what follows them."""

    def __init__(self, clock: Clock, wrapping_keys: WrappingKeys) -> None:
        self.clock = clock
        self.wrapping_keys = wrapping_keys
        self.tickets: dict[bytes, Ticket] = {}  # SHA-256 of the token →

    def get_parameters(self, key: SandboxKey, params: dict[str, Any]) -> dict[str, Any]:
        importable(key, "GetParametersForImport")
        algorithm, wrapping_spec = params["WrappingAlgorithm"], params["WrappingKeySpec"]
        allowed(key, algorithm, wrapping_spec)
        wrapping_key = self.wrapping_keys.take(wrapping_spec)
        token = secrets.token_bytes(1536)
        expires = float(int(self.clock.now()) + TOKEN_LIFE)
        self.tickets[hashlib.sha256(token).digest()] = Ticket(key.arn, wrapping_key, algorithm, expires)
        return {
            "KeyId": key.arn,
            "ImportToken": b64encode(token).decode(),
            "PublicKey": b64encode(wrapping_key.public_der()).decode(),
            "ParametersValidTo": expires,
        }

    def open(self, key: SandboxKey, params: dict[str, Any]) -> bytes:
        """The key material of an ImportKeyMaterial, unwrapped and of the key's form. Changes nothing."""
        importable(key, "ImportKeyMaterial")
        parameters_agree(key, params, self.clock.now())
        ticket = self.tickets.get(hashlib.sha256(params["ImportToken"]).digest())
        if ticket is None or ticket.key_arn != key.arn:
            raise AwsError("InvalidImportTokenException")
        if ticket.expires <= self.clock.now():
            raise AwsError("ExpiredImportTokenException")
        try:
            material = unwrap(ticket.wrapping_key.private_key(), ticket.algorithm, params["EncryptedKeyMaterial"])
        except Unopenable:
            raise AwsError("InvalidCiphertextException") from None
        if not material_fits(key.spec, material):
            raise AwsError("IncorrectKeyMaterialException")
        return material

    def put(self, key: SandboxKey, material: bytes, params: dict[str, Any]) -> dict[str, Any]:
        """Imports opened material: all rules that depend on what the key holds."""
        importable(key, "ImportKeyMaterial")
        seen = key.now()
        material_id = key.material_id(material)
        kind = params.get("ImportType") or (EXISTING if _ever(key, seen) else NEW)
        known = next((m for m in seen.materials if m.id == material_id), None)
        if params.get("KeyMaterialId", material_id) != material_id:
            raise AwsError("IncorrectKeyMaterialException")
        if kind == NEW:
            state = _state_of_new(key, seen, material_id, known)
        else:
            known = known or _from_family(key, material_id)
            if known is None:
                raise AwsError("IncorrectKeyMaterialException")
            state = known.state
        never = params.get("ExpirationModel") == NEVER_EXPIRES
        description = params.get("KeyMaterialDescription", known.description if known else None)
        entry = Material(
            material_id,
            state,
            material,
            NEVER_EXPIRES if never else EXPIRES,
            None if never else float(int(params["ValidTo"])),
            description,
            known.rotated_at if known else None,
        )
        _store(key, seen, entry)
        settle_pending(key)
        answer = {"KeyId": key.arn}
        return answer | ({"KeyMaterialId": material_id} if key.spec.symmetric else {})

    def delete(self, key: SandboxKey, params: dict[str, Any]) -> dict[str, Any]:
        if not key.external:
            raise wrong_origin(key)
        wanted = params.get("KeyMaterialId")
        if wanted and not key.spec.symmetric:
            raise symmetric_only(key, "KeyMaterialId")
        seen = key.now()
        states.check("DeleteImportedKeyMaterial", key.arn, seen.state)
        found = next((m for m in seen.materials if m.id == wanted), None) if wanted else seen.current
        if wanted and not found:
            raise AwsError("NotFoundException", f"Key material '{wanted}' does not exist")
        answer = {"KeyId": key.arn}
        if not found:
            return answer
        if found.pending and key.primary is key:
            for replica in key.replicas:
                _drop_pending(replica, found.id)
        if found.pending:
            _drop_pending(key, found.id)
            settle_pending(key)
        else:  # it stays known by its ID, and in its place
            materials = tuple(replace(m, secret=None) if m is found else m for m in seen.materials)
            after = replace(seen, materials=materials)
            key.change(replace(after, state=after.state_for_materials()))
        return answer | ({"KeyMaterialId": found.id} if key.spec.symmetric else {})


def _drop_pending(key: SandboxKey, material_id: str) -> None:
    """Pending material was never in use: it goes for good."""
    seen = key.now()
    kept = tuple(m for m in seen.materials if not (m.pending and m.id == material_id))
    if len(kept) < len(seen.materials):
        key.change(replace(seen, materials=kept))


def _ever(key: SandboxKey, seen: Snapshot) -> bool:
    """Whether material was ever imported; a replica's is its primary's, so it takes existing material only."""
    return bool(seen.materials) or key.primary is not key


def _state_of_new(key: SandboxKey, seen: Snapshot, material_id: str, known: Material | None) -> str:
    if known or key.primary is not key:
        raise AwsError("IncorrectKeyMaterialException")
    if seen.pending:
        raise AwsError(
            "KMSInvalidStateException",
            f"New key material (id: {material_id}) cannot be imported into KMS key {key.arn}, "
            f"because another key material (id: {seen.pending.id}) is pending rotation.",
        )
    if not seen.materials:
        return CURRENT
    return PENDING_EVERYWHERE if key.replicas else PENDING


def _from_family(key: SandboxKey, material_id: str) -> Material | None:
    """For a replica: the primary's material of that ID."""
    if key.primary is key:
        return None
    return next((m for m in key.primary.now().materials if m.id == material_id), None)


def _store(key: SandboxKey, seen: Snapshot, entry: Material) -> None:
    """Puts `entry` in its place; a key all of whose materials are back leaves PendingImport."""
    key.filled = True
    others = [m for m in seen.materials if m.id != entry.id]
    at = next((n for n, m in enumerate(seen.materials) if m.id == entry.id), len(others))
    after = replace(seen, materials=(*others[:at], entry, *others[at:]))
    state = "Enabled" if after.state == "PendingImport" else after.state
    key.change(replace(after, state=replace(after, state=state).state_for_materials()))
