"""`make demo`: imports a key of every type into a local AWS, twice. First all are imported, then all are unchanged.

Everything is in .demo/, which is created again each time: material, the sandbox's seed, reports, the page.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".demo"
MANIFEST = ROOT / "manifests" / "demo.yaml"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIADEMO000000000000",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_REGION": "us-east-1",
}
CURVES = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1, "secp256k1": ec.SECP256K1}


def main() -> int:
    """Exit code 0 if both runs ended as a demo should."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    (FOLDER / "material").mkdir(parents=True)
    shutil.copy(MANIFEST, FOLDER / "demo.yaml")
    make_material(FOLDER / "material")
    manifest = yaml.safe_load(MANIFEST.read_text())
    (FOLDER / "seed.yaml").write_text(yaml.safe_dump(seed(manifest)))
    sandbox = subprocess.Popen(
        # With our end of its stdin, the sandbox ends, however this process ends.
        [sys.executable, "-m", "bulk_import.sandbox", "--seed", "seed.yaml", "--enforce-quotas", "--stop-with-stdin"],
        cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True,
    )  # fmt: skip
    try:
        url = sandbox.stdout.readline().strip() if sandbox.stdout else ""
        if not url.startswith("http://127.0.0.1:"):
            say("The sandbox did not start.")
            return 1
        say(f"A local AWS runs at {url}. It enforces KMS's quotas: one GetParametersForImport per second and lane.")
        first = run(url, "first", "The first run imports a key of every type, in 3 accounts and 2 Regions.")
        second = run(url, "second", "The second run finds every key as wanted and changes nothing.")
    finally:
        sandbox.terminate()
        sandbox.wait(20)
    total = first["total"]
    if (first["imported"], first["unproved"], second["unchanged"]) != (total, 0, total):
        say("This is not what the demo should show.")
        return 1
    say(f"\nFirst run: {total} keys imported, every one proved. Second run: {total} unchanged.")
    if second["unproved"]:
        compared = total - second["unproved"]
        say(f"The second run compared {compared} keys with their source again. KMS does not show which bytes a")
        say(
            f"symmetric key holds, and the manifest has no key_material_id for the {second['unproved']} symmetric ones."
        )
    shown = os.path.relpath(FOLDER)
    exports = " ".join(f"{name}={value}" for name, value in CREDENTIALS.items())
    say(
        f"""
Open the pages in a browser:
  {FOLDER}/first.html
  {FOLDER}/second.html

To try it yourself, start the sandbox again with the same keys (empty again), in this terminal:
  cd {shown} && . {os.path.relpath(sys.prefix, FOLDER)}/bin/activate
  bulk-import sandbox --seed seed.yaml --enforce-quotas --port 4566 &
  export {exports} AWS_ENDPOINT_URL=http://127.0.0.1:4566
  bulk-import run demo.yaml --render html=report.html"""
    )
    return 0


def run(url: str, name: str, title: str) -> dict[str, Any]:
    """One run of the real command line. Returns the report's summary."""
    arguments = ["run", "demo.yaml", "--endpoint-url", url, "--report", f"{name}.json", "--render", f"html={name}.html"]
    say(f"\n{title}\n$ bulk-import {' '.join(arguments)}")
    subprocess.run([sys.executable, "-m", "bulk_import", *arguments], cwd=FOLDER, env=environment(), check=False)
    summary: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_bytes())["summary"]
    return summary


def make_material(folder: Path) -> None:
    """New key material, in usual formats."""
    (folder / "aes.key").write_bytes(os.urandom(32))
    (folder / "hmac-224.key").write_bytes(os.urandom(28))
    (folder / "hmac-256.key").write_bytes(os.urandom(32))
    (folder / "hmac-384.hex").write_text(os.urandom(48).hex() + "\n")
    (folder / "hmac-512.b64").write_bytes(base64.b64encode(os.urandom(64)) + b"\n")
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    private: list[tuple[str, Any, serialization.Encoding]] = [
        ("rsa-2048.pem", rsa.generate_private_key(65537, 2048), pem),
        ("rsa-3072.pem", rsa.generate_private_key(65537, 3072), pem),
        ("rsa-4096.der", rsa.generate_private_key(65537, 4096), der),
        ("ed25519.pem", ed25519.Ed25519PrivateKey.generate(), pem),
        *((f"{name}.pem", ec.generate_private_key(curve()), pem) for name, curve in CURVES.items()),
    ]
    for name, key, encoding in private:
        (folder / name).write_bytes(
            key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def seed(manifest: dict[str, Any]) -> dict[str, Any]:
    """The sandbox's accounts: the roles that the manifest assumes, and a key with each alias that it names."""
    accounts: dict[str, Any] = {
        account: {"roles": [{"name": "byok/Importer", **access}], "regions": {}}
        for account, access in manifest["accounts"].items()
    }
    for key in manifest["keys"]:
        planted = {"alias": key["key_id"].replace("{id}", key["id"]), "key_spec": key["key_spec"]}
        for account in key["accounts"]:
            for region in key["regions"]:
                accounts[account]["regions"].setdefault(region, {"keys": []})["keys"].append(planted)
    return {"accounts": accounts}


def environment() -> dict[str, str]:
    """Nothing of the user's own AWS: no profile, no credentials, no settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "BULK_IMPORT_")) and not name.lower().endswith("_proxy")
    }
    return (
        kept
        | CREDENTIALS
        | {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(ROOT),
        }
    )


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
