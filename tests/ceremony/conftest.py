"""A ceremony as its people have it: three folders, one file that goes from each to the next."""

from __future__ import annotations

import hmac
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.conftest import ministack
from tests.e2e.support import Result, Workplace
from tests.faults.forks import Forks, Kill
from tests.sandbox_client import Sandbox
from tests.sources.conftest import nss, softhsm

__all__ = ["ministack", "nss", "softhsm"]

SPECS = ("SYMMETRIC_DEFAULT", "HMAC_224", "HMAC_512", "ECC_NIST_P521", "ECC_NIST_EDWARDS25519", "RSA_4096")
QUICK = ("--quota", "GetParametersForImport=50", "--retry-timeout", "20", "--consistency-timeout", "0")


@dataclass
class Ceremony:
    """`online`: the folder with the network; `vault`: the one with the material. Steps return what they left."""

    online: Workplace
    vault: Workplace
    forks: Forks
    sandbox: Sandbox

    def keys(self, *specs: str, **fields: Any) -> list[dict[str, str]]:
        """One key per spec, empty in KMS; its material is in the vault, and both have the same manifest."""
        made = []
        for spec in specs:
            key = self.sandbox.key(key_spec=spec)
            name = f"k{len(self.vault.keys)}"
            self.vault.key(key["key_id"], materials.make(spec), name=name, key_spec=spec, **fields)
            made.append(key)
        self.online.keys = self.vault.keys
        self.online.write()
        self.vault.write()
        return made

    def call(self, work: Workplace, *arguments: str, kill: Kill | None = None, **environment: str) -> Result:
        return self.forks.run(work.folder, work.environment(**environment), arguments, kill=kill)

    def prepare(self, *options: str, kill: Kill | None = None, **environment: str) -> Result:
        command = ("prepare", "manifest.json", "bundle.jsonl", *QUICK, *options)
        result = self.call(self.online, *command, kill=kill, **environment)
        if (self.online.folder / "bundle.jsonl").exists():
            shutil.copy(self.online.folder / "bundle.jsonl", self.vault.folder)
        return result

    def seal(self, *options: str, sealed: str = "sealed.jsonl", kill: Kill | None = None) -> Result:
        result = self.call(self.vault, "seal", "bundle.jsonl", "manifest.json", sealed, *options, kill=kill)
        if (self.vault.folder / sealed).exists():
            shutil.copy(self.vault.folder / sealed, self.online.folder)
        return result

    def submit(self, *options: str, sealed: Sequence[str] = ("sealed.jsonl",), kill: Kill | None = None) -> Result:
        quick = ("--read-interval", "20ms", "--retry-timeout", "20", "--consistency-timeout", "0")
        return self.call(self.online, "submit", "bundle.jsonl", *sealed, *quick, *options, kill=kill)

    def vouched(self, *results: Result) -> list[str]:
        return [text for result in results for text in ("--fingerprint", spoken(result))]

    def states(self) -> set[str]:
        """What KMS itself says of the keys."""
        keys = self.sandbox.keys()
        return {key["state"] for key in keys}

    def held(self, keys: list[dict[str, str]]) -> bool:
        """Whether KMS shows every key with its material, by a client of its own: an HMAC key proves its bytes."""
        kms = self.sandbox.client()
        for key, fields in zip(keys, self.vault.keys, strict=True):
            found = kms.describe_key(KeyId=key["key_id"])["KeyMetadata"]
            if found["KeyState"] != "Enabled":
                return False
            if found["KeySpec"].startswith("HMAC"):
                material = (self.vault.folder / f"{fields['id']}.key").read_bytes()
                [algorithm] = found["MacAlgorithms"]
                mac = kms.generate_mac(KeyId=key["key_id"], MacAlgorithm=algorithm, Message=b"who is there")["Mac"]
                if mac != hmac.digest(material, b"who is there", algorithm.removeprefix("HMAC_").replace("_", "")):
                    return False
        return True

    def imports(self) -> int:
        return len(self.sandbox.calls(operation="ImportKeyMaterial"))


def spoken(result: Result) -> str:
    """The fingerprint that a step read aloud."""
    found = re.search(r"aloud: ([0-9a-f ]{79})", result.stderr)
    assert found, result.stderr
    return found[1]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def ceremony(sandbox: Sandbox, tmp_path: Path, forks: Forks) -> Ceremony:
    for name in ("online", "vault"):
        (tmp_path / name).mkdir()
    # The vault's machine knows no endpoint: nothing there may ask for one.
    vault = Workplace(tmp_path / "vault", "https://kms.invalid")
    return Ceremony(Workplace(tmp_path / "online", sandbox.url), vault, forks, sandbox)
