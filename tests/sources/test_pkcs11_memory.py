"""`pkcs11:`: the plaintext is nowhere in our process, in no file that it writes, and in nothing that it says."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e.support import Workplace
from tests.e2e.test_canary import forms, search
from tests.sandbox_client import Sandbox
from tests.sources import components
from tests.sources.support import add
from tests.sources.test_pkcs11 import ALLOW
from tests.sources.tokens import Nss, SoftHsm


def memory_of(pid: int) -> Iterator[bytes]:
    """Everything that a stopped process holds in memory, region by region. Needs root."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\S+) \S+ \S+ \S+\s*(.*)", line)
            if found is None or found[4] in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            start, end = int(found[1], 16), int(found[2], 16)
            memory.seek(start)
            yield memory.read(end - start)


def held(work: Workplace, sandbox: Sandbox, needles: list[bytes], **environment: str) -> set[bytes]:
    """Which needles are in the memory of a run between its last import and its end. Checks all that it writes, too."""
    components.need("/proc/PID/mem")
    process = work.start(*ALLOW, "--read-interval", "3s", "--log-level", "debug", **environment)
    while len(sandbox.calls(operation="ImportKeyMaterial")) < len(work.keys):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        found = {needle for region in memory_of(process.pid) for needle in needles if needle in region}
    finally:
        os.kill(process.pid, signal.SIGCONT)
    result = work.finish(process)
    assert result.code == 0, result.stderr
    assert (
        search(work.folder, result, needles, leave_out={"manifest.json", "report.json", "report.journal.jsonl"}) == []
    )
    secrets = [needle for needle in needles if needle != CONTROL]
    assert search(work.folder, result, secrets, leave_out=set()) == []
    return found


CONTROL = b"pkcs11:token=byok;object=canary"  # the search must be able to find: this is in the manifest


def test_aes_and_hmac_keys(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    values = {"aes": os.urandom(32), "mac": os.urandom(32)}
    softhsm.aes("canary-aes", CKA_VALUE=values["aes"].hex())
    softhsm.mac("canary-mac", CKA_VALUE=values["mac"].hex())
    add(work, "pkcs11:token=byok;object=canary-aes", sandbox.key()["key_id"], name="aes")
    add(work, "pkcs11:token=byok;object=canary-mac", sandbox.key(key_spec="HMAC_256")["key_id"], name="mac")
    needles = [needle for value in values.values() for needle in forms(value)]
    assert held(work, sandbox, [*needles, CONTROL], **softhsm.environment()) == {CONTROL}


def test_a_private_key(sandbox: Sandbox, work: Workplace, nss: Nss) -> None:
    key = rsa.generate_private_key(65537, 2048)
    nss.rsa("canary-rsa", key)
    numbers = key.private_numbers()
    parts = [numbers.d.to_bytes(256, "big"), numbers.p.to_bytes(128, "big"), numbers.q.to_bytes(128, "big")]
    parts += [numbers.p.to_bytes(128, "little"), numbers.q.to_bytes(128, "little")]
    add(work, "pkcs11:token=byok;object=canary-rsa", sandbox.key(key_spec="RSA_2048")["key_id"], name="rsa")
    needles = [needle for part in parts for needle in forms(part)]
    assert held(work, sandbox, [*needles, CONTROL], **nss.environment()) == {CONTROL}
