"""Key material appears nowhere but in KMS: everything that a run writes is searched for canaries."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace
from tests.sandbox_client import Sandbox


def forms(material: bytes) -> list[bytes]:
    """How the bytes could show: raw, hex, base64, Python's and JSON's escapes; in pieces too short to be chance."""
    pieces = [material, material[:16], material[-16:]]
    shown = []
    for piece in pieces:
        shown += [piece, piece.hex().encode(), piece.hex().upper().encode(), repr(piece)[2:-1].encode()]
    for offset in range(3):  # base64 of any piece, at each of three offsets
        shown.append(base64.b64encode(material[offset : offset + 12]))
    return shown


def search(folder: Path, result: Result, secrets: list[bytes], *, leave_out: set[str]) -> list[str]:
    places = {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in leave_out
    }
    places |= {"stdout": result.stdout, "stderr": result.stderr.encode()}
    return [place for place, content in places.items() for secret in secrets if secret in content]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_material_in_anything_written(sandbox: Sandbox, work: Workplace, log_format: str) -> None:
    """Through success, every refusal, a broken answer and an internal error's message."""
    canaries: dict[str, bytes] = {}
    for spec in ("SYMMETRIC_DEFAULT", "HMAC_256", "ECC_NIST_P256", "RSA_2048"):
        for fate in ("good", "refused", "other"):
            name = f"{spec}-{fate}"
            canaries[name] = materials.make(spec) if spec != "RSA_2048" or fate == "good" else os.urandom(1190)
            held = materials.make(spec) if fate == "other" and spec != "RSA_2048" else None
            key = sandbox.key(key_spec=spec, **({"material": {"hex": held.hex()}} if held else {}))
            expiry = {"valid_for": "90d"} if fate == "other" else {}
            work.key(key["key_id"], canaries[name], name=name, **expiry)
            if fate == "refused":
                sandbox.fault(
                    "error", operation="ImportKeyMaterial", key=key["key_id"], code="InvalidCiphertextException"
                )
    short = os.urandom(31)
    canaries["short"] = short
    work.key(sandbox.key()["key_id"], short, name="short")
    encoded = materials.make("HMAC_256")
    canaries["env"] = encoded
    key = sandbox.key(key_spec="HMAC_256")
    work.keys.append(
        {"id": "env", "account": ACCOUNT, "region": REGION, "key_id": key["key_id"], "material": "env:CANARY"}
    )
    sandbox.fault("malformed", operation="GenerateMac", times=2)
    temporary = work.folder / "tmp"
    temporary.mkdir()

    result = work.run(
        "--log-format", log_format, "--log-level", "debug", "--prove", "all", "--prove-use",
        CANARY=base64.b64encode(encoded).decode(), TMPDIR=str(temporary), PYTHONFAULTHANDLER="1",
    )  # fmt: skip

    statuses = {name: entry["status"] for name, entry in result.entries.items()}
    assert statuses["SYMMETRIC_DEFAULT-good"] == statuses["env"] == "imported", result.stderr
    assert statuses["HMAC_256-refused"] == statuses["HMAC_256-other"] == statuses["short"] == "failed"
    secrets = [form for material in canaries.values() for form in forms(material)]
    sources = {f"{name}.key" for name in canaries}
    assert search(work.folder, result, secrets, leave_out=sources) == []
    # The search itself must be able to find: it finds the sources.
    assert len(search(work.folder, result, secrets, leave_out=set())) >= len(sources) - 1


def test_no_material_in_the_process_list(sandbox: Sandbox, work: Workplace) -> None:
    """Nothing is handed to another program, and the arguments hold references only."""
    material = materials.make("HMAC_256")
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], material, name="mac")
    sandbox.hold("GenerateMac")  # the run does not end before it is looked at
    process = work.start("--read-timeout", "100s")
    while not sandbox.calls(operation="ImportKeyMaterial"):
        assert process.poll() is None, process.communicate()
    arguments = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, check=True).stdout
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    sandbox.release()
    result = work.finish(process)
    assert result.code == 0, result.stderr
    assert b"bulk_import" in arguments
    assert children == ""
    assert not [form for form in forms(material) if form in arguments]


def test_a_pasted_key_is_not_quoted_back(work: Workplace) -> None:
    """People paste keys into the wrong field."""
    pasted = os.urandom(32).hex()
    work.key("alias/any", b"x" * 32, name="one")
    work.keys[0]["material"] = pasted
    work.keys[0]["materiel"] = pasted
    work.write()
    result = work.call("validate", "manifest.json")
    assert result.code == 3
    assert pasted not in result.stderr
