"""Real PKCS#11 tokens in software, each named `byok`, with keys that are generated inside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.sources import components

PIN = "1234-canary"
GENERATE = Path(__file__).with_name("generate.py")


def compiled(source: Path, library: Path, *options: str) -> Path:
    """A shared library in C."""
    components.need("a C compiler")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, *options, source], check=True)
    return library


class Hsm:
    """A token in a folder of its own."""

    name: str  # as a component
    module: Path | None
    init_args = ""
    inside: Sequence[str] = ()  # what every command that uses the token begins with

    def __init__(self, folder: Path, pin: str = PIN) -> None:
        components.need(self.name)
        self.folder = folder
        self.pin = pin
        self.pin_file = folder / "pin"
        self.pin_file.write_text(pin + "\n")
        self.pin_file.chmod(0o600)
        self.set_up()

    def set_up(self) -> None:
        raise NotImplementedError

    @property
    def variables(self) -> dict[str, str]:
        """What the library itself reads."""
        return {}

    def environment(self, **more: str) -> dict[str, str]:
        settings = {"BULK_IMPORT_PKCS11_MODULE": str(self.module), "BULK_IMPORT_PKCS11_PIN_FILE": str(self.pin_file)}
        if self.init_args:
            settings["BULK_IMPORT_PKCS11_INIT_ARGS"] = self.init_args
        return self.variables | settings | more

    def ask(self, what: str, name: str, *, label: str = "byok", **more: Any) -> dict[str, str]:
        request = json.dumps({"what": what, "name": name, **more})
        command = [
            *self.inside,
            sys.executable,
            str(GENERATE),
            str(self.module),
            self.init_args,
            self.pin,
            label,
            request,
        ]
        environment = os.environ | self.variables
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def aes(self, name: str, length: int = 32, **more: Any) -> str:
        """In hex, AES-ECB of a block of zeros, by the token."""
        return self.ask("secret", name, kind="aes", length=length, more=more)["zeros"]

    def mac(self, name: str, length: int = 32, **more: Any) -> str:
        """In hex, the HMAC of `message`, by the token."""
        return self.ask("secret", name, kind="mac", length=length, more=more)["mac"]

    def pair(self, name: str, spec: str, **more: Any) -> bytes:
        """The modulus of an RSA key, or the CKA_EC_POINT."""
        return bytes.fromhex(self.ask("pair", name, spec=spec, more=more)["public"])

    def rsa(self, name: str, key: RSAPrivateKey) -> None:
        """Takes a key whose value is known."""
        private = key.private_numbers()
        numbers = {
            "CKA_MODULUS": private.public_numbers.n, "CKA_PUBLIC_EXPONENT": private.public_numbers.e,
            "CKA_PRIVATE_EXPONENT": private.d, "CKA_PRIME_1": private.p, "CKA_PRIME_2": private.q,
            "CKA_EXPONENT_1": private.dmp1, "CKA_EXPONENT_2": private.dmq1, "CKA_COEFFICIENT": private.iqmp,
        }  # fmt: skip
        self.ask(
            "rsa", name, numbers={n: v.to_bytes((v.bit_length() + 7) // 8, "big").hex() for n, v in numbers.items()}
        )


class SoftHsm(Hsm):
    """SoftHSM 2. OAEP with SHA-1 only."""

    name = "SoftHSM 2"
    module = components.SOFTHSM

    def set_up(self) -> None:
        (self.folder / "tokens").mkdir()
        (self.folder / "softhsm2.conf").write_text(
            f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.token("byok", self.pin)

    def token(self, label: str, pin: str) -> None:
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "5678"]
        subprocess.run(command, env=os.environ | self.variables, check=True, capture_output=True)

    @property
    def variables(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}


class Nss(Hsm):
    """The softokn of NSS, the token of Firefox. OAEP with SHA-256, and RFC 5649."""

    name = "NSS softokn"
    module = components.NSS

    def set_up(self) -> None:
        self.init_args = (
            f"configdir='sql:{self.folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags='' "
            "dbTokenDescription='byok'"
        )
        command = ["certutil", "-N", "-d", f"sql:{self.folder}", "-f", str(self.pin_file)]
        subprocess.run(command, check=True, capture_output=True)


class OpenCryptoki(Hsm):
    """The soft token of openCryptoki, which counts wrong PINs and locks. OAEP with SHA-256; wraps no private keys.

    It needs a daemon and folders that exist once per machine, so it lives in namespaces of its own (needs root).
    `inside` begins every command that uses it.
    """

    name = "openCryptoki"
    module = components.OPENCRYPTOKI
    START = """
set -e
cd "$1"; mkdir var etc
cp -a /var/lib/opencryptoki/. var/
printf 'version opencryptoki-3.1\\nslot 0\\n{\\nstdll = libpkcs11_sw.so\\n}\\n' > etc/opencryptoki.conf
mount --bind var /var/lib/opencryptoki; mount --bind etc /etc/opencryptoki
mount -t tmpfs tmpfs /dev/shm; mount -t tmpfs tmpfs /run
mkdir -p /run/lock/opencryptoki/swtok; chgrp -R pkcs11 /run/lock/opencryptoki
pkcsslotd
printf '87654321\\nbyok\\n' | pkcsconf -I -c 0
printf '87654321\\n11112222\\n11112222\\n' | pkcsconf -P -c 0
printf "11112222\\n$2\\n$2\\n" | pkcsconf -u -c 0
touch ready; exec sleep infinity
"""

    def set_up(self) -> None:
        spaces = ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [*spaces, "bash", "-c", self.START, "bash", str(self.folder), self.pin]
        self._log = (self.folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + 30
        while not (self.folder / "ready").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"openCryptoki did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.05)
        process = self._process.pid
        [child] = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        self.inside = ["nsenter", "--target", child, "--mount", "--ipc", "--pid"]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(100)
        self._log.close()
