"""One account's KMS in one Region: its keys and aliases. moto makes and empties its instances as its own backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import moto.kms.urls
from moto.kms.models import KmsBackend, kms_backends
from moto.kms.utils import RESERVED_ALIASES
from moto.utilities.utils import get_partition

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.clock import Clock
from bulk_import.sandbox.kms.keys import CURRENT, Material, SandboxKey, Snapshot
from bulk_import.sandbox.kms.specs import SPECS, Spec, new_material
from bulk_import.sandbox.kms.timeline import Timeline


class SandboxKmsBackend(KmsBackend):
    """The store of an account and Region. The sandbox answers all of KMS itself; of moto's backend it is the place."""

    clock = Clock()  # replaced by install(): moto calls the constructor

    def __init__(self, region_name: str, account_id: str | None = None) -> None:
        super().__init__(region_name, account_id)
        self.keys: dict[str, SandboxKey] = {}  # type: ignore[assignment]  # moto's type names its own Key
        self.alias_index: dict[str, Timeline[str | None]] = {}  # name → key ID, None once deleted
        self.names: dict[str, dict[str, None]] = {}  # key ID → every alias that ever named it

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
        return SandboxKey(
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

    def live(self) -> list[SandboxKey]:
        """All keys, without those whose waiting period of deletion is over: they go here."""
        now = self.clock.now()
        for key in list(self.keys.values()):
            date = key.now().deletion_date
            if date is not None and date <= now:
                self._remove(key, date)
        return list(self.keys.values())

    def _remove(self, key: SandboxKey, moment: float) -> None:
        del self.keys[key.id]
        for name in self.aliases_of(key):
            self.alias_index[name].set(None, moment)
        primary = key.primary
        if primary is key:
            return
        primary.replicas.remove(key)
        seen = primary.now()
        if seen.state == "PendingReplicaDeletion" and not primary.replicas:
            date = moment + (seen.deletion_days or 30) * 86400
            primary.change(replace(seen, state="PendingDeletion", deletion_date=date, deletion_days=None))

    def find(self, key_id: str) -> SandboxKey | None:
        """By key ID, key ARN, alias name or alias ARN of this account and Region."""
        name = key_id.rsplit(":", 1)[-1] if key_id.startswith("arn:") else key_id
        if name.startswith("alias/"):
            name = self.alias_target(name) or ""
        key = self.keys.get(name.removeprefix("key/"))
        if key is not None and key.now().deletion_date is not None:
            self.live()
            return self.keys.get(key.id)
        return key

    def key_arn(self, key_id: str) -> str:
        return f"{self._prefix}:key/{key_id}"

    @property
    def _prefix(self) -> str:
        return f"arn:{get_partition(self.region_name)}:kms:{self.region_name}:{self.account_id}"

    # --- aliases
    def set_alias(self, name: str, key_id: str | None) -> None:
        now = self.clock.now()
        if name not in self.alias_index:
            self.alias_index[name] = Timeline(None, float("-inf"))
        if self.alias_index[name].now is None and key_id is not None:
            self.alias_index[name] = Timeline(None, float("-inf"))  # a deleted alias that comes back is a new one
        self.alias_index[name].set(key_id, now)
        if key_id is not None:
            self.names.setdefault(key_id, {})[name] = None

    def plant_alias(self, name: str, key_id: str) -> None:
        """An alias that was always there."""
        self.alias_index[name] = Timeline(key_id, self.clock.now())
        self.names.setdefault(key_id, {})[name] = None

    def alias_target(self, name: str, at: float | None = None) -> str | None:
        """The ID of the key that an alias names (`at` a moment); an alias of AWS makes its key when first named."""
        if name not in self.alias_index and name in RESERVED_ALIASES:
            self._aws_managed(name)
        timeline = self.alias_index.get(name)
        return timeline.at(at) if timeline else None

    def aliases_of(self, key: SandboxKey, at: float | None = None) -> list[str]:
        return sorted(name for name in self.names.get(key.id, ()) if self.alias_index[name].at(at) == key.id)

    def alias_arn(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    def _aws_managed(self, alias: str) -> None:
        spec = SPECS["SYMMETRIC_DEFAULT"]
        key = self.new_key(spec, "ENCRYPT_DECRYPT", "AWS_KMS")
        key.key_manager = "AWS"
        self.add(key, born(key, new_material(spec)))
        self.plant_alias(alias, key.id)


def born(key: SandboxKey, material: bytes | None) -> Snapshot:
    """A new key's first snapshot: Enabled with material, else PendingImport."""
    if material is None:
        return Snapshot(0.0, "PendingImport")
    return Snapshot(0.0, "Enabled", (Material(key.material_id(material), CURRENT, material),))


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
