"""prepare, seal, submit: three steps, each in a folder of its own, and what each of them says."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.ceremony.conftest import SPECS, Ceremony, read, spoken
from tests.e2e import materials
from tests.e2e.test_canary import forms
from tests.sandbox_client import Sandbox


def test_every_kind_of_key_goes_through_the_three_steps(ceremony: Ceremony, sandbox: Sandbox) -> None:
    keys = ceremony.keys(*SPECS)
    prepared = ceremony.prepare()
    assert prepared.code == 0, prepared.stderr
    assert f"{len(SPECS)} targets prepared" in prepared.stderr
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    assert sealed.code == 0, sealed.stderr
    submitted = ceremony.submit(*ceremony.vouched(prepared, sealed), "--require-proof", "--prove-use")
    assert submitted.code == 0, submitted.stderr
    assert {entry["status"] for entry in submitted.report["results"]} == {"imported"}
    # KMS's side, by a client of its own.
    kms = sandbox.client()
    assert {kms.describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"] for key in keys} == {"Enabled"}
    calls = submitted.report["lanes"][0]["calls"]
    assert "GetParametersForImport" not in calls
    assert calls["ImportKeyMaterial"] == len(SPECS)


def test_a_second_submission_changes_nothing(ceremony: Ceremony) -> None:
    ceremony.keys(*SPECS[:3])
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    vouched = ceremony.vouched(prepared, sealed)
    assert ceremony.submit(*vouched).code == 0
    imports = ceremony.imports()
    again = ceremony.submit(*vouched)
    assert again.code == 0, again.stderr
    assert {entry["status"] for entry in again.report["results"]} == {"unchanged"}
    assert ceremony.imports() == imports


def test_what_is_as_wanted_is_prepared_for_an_emergency_only(ceremony: Ceremony, sandbox: Sandbox) -> None:
    ceremony.keys("HMAC_256", "SYMMETRIC_DEFAULT")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    assert ceremony.submit(*ceremony.vouched(prepared, sealed)).code == 0
    for file in ("bundle.jsonl", "sealed.jsonl"):
        (ceremony.online.folder / file).unlink()
        (ceremony.vault.folder / file).unlink()
    again = ceremony.prepare()
    assert (again.code, "0 targets prepared, 2 as wanted already" in again.stderr) == (0, True)
    assert ceremony.seal(*ceremony.vouched(again)).code == 0
    (ceremony.online.folder / "bundle.jsonl").unlink()
    (ceremony.vault.folder / "sealed.jsonl").unlink()
    standby = ceremony.prepare("--standby")
    assert (standby.code, "2 targets prepared" in standby.stderr) == (0, True)
    sealed = ceremony.seal(*ceremony.vouched(standby))
    # The loss: both keys lose their material, and are filled again without a new parameter.
    kms = sandbox.client()
    lost = sandbox.keys()
    for key in lost:
        kms.delete_imported_key_material(KeyId=key["key_id"])
    restored = ceremony.submit(*ceremony.vouched(standby, sealed), "--require-proof")
    assert restored.code == 0, restored.stderr
    assert {entry["status"] for entry in restored.report["results"]} == {"imported"}


def test_two_custodians_seal_what_each_of_them_has(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256", "RSA_2048", "SYMMETRIC_DEFAULT")
    prepared = ceremony.prepare()
    everything = ceremony.vault.keys
    results = []
    for number, keys in enumerate((everything[:1], everything[1:])):
        ceremony.vault.keys = keys
        ceremony.vault.write()
        results.append(ceremony.seal(*ceremony.vouched(prepared), sealed=f"sealed{number}.jsonl"))
        assert results[-1].code == 0, results[-1].stderr
    vouched = ceremony.vouched(prepared, *results)
    alone = ceremony.submit(*vouched, sealed=["sealed0.jsonl"])
    assert alone.code == 4
    assert [entry["status"] for entry in alone.report["results"]] == ["imported", "failed", "failed"]
    assert {entry["error"]["code"] for entry in alone.report["results"][1:]} == {"NotSealed"}
    both = ceremony.submit(*vouched, sealed=["sealed0.jsonl", "sealed1.jsonl"])
    assert both.code == 0, both.stderr
    assert [entry["status"] for entry in both.report["results"]] == ["unchanged", "imported", "imported"]


def test_the_report_says_who_did_what(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    submitted = ceremony.submit(*ceremony.vouched(prepared, sealed), "--render", "html=page.html")
    facts = submitted.report["run"]["ceremony"]
    assert facts["bundle"]["sha256"] == spoken(prepared).replace(" ", "")
    assert [file["sha256"] for file in facts["sealed"]] == [spoken(sealed).replace(" ", "")]
    assert facts["prepared_by"].startswith("arn:aws:")
    page = (ceremony.online.folder / "page.html").read_text("utf-8")
    markdown = ceremony.call(ceremony.online, "report", "report.json", "--format", "markdown").stdout.decode()
    for text in (page, markdown):
        assert spoken(prepared) in text
        assert spoken(sealed) in text
        assert facts["prepared_by"] in text


def test_the_files_fit_their_schema_and_are_for_their_owner_only(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256", "ECC_NIST_P256", valid_for="90d")
    ceremony.online.keys = [*ceremony.online.keys, {**ceremony.online.keys[0], "id": "none", "key_id": "alias/none"}]
    ceremony.online.write()
    prepared = ceremony.prepare()
    assert prepared.code == 4
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    assert sealed.code == 0
    schema = json.loads(ceremony.call(ceremony.online, "schema", "bundle").stdout)
    lines = [*read(ceremony.online.folder / "bundle.jsonl"), *read(ceremony.vault.folder / "sealed.jsonl")]
    assert [line["kind"] for line in lines].count("blocked") == 1
    for line in lines:
        jsonschema.validate(line, schema)
    for path in (ceremony.online.folder / "bundle.jsonl", ceremony.vault.folder / "sealed.jsonl"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_file_of_a_ceremony_holds_material_in_the_clear(ceremony: Ceremony) -> None:
    ceremony.keys(*SPECS)
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    ceremony.submit(*ceremony.vouched(prepared, sealed))
    secrets = [path.read_bytes() for path in ceremony.vault.folder.glob("*.key")]
    needles = [needle for secret in secrets for needle in forms(secret)]
    for path in ceremony.online.folder.iterdir():
        data = path.read_bytes()
        assert not [needle for needle in needles if needle in data], path
    assert not [needle for needle in needles if needle in (ceremony.vault.folder / "sealed.jsonl").read_bytes()]


# --- without a network
REFUSES_SOCKETS = """
import ctypes, errno, os, platform, struct, sys
calls = {"x86_64": (41, 42, 43, 49, 50, 288), "aarch64": (198, 203, 202, 200, 201, 242)}[platform.machine()]
LOAD, JUMP, RETURN = 0x20, 0x15, 0x06  # BPF: load the number of the system call, compare, return
program = [(LOAD, 0, 0, 0)]
program += [(JUMP, len(calls) - at, 0, call) for at, call in enumerate(calls)]  # socket, connect, accept, bind, listen
program += [(RETURN, 0, 0, 0x7FFF0000), (RETURN, 0, 0, 0x00050000 | errno.EPERM)]
code = b"".join(struct.pack("HBBI", *line) for line in program)
buffer = ctypes.create_string_buffer(code)
filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.create_string_buffer(filter_), 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    "wall", [("unshare", "--net"), (sys.executable, "-c", REFUSES_SOCKETS)], ids=["netns", "seccomp"]
)
def test_seal_needs_no_network(wall: tuple[str, ...], ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256", "RSA_2048")
    prepared = ceremony.prepare()
    command = ["-m", "bulk_import", "seal", "bundle.jsonl", "manifest.json", "sealed.jsonl"]
    python = [] if wall[0] == sys.executable else [sys.executable]
    done = subprocess.run(
        [*wall, *python, *command, *ceremony.vouched(prepared)], cwd=ceremony.vault.folder,
        env=ceremony.vault.environment(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert "2 sealed" in done.stderr.decode()


def test_the_wall_refuses_sockets() -> None:
    """What the test above rests on."""
    script = "import socket\ntry:\n    socket.socket()\nexcept PermissionError:\n    print('refused')"
    done = subprocess.run(
        [sys.executable, "-c", REFUSES_SOCKETS, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "refused\n", done.stderr


SEEN = """
import atexit, os, sys
atexit.register(lambda: open(os.environ["SEEN"], "w").write(" ".join(sys.modules)))
"""


def test_seal_loads_no_aws_library(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    prepared = ceremony.prepare()
    hook = (
        "import atexit, os, sys\natexit.register(lambda: open(os.environ['SEEN'], 'w').write(' '.join(sys.modules)))\n"
    )
    (ceremony.vault.folder / "sitecustomize.py").write_text(hook)
    seen = ceremony.vault.folder / "seen"
    done = subprocess.run(
        [sys.executable, "-m", "bulk_import", "seal", "bundle.jsonl", "manifest.json", "sealed.jsonl",
         *ceremony.vouched(prepared)],
        cwd=ceremony.vault.folder, capture_output=True, timeout=60, check=False,
        env=ceremony.vault.environment(PYTHONPATH=str(ceremony.vault.folder), SEEN=str(seen), PYTHONWARNINGS=""),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    loaded = {name.partition(".")[0] for name in seen.read_text().split()}
    assert "cryptography" in loaded
    assert not loaded & {"boto3", "botocore", "aiobotocore", "aioboto3", "aiohttp"}


def test_sources_that_need_a_network_are_refused(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    prepared = ceremony.prepare()
    for source, code in (("vault:byok/payments?field=key", 3), ("file:k0.key", 0)):
        ceremony.vault.keys = [{**ceremony.vault.keys[0], "material": source, "encoding": "raw"}]
        ceremony.vault.write()
        options = ("--allow-source", source.partition(":")[0] + ":", *ceremony.vouched(prepared))
        assert ceremony.seal(*options).code == code
    assert os.path.exists(ceremony.vault.folder / "sealed.jsonl")  # noqa: PTH110


def test_a_bundle_in_the_way_is_continued_or_refused(ceremony: Ceremony, tmp_path: Path) -> None:
    ceremony.keys("HMAC_256", "HMAC_384")
    first = ceremony.prepare()
    again = ceremony.prepare()
    assert (again.code, spoken(again)) == (0, spoken(first))
    assert len(ceremony.sandbox.calls(operation="GetParametersForImport")) == 2
    other = ceremony.prepare("--standby")
    assert other.code == 3
    assert "bundle of another manifest or selection" in other.stderr
    (ceremony.online.folder / "bundle.jsonl").write_text("something else\n")
    assert ceremony.prepare().code == 3


def test_a_primary_and_its_replica_go_through_the_three_steps(ceremony: Ceremony, sandbox: Sandbox) -> None:
    """The replica's line says whose it is, so that `submit` fills the primary first."""
    material = materials.make("SYMMETRIC_DEFAULT")
    key = sandbox.key(
        alias="alias/related", multi_region=True, material={"hex": material.hex()}, replicas=["eu-west-1"]
    )
    sandbox.client().delete_imported_key_material(KeyId=key["key_id"])
    fields = {"key_spec": "SYMMETRIC_DEFAULT", "replicas": ["eu-west-1"]}
    ceremony.vault.key("alias/related", material, name="related", **fields)
    ceremony.online.keys = ceremony.vault.keys
    ceremony.online.write()
    ceremony.vault.write()
    prepared = ceremony.prepare()
    assert prepared.code == 0, prepared.stderr
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    assert sealed.code == 0, sealed.stderr
    submitted = ceremony.submit(*ceremony.vouched(prepared, sealed), "--require-proof")
    assert submitted.code == 0, submitted.stderr
    assert [entry["region"] for entry in submitted.report["results"]] == ["us-east-1", "eu-west-1"]
    first, second = sandbox.calls(operation="ImportKeyMaterial")
    assert (first["region"], second["region"]) == ("us-east-1", "eu-west-1")
    alone = ceremony.prepare("--only-region", "eu-west-1", "--standby")
    assert alone.code == 3, alone.stderr  # another selection than the bundle's
