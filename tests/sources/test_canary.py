"""Key material of every source appears nowhere: in no file of the run, no output, and no environment of a child.

One run per source has a target for each way that it can end. The sources' own files are the only ones left out.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e import materials
from tests.e2e.support import Result, Workplace
from tests.e2e.test_canary import forms, search
from tests.sandbox_client import Sandbox
from tests.sources import components
from tests.sources.bao import ROOT_TOKEN, Bao
from tests.sources.keepers import KEEPERS, Keeper
from tests.sources.support import add
from tests.sources.tokens import PIN, SoftHsm

DEBUG = ("--log-level", "debug")
RENDERINGS = [text for form in ("html", "junit", "csv", "markdown") for text in ("--render", f"{form}=report.{form}")]
LOGINS = [ROOT_TOKEN.encode(), PIN.encode()]  # of Vault and of the token: they are as secret


def needles(*secrets: bytes | str) -> list[bytes]:
    """Each secret, and each text that a source may hold it as, in every form that it could show in."""
    held = [secret.encode() if isinstance(secret, str) else secret for secret in secrets]
    texts = [text for secret in held for text in (secret.hex().encode(), base64.b64encode(secret))]
    urls = [base64.urlsafe_b64encode(secret)[:24] for secret in held]
    return sorted({form for secret in (*held, *texts) for form in forms(secret)} | set(urls))


def pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(kind, form, serialization.NoEncryption()).decode()


def broken_pem(secrets: list[bytes]) -> str:
    """A private key with one damaged line. What its first line begins with, all keys have."""
    key = ec.generate_private_key(ec.SECP256R1())
    first, line, *rest = pem_of(key).splitlines()
    secrets += [key.private_numbers().private_value.to_bytes(32, "big"), rest[0][:24].encode()]
    return "\n".join([first, line, rest[0][:-5] + "!", *rest[1:]])


# What befalls a target: its key spec, its encoding in the manifest, and the error's code (None: it is imported).
FATES: dict[str, tuple[str, str | None, str | None]] = {
    "good": ("HMAC_256", "hex", None),
    "base64": ("SYMMETRIC_DEFAULT", "base64", None),
    "again": ("HMAC_256", "hex", None),
    "unproved": ("HMAC_256", "hex", "MalformedAnswer"),
    "shape": ("ECC_NIST_P256", "hex", "MaterialInvalid"),
    "pem": ("ECC_NIST_P256", "pem", "MaterialInvalid"),
    "encoding": ("HMAC_256", "hex", "MaterialInvalid"),
    "ambiguous": ("HMAC_256", None, "AmbiguousEncoding"),
    "length": ("HMAC_256", "hex", "MaterialWrongLength"),
    "expected": ("SYMMETRIC_DEFAULT", "hex", "CheckValueMismatch"),
    "denied": ("HMAC_256", "hex", "AccessDeniedException"),
    "refused": ("HMAC_256", "hex", "InvalidCiphertextException"),
    "field": ("HMAC_256", "hex", "MaterialNotFound"),
    "json": ("HMAC_256", "hex", "MaterialInvalid"),
    "exits": ("HMAC_256", "hex", "SourceFailed"),
}
ONLY = {"field": ("secretsmanager", "vault"), "json": ("secretsmanager",), "exits": ("exec",)}


def put(keeper: Keeper, fate: str, secrets: list[bytes]) -> str:
    """Stores the material of a fate. Returns its URI, and adds the material to `secrets`."""
    if fate == "pem":
        return keeper.put(fate, broken_pem(secrets))
    material = os.urandom({"length": 31, "shape": 138}.get(fate, 32))
    secrets.append(material)
    text = base64.b64encode(material).decode() if fate == "base64" else material.hex()
    text = text + "zz" if fate == "encoding" else text
    if fate == "field" and type(keeper).__name__ == "SecretsManager":
        return keeper.put(fate, json.dumps({"other": text})) + "?field=key"
    return keeper.put(fate, text) + ("?field=key" if fate == "json" else "")


def fill(sandbox: Sandbox, work: Workplace, keeper: Keeper, source: str) -> list[bytes]:
    """A manifest with every fate that the source knows, and the faults for it. Returns the secrets."""
    secrets: list[bytes] = []
    for fate, (spec, encoding, _) in FATES.items():
        if source not in ONLY.get(fate, (source,)):
            continue
        key = sandbox.key(key_spec=spec, key_usage=materials.usage(spec))["key_id"]
        fields: dict[str, Any] = {"encoding": encoding} if encoding else {}
        fields |= {"expect": {"kcv": "000000"}} if fate == "expected" else {}
        add(work, put(keeper, fate, secrets), key, name=fate, **fields)
        if fate == "denied":
            sandbox.fault("deny", operation="GetParametersForImport", key=key)
        elif fate == "refused":
            sandbox.fault("error", operation="ImportKeyMaterial", key=key, code="InvalidCiphertextException")
        elif fate == "again":  # KMS fails after the material was read, sealed and sent
            sandbox.fault("act_then_http500", operation="ImportKeyMaterial", key=key)
        elif fate == "unproved":
            sandbox.fault("malformed", operation="GenerateMac", key=key, times=None)
    return secrets


def keeper_of(source: str, work: Workplace, outside: Path, request: pytest.FixtureRequest) -> Keeper:
    kind = KEEPERS[source]
    return kind(work, outside, request.getfixturevalue(kind.server))


def found(work: Workplace, result: Result, secrets: list[bytes], own_files: set[str]) -> list[str]:
    return search(work.folder, result, [*needles(*secrets), *LOGINS], leave_out=own_files)


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outside")


@pytest.mark.parametrize("source", KEEPERS)
def test_however_a_target_ends(
    sandbox: Sandbox, work: Workplace, outside: Path, request: pytest.FixtureRequest, source: str
) -> None:
    keeper = keeper_of(source, work, outside, request)
    secrets = fill(sandbox, work, keeper, source)
    work.write()
    for command in (("plan", "manifest.json"), ("validate", "manifest.json", "--material")):
        asked = work.call(*command, *keeper.options, *DEBUG, "--log-format", "json", **keeper.environment)
        assert found(work, asked, secrets, keeper.own_files) == []
    result = work.run(*keeper.options, *DEBUG, *RENDERINGS, "--retry-timeout", "3", **keeper.environment)
    codes = {name: (entry["error"] or {}).get("code") for name, entry in result.entries.items()}
    assert codes == {fate: FATES[fate][2] for fate in codes}
    assert found(work, result, secrets, keeper.own_files) == []
    if source == "exec":
        assert len(list(work.folder.glob("environment-of-*"))) == len(work.keys)
    # The search finds the sources themselves, and a copy in each place.
    assert (found(work, result, secrets, set()) != []) is (source == "file")
    quoted = replace(result, stderr=f"{result.stderr}: {secrets[0].hex()}")
    assert "stderr" in found(work, quoted, secrets, keeper.own_files)


# --- keys that never leave their server or token ----------------------------------------------------------------------


def transit_keys(sandbox: Sandbox, work: Workplace, bao: Bao) -> list[bytes]:
    """One key that goes and some that do not. Returns what the server says of them in the clear."""
    secrets = []
    for fate, spec in {"good": "ECC_NIST_P256", "refused": "ECC_NIST_P256", "shape": "RSA_2048"}.items():
        bao.transit_key(f"canary-{fate}", "ecdsa-p256")
        answer: Any = bao.client.read(f"transit/export/signing-key/canary-{fate}/1")
        key: Any = serialization.load_pem_private_key(answer["data"]["keys"]["1"].encode(), None)
        secrets.append(key.private_numbers().private_value.to_bytes(32, "big"))
        there = sandbox.key(key_spec=spec, key_usage="SIGN_VERIFY")["key_id"]
        add(work, f"transit:transit/canary-{fate}?version=1", there, name=fate)
        if fate == "refused":
            sandbox.fault("error", operation="ImportKeyMaterial", key=there, code="InvalidCiphertextException")
    return secrets


def token_keys(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm, prefix: str = "canaries") -> list[bytes]:
    """The same, in the token."""
    secrets = []
    for fate, spec in {"good": "HMAC_256", "refused": "HMAC_256", "length": "HMAC_512"}.items():
        secrets.append(os.urandom(32))
        softhsm.mac(f"{prefix}-{fate}", CKA_VALUE=secrets[-1].hex())
        there = sandbox.key(key_spec=spec)["key_id"]
        add(work, f"pkcs11:token=byok;object={prefix}-{fate}", there, name=fate)
        if fate == "refused":
            sandbox.fault("error", operation="ImportKeyMaterial", key=there, code="InvalidCiphertextException")
    return secrets


@pytest.mark.parametrize("source", ["transit", "pkcs11"])
def test_keys_that_stay_inside(sandbox: Sandbox, work: Workplace, request: pytest.FixtureRequest, source: str) -> None:
    server = request.getfixturevalue("bao" if source == "transit" else "softhsm")
    secrets = (transit_keys if source == "transit" else token_keys)(sandbox, work, server)
    work.write()
    options = ("--allow-source", f"{source}:", *DEBUG)
    for command in (("plan", "manifest.json"), ("validate", "manifest.json", "--material")):
        asked = work.call(*command, *options, "--log-format", "json", **server.environment())
        assert found(work, asked, secrets, set()) == []
    result = work.run(*options, *RENDERINGS, **server.environment())
    statuses = {name: entry["status"] for name, entry in result.entries.items()}
    assert statuses.pop("good") == "imported", result.stderr
    assert set(statuses.values()) == {"failed"}
    assert found(work, result, secrets, set()) == []


# --- killed while material is on its way to KMS -----------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for child in children for each in (child, *descendants(child))]


GROUPS = {"files and AWS": ("file", "env", "exec", "secretsmanager", "ssm", "s3"), "Vault": ("vault",), "token": ()}


@pytest.mark.parametrize("group", GROUPS)
def test_killed_in_the_middle(
    sandbox: Sandbox, work: Workplace, outside: Path, request: pytest.FixtureRequest, group: str
) -> None:
    """Every target waits for the answer of its import. Neither its children nor its files hold material."""
    secrets: list[bytes] = []
    options: list[str] = []
    environment: dict[str, str] = {}
    own_files: set[str] = set()
    for source in GROUPS[group]:
        keeper = keeper_of(source, work, outside, request)
        secrets.append(os.urandom(32))
        uri = keeper.put(f"killed_{source}", secrets[-1].hex())
        add(work, uri, sandbox.key(key_spec="HMAC_256")["key_id"], name=source, encoding="hex")
        options += keeper.options
        environment |= keeper.environment
        own_files |= keeper.own_files
    if group == "token":
        components.need("/proc/PID/mem")
        softhsm: SoftHsm = request.getfixturevalue("softhsm")
        secrets += token_keys(sandbox, work, softhsm, "killed")[:1]
        del work.keys[1:]
        options += ["--allow-source", "pkcs11:"]
        environment |= softhsm.environment()
    sandbox.fault("hang", operation="ImportKeyMaterial", times=None)
    process = work.start(*options, *DEBUG, **environment)
    while sandbox.faults()[-1]["fired"] < len(work.keys):
        assert process.poll() is None, work.finish(process).stderr
        time.sleep(0.02)
    below = descendants(process.pid)
    given = b"".join(Path(f"/proc/{child}/{what}").read_bytes() for child in below for what in ("environ", "cmdline"))
    result = work.finish(process, signal.SIGKILL)
    assert (len(below) > 0, b"PATH=" in given) == ((True, True) if group == "token" else (False, False))
    assert [secret for secret in (*needles(*secrets), *LOGINS) if secret in given] == []
    assert result.code == -signal.SIGKILL
    assert (work.folder / "report.journal.jsonl").stat().st_size > 0
    assert found(work, result, secrets, own_files) == []


@pytest.mark.parametrize("offset", range(3))
def test_the_search_finds_every_form(tmp_path: Path, offset: int) -> None:
    """As it is, in hex, and in base64 at each alignment: of the material, and of the text that a source holds."""
    secret = os.urandom(32)
    for held in (secret, secret.hex().encode(), base64.b64encode(secret)):
        inside = b"x" * offset + held + b"yy"
        for copy in (inside, inside.hex().encode(), inside.hex().upper().encode(), base64.b64encode(inside)):
            (tmp_path / "copy").write_bytes(b"before " + copy + b" after")
            assert search(tmp_path, Result(0, b"", "", tmp_path), needles(secret), leave_out=set()), (held, copy)
            (tmp_path / "copy").unlink()
            assert search(tmp_path, Result(0, copy, "", tmp_path), needles(secret), leave_out=set())
    assert search(tmp_path, Result(0, os.urandom(4096), "", tmp_path), needles(secret), leave_out=set()) == []
