"""moto's KMS backend with the sandbox's keys in it: what this package overrides of moto, in one place."""

from __future__ import annotations

from typing import Any

import moto.kms.urls
from moto.kms.exceptions import AccessDeniedException
from moto.kms.models import Alias, KmsBackend, kms_backends
from moto.kms.utils import RESERVED_ALIASES, decrypt, encrypt

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.clock import Clock
from bulk_import.sandbox.kms.keys import CURRENT, Material, SandboxKey, Snapshot
from bulk_import.sandbox.kms.specs import SPECS, Spec, new_material


class MaterialView:
    """What moto's encrypt and decrypt want of a key."""

    def __init__(self, key_material: bytes) -> None:
        self.key_material = key_material


class SandboxKmsBackend(KmsBackend):
    """One account's KMS in one Region. moto makes its instances, as if it were its own class."""

    clock = Clock()  # replaced by install(): moto calls the constructor

    def __init__(self, region_name: str, account_id: str | None = None) -> None:
        super().__init__(region_name, account_id)
        self.keys: dict[str, SandboxKey] = {}  # type: ignore[assignment]  # moto's type names its own Key
        self.alias_index: dict[str, str] = {}  # moto searches all keys for an alias

    @property
    def _url_module(self) -> Any:
        return moto.kms.urls

    # --- keys
    def new_key(
        self,
        spec: Spec,
        usage: str,
        origin: str,
        *,
        description: str = "",
        policy: str | None = None,
        multi_region: bool = False,
        key_id: str | None = None,
    ) -> SandboxKey:
        """A key of this account and Region, not in it yet: see add()."""
        return SandboxKey(  # type: ignore[abstract]  # moto leaves CloudFormation's methods open in its own Key too
            clock=self.clock,
            account=self.account_id,
            region=self.region_name,
            spec=spec,
            usage=usage,
            origin=origin,
            description=description,
            policy=policy,
            multi_region=multi_region,
            key_id=key_id,
        )

    def add(self, key: SandboxKey, snapshot: Snapshot) -> SandboxKey:
        key.change(snapshot)
        self.keys[key.id] = key
        return key

    def find(self, key_id: str) -> SandboxKey | None:
        """By key ID, key ARN, alias name or alias ARN of this account and Region."""
        name = key_id.rsplit(":", 1)[-1] if key_id.startswith("arn:") else key_id
        if name.startswith("alias/"):
            name = self.get_key_id_from_alias(name) or ""
        return self.keys.get(name.removeprefix("key/"))

    def aws_managed(self, alias: str) -> SandboxKey:
        spec = SPECS["SYMMETRIC_DEFAULT"]
        key = self.new_key(spec, "ENCRYPT_DECRYPT", "AWS_KMS")
        key.key_manager = "AWS"
        self.add(key, born(key, new_material(spec)))
        self.create_alias(key.id, alias)
        return key

    # --- aliases, by an index
    def create_alias(self, target_key_id: str, alias_name: str) -> Alias:
        alias: Alias = super().create_alias(target_key_id, alias_name)
        self.alias_index[alias_name] = self.get_key_id(target_key_id)
        return alias

    def update_alias(self, target_key_id: str, alias_name: str) -> Alias:
        alias: Alias = super().update_alias(target_key_id, alias_name)
        self.alias_index[alias_name] = self.get_key_id(target_key_id)
        return alias

    def delete_alias(self, alias_name: str) -> None:
        super().delete_alias(alias_name)
        self.alias_index.pop(alias_name, None)

    def alias_exists(self, alias_name: str) -> bool:
        return alias_name in self.alias_index

    def get_key_id_from_alias(self, alias_name: str) -> str | None:
        if alias_name not in self.alias_index and alias_name in RESERVED_ALIASES:
            self.aws_managed(alias_name)
        return self.alias_index.get(alias_name)

    # --- use of symmetric keys; also what moto's GenerateDataKey and ReEncrypt call
    def encrypt(self, key_id: str, plaintext: bytes, encryption_context: dict[str, str]) -> tuple[bytes, str]:
        key = self._found(key_id)
        material = ready(key, key.now())
        views = {key.id: MaterialView(material.secret or b"")}
        return encrypt(views, key.id, plaintext, encryption_context), key.arn

    def decrypt(
        self, ciphertext_blob: bytes, encryption_context: dict[str, str], key_id: str | None = None
    ) -> tuple[bytes, str]:
        """With every material that the key has: KMS decrypts with non-current ones too."""
        key = self.keys.get(ciphertext_blob[:36].decode("latin-1"))
        if key is None:
            raise AwsError("InvalidCiphertextException")
        if key_id is not None and self._found(key_id) is not key:
            raise AwsError(
                "IncorrectKeyException",
                "The key ID in the request does not identify a CMK that can perform this operation.",
            )
        seen = key.now()
        ready(key, seen)
        for material in seen.usable:
            try:
                views = {key.id: MaterialView(material.secret or b"")}
                return decrypt(views, ciphertext_blob, encryption_context)[0], key.arn
            except Exception as error:  # noqa: BLE001 - moto raises one of its own for a wrong key; the next may fit
                del error
        raise AwsError("InvalidCiphertextException")

    def _found(self, key_id: str) -> SandboxKey:
        key = self.find(key_id)
        if key is None:
            raise AccessDeniedException("")
        return key


def born(key: SandboxKey, material: bytes | None) -> Snapshot:
    """A new key's first snapshot: Enabled with material, else PendingImport."""
    if material is None:
        return Snapshot(0.0, "PendingImport")
    return Snapshot(0.0, "Enabled", (Material(key.material_id(material), CURRENT, material),))


def ready(key: SandboxKey, seen: Snapshot | None) -> Material:
    """The current material of a key that may be used now. Raises AwsError by its state."""
    if seen is None:
        raise missing(key.arn)
    if seen.state == "Disabled":
        raise AwsError("DisabledException", f"{key.arn} is disabled.")
    if seen.state != "Enabled":
        raise invalid_state(key.arn, seen.state)
    material = seen.current
    if material is None or material.secret is None:
        raise invalid_state(key.arn, "PendingImport")
    return material


def missing(arn: str) -> AwsError:
    return AwsError("NotFoundException", f"Key '{arn}' does not exist")


def invalid_state(arn: str, state: str) -> AwsError:
    words = {"PendingImport": "pending import", "PendingDeletion": "pending deletion"}.get(state, state.lower())
    return AwsError("KMSInvalidStateException", f"{arn} is {words}.")


def install(clock: Clock) -> None:
    """Makes moto build its KMS backends from SandboxKmsBackend, in this process."""
    SandboxKmsBackend.clock = clock
    kms_backends.backend = SandboxKmsBackend


def backend(account: str, region: str) -> SandboxKmsBackend:
    """The KMS of `account` in `region`. Raises AwsError for a Region that does not exist."""
    try:
        found = kms_backends[account][region]
    except KeyError:
        raise AwsError("UnrecognizedClientException", f"No such Region: {region}") from None
    assert isinstance(found, SandboxKmsBackend)  # noqa: S101 - install() came first
    return found
