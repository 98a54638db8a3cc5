"""SoftHSM 2, a real PKCS#11 token in software (Debian: softhsm2), with keys that are generated inside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1234-canary"
LEFT_OUT = "SoftHSM 2 is not installed, so pkcs11: was left out: apt-get install softhsm2"
MAKE = """
import sys, json, PyKCS11 as P
module, pin, label, name, kind, length, more = sys.argv[1:]
library = P.PyKCS11Lib(); library.load(module)
[slot] = [s for s in library.getSlotList(tokenPresent=True) if library.getTokenInfo(s).label.strip() == label]
session = library.openSession(slot, P.CKF_SERIAL_SESSION | P.CKF_RW_SESSION); session.login(pin)
template = {P.CKA_CLASS: P.CKO_SECRET_KEY, P.CKA_VALUE_LEN: int(length), P.CKA_TOKEN: True, P.CKA_LABEL: name,
            P.CKA_SENSITIVE: True, P.CKA_EXTRACTABLE: True, P.CKA_SIGN: True, P.CKA_ENCRYPT: True,
            P.CKA_KEY_TYPE: P.CKK_AES if kind == "aes" else P.CKK_GENERIC_SECRET, P.CKA_ID: tuple(name.encode())}
template |= {getattr(P, k): v for k, v in json.loads(more).items()}
mechanism = P.MechanismAESGENERATEKEY if kind == "aes" else P.Mechanism(P.CKM_GENERIC_SECRET_KEY_GEN, None)
key = session.generateKey(list(template.items()), mecha=mechanism)
message = P.Mechanism(P.CKM_AES_ECB, None) if kind == "aes" else P.Mechanism(P.CKM_SHA256_HMAC, None)
if kind == "aes":
    print(bytes(session.encrypt(key, bytes(16), message)).hex())
else:
    by_length = {28: P.CKM_SHA224_HMAC, 32: P.CKM_SHA256_HMAC, 48: P.CKM_SHA384_HMAC, 64: P.CKM_SHA512_HMAC}
    print(bytes(session.sign(key, b"message", P.Mechanism(by_length[int(length)], None))).hex())
"""


class SoftHsm:
    """One token named `byok` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        if not MODULE.exists() or shutil.which("softhsm2-util") is None:
            if os.environ.get("TESTS_NEED_SOURCES"):
                raise RuntimeError(LEFT_OUT)
            pytest.skip(LEFT_OUT)
        (folder / "tokens").mkdir()
        self._config = folder / "softhsm2.conf"
        self._config.write_text(
            f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self._pin = folder / "pin"
        self._pin.write_text(PIN + "\n")
        self._pin.chmod(0o600)
        command = ["softhsm2-util", "--init-token", "--free", "--label", "byok", "--pin", PIN, "--so-pin", "5678"]
        subprocess.run(command, env=self._environment, check=True, capture_output=True)

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"SOFTHSM2_CONF": str(self._config)}

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "SOFTHSM2_CONF": str(self._config),
            "BULK_IMPORT_PKCS11_MODULE": str(MODULE),
            "BULK_IMPORT_PKCS11_PIN_FILE": str(self._pin),
        } | more

    def make(self, name: str, kind: str, length: int, more: str = "{}") -> str:
        """Generates a key. Returns, in hex, AES-ECB of a zero block, or the HMAC of `message`, made by the token."""
        command = [sys.executable, "-c", MAKE, str(MODULE), PIN, "byok", name, kind, str(length), more]
        done = subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()
