"""The complete path of the secret: memory, swap, files that others may read, and child processes."""

from __future__ import annotations

import base64
import ctypes
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.e2e import materials
from tests.e2e.support import Result, Workplace, quick
from tests.sandbox_client import Sandbox
from tests.sources.bao import Bao
from tests.sources.process_memory import found, needs_root
from tests.sources.support import add

SPECS = ("SYMMETRIC_DEFAULT", "HMAC_224", "HMAC_512")


# --- memory -----------------------------------------------------------------------------------------------------------


def pieces(name: str, secret: bytes) -> dict[str, bytes]:
    """Both ends of a secret: a part of it is a leak, too."""
    return {f"{name}, its beginning": secret[:16], f"{name}, its end": secret[-16:]}


def after_the_last_import(work: Workplace, process: subprocess.Popen[bytes], sandbox: Sandbox, count: int) -> None:
    """Every target is imported and read once; the next reads are minutes away."""
    journal = work.folder / "report.journal.jsonl"
    while not (journal.exists() and journal.read_bytes().count(b'"outcome":"ok"') == count):
        assert process.poll() is None, work.finish(process).stderr
        time.sleep(0.05)
    while len(sandbox.calls(operation="DescribeKey")) < 2 * count:
        time.sleep(0.05)


def test_nothing_of_a_file_stays_in_memory(sandbox: Sandbox, work: Workplace) -> None:
    needs_root()
    needles: dict[str, bytes] = {}
    for spec in SPECS:
        material = materials.make(spec)
        key = sandbox.key(key_spec=spec, key_usage=materials.usage(spec))
        work.key(key["key_id"], material, name=spec)
        needles |= pieces(spec, material)
    for encoding, encode in (("hex", bytes.hex), ("base64", lambda key: base64.b64encode(key).decode())):
        material = materials.make("HMAC_384")
        text = encode(material)
        key = sandbox.key(key_spec="HMAC_384")
        work.key(key["key_id"], text.encode(), name=encoding, encoding=encoding)
        needles |= pieces(encoding, material) | pieces(f"{encoding} text", text.encode())
    planted = "a-copy-that-stays-" + os.urandom(8).hex()
    process = work.start("--read-interval", "290s", PLANTED=planted)
    after_the_last_import(work, process, sandbox, len(work.keys))
    there = found(process.pid, needles | {"planted": planted.encode()})
    work.finish(process, signal.SIGKILL)
    assert there == {"planted"}  # the search finds what is there, and nothing of the material is


def test_nothing_of_transit_is_ever_in_memory(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    needs_root()
    needles: dict[str, bytes] = {}
    kinds = {"ecdsa-p256": ("ECC_NIST_P256", "signing-key"), "rsa-2048": ("RSA_2048", "encryption-key")}
    for kind, (spec, export) in kinds.items():
        name = f"memory-{kind}"
        bao.transit_key(name, kind)
        answer: Any = bao.client.read(f"transit/export/{export}/{name}/1")
        pem = answer["data"]["keys"]["1"].encode()
        key: Any = serialization.load_pem_private_key(pem, None)
        numbers = key.private_numbers()
        secret = numbers.private_value if spec.startswith("ECC") else numbers.p
        needles |= pieces(kind, secret.to_bytes((secret.bit_length() + 7) // 8, "big"))
        # The second line of an ECC key, and the end of an RSA key, hold nothing that its public key holds too.
        needles |= {f"{kind}, as PEM": pem.splitlines()[1][12:44] if spec.startswith("ECC") else pem.splitlines()[-3]}
        add(work, f"transit:transit/{name}?version=1",
            sandbox.key(key_spec=spec, key_usage="SIGN_VERIFY")["key_id"], name=name)  # fmt: skip
    environment = bao.environment(PLANTED="a-copy-that-stays")
    process = work.start("--read-interval", "290s", "--allow-source", "transit:", **environment)
    after_the_last_import(work, process, sandbox, len(kinds))
    there = found(process.pid, needles | {"planted": b"a-copy-that-stays"})
    work.finish(process, signal.SIGKILL)
    assert there == {"planted"}


# --- swap -------------------------------------------------------------------------------------------------------------

PR_CAPBSET_DROP, CAP_IPC_LOCK = 24, 14  # prctl(2), capabilities(7)
NOT_LOCKED = "cannot be locked in memory"


def allow_no_locked_memory() -> None:
    """In the child: also root obeys the limit then."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_message_says_where_memory_cannot_be_locked(sandbox: Sandbox, work: Workplace, allowed: bool) -> None:
    for number in range(3):
        key = sandbox.key(key_spec="HMAC_256")
        work.key(key["key_id"], materials.make("HMAC_256"), name=f"k{number}")
    work.write()
    done = subprocess.run(
        work.command("run", "manifest.json", *quick(())), cwd=work.folder, env=work.environment(),
        capture_output=True, text=True, check=False, preexec_fn=None if allowed else allow_no_locked_memory,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(NOT_LOCKED) == (0 if allowed else 1)


# --- files that others may read ---------------------------------------------------------------------------------------


def with_modes(sandbox: Sandbox, work: Workplace, *modes: int) -> None:
    for number, mode in enumerate(modes):
        work.key(sandbox.key(key_spec="HMAC_256")["key_id"], materials.make("HMAC_256"), name=f"k{number}")
        (work.folder / f"k{number}.key").chmod(mode)


def warnings(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if "other users of this machine" in line]


@pytest.mark.parametrize("command", [("run",), ("plan",), ("validate", "--material")])
def test_files_that_others_may_read_are_reported_once(
    sandbox: Sandbox, work: Workplace, command: tuple[str, ...]
) -> None:
    with_modes(sandbox, work, 0o600, 0o640, 0o604, 0o400)
    if command == ("run",):
        result = work.run()
    else:
        work.write()
        result = work.call(command[0], "manifest.json", *command[1:])
    assert result.code == 0, result.stderr
    [line] = warnings(result)
    assert "files=2" in line
    assert "k1.key" in line
    assert "chmod" in line


def test_private_files_are_not_reported(sandbox: Sandbox, work: Workplace) -> None:
    with_modes(sandbox, work, 0o600, 0o400)
    result = work.run()
    assert result.code == 0, result.stderr
    assert warnings(result) == []


# --- child processes --------------------------------------------------------------------------------------------------


def dumps_its_environment(path: Path, output: Path, answer: str) -> Path:
    path.write_text(
        textwrap.dedent(f"""\
        #!{sys.executable}
        import os, sys
        open({str(output)!r}, "wb").write(b"\\n".join(b"=".join(pair) for pair in os.environb.items()))
        sys.stdout.write({answer!r})
        """)
    )
    path.chmod(0o700)
    return path


def test_no_child_process_gets_a_secret(sandbox: Sandbox, work: Workplace) -> None:
    """A command of the settings file, and a credential process of the AWS configuration."""
    material, other = materials.make("HMAC_256"), materials.make("HMAC_256")
    add(work, "exec:export", sandbox.key(key_spec="HMAC_256")["key_id"], name="exec")
    add(work, "env:CANARY", sandbox.key(key_spec="HMAC_256")["key_id"], name="env")
    add(work, "env:NOT_SELECTED", sandbox.key(key_spec="HMAC_256")["key_id"], name="other")
    command = dumps_its_environment(work.folder / "export", work.folder / "of-command", material.hex())
    credentials = '{"Version": 1, "AccessKeyId": "AKIAPIPELINE00000000", "SecretAccessKey": "pipeline"}'
    helper = dumps_its_environment(work.folder / "helper", work.folder / "of-helper", credentials)
    (work.folder / "aws").write_text(f"[profile p]\ncredential_process = {helper}\n")
    (work.folder / "settings.toml").write_text(f'[exec.export]\nargv = ["{command}"]\nencoding = "hex"\n')
    secrets = {
        "CANARY": base64.b64encode(other).decode(),
        "NOT_SELECTED": "bm90LXNlbGVjdGVk",
        "AWS_ACCESS_KEY_ID": "AKIAOTHER00000000000",
        "AWS_SECRET_ACCESS_KEY": "other-secret",
    }
    result = work.run(
        "--config", "settings.toml", "--allow-source", "exec:", "--allow-source", "env:", "--profile", "p",
        "--only-id", "exec", "--only-id", "env", **secrets, AWS_CONFIG_FILE=str(work.folder / "aws"),
    )  # fmt: skip
    assert result.code == 0, result.stderr
    for output in ("of-command", "of-helper"):
        environment = (work.folder / output).read_bytes()
        assert b"PATH=" in environment
        assert [name for name, value in secrets.items() if f"{name}={value}".encode() in environment] == [], output
