"""Somebody between the steps: each attempt is refused, and nothing is imported."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_import import api
from bulk_import.errors import InputError
from bulk_import.settings import load
from tests.ceremony.conftest import QUICK, Ceremony, read, spoken
from tests.e2e.support import Workplace
from tests.faults.forks import Forks
from tests.sandbox_client import Sandbox

Line = dict[str, Any]


def written(lines: list[Line]) -> bytes:
    """The lines with right numbers and checks: what an attacker who knows the format can make."""
    data, after = b"", "0" * 16
    for number, line in enumerate(lines, 1):
        members = {
            "line": number,
            "after": after,
            **{k: v for k, v in line.items() if k not in ("line", "after", "check")},
        }
        body = json.dumps(members, separators=(",", ":"))[:-1].encode()
        after = hashlib.sha256(body).hexdigest()[:16]
        data += body + b',"check":"' + after.encode() + b'"}\n'
    return data


def fingerprint(path: Path) -> tuple[str, str]:
    return ("--fingerprint", hashlib.sha256(path.read_bytes()).hexdigest())


def alter(path: Path, change: Callable[[list[Line]], None]) -> None:
    lines = read(path)
    change(lines)
    path.write_bytes(written(lines))


def own_key() -> str:
    public = rsa.generate_private_key(65537, 4096).public_key()
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(public.public_bytes(*form)).decode()


def nothing_happened(ceremony: Ceremony) -> None:
    assert ceremony.imports() == 0
    assert ceremony.states() == {"PendingImport"}


# --- the bundle on its way to the vault
def test_a_swapped_wrapping_key_is_refused_by_the_fingerprint(ceremony: Ceremony) -> None:
    ceremony.keys("SYMMETRIC_DEFAULT")
    prepared = ceremony.prepare()
    alter(ceremony.vault.folder / "bundle.jsonl", lambda lines: lines[1].update(public_key=own_key()))
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    assert sealed.code == 3
    assert "nobody vouches for it" in sealed.stderr
    assert not (ceremony.vault.folder / "sealed.jsonl").exists()


def test_a_swapped_wrapping_key_that_a_person_was_talked_into_is_of_no_use_to_submit(ceremony: Ceremony) -> None:
    """Anyone who made a person vouch for an altered bundle can read what is sealed; but it never becomes a key."""
    ceremony.keys("SYMMETRIC_DEFAULT")
    prepared = ceremony.prepare()
    bundle = ceremony.vault.folder / "bundle.jsonl"
    alter(bundle, lambda lines: lines[1].update(public_key=own_key()))
    sealed = ceremony.seal(*fingerprint(bundle))
    assert sealed.code == 0
    submitted = ceremony.submit(*ceremony.vouched(prepared, sealed))
    assert submitted.code == 3
    assert "was sealed for another bundle" in submitted.stderr
    nothing_happened(ceremony)


CHANGES: dict[str, Callable[[Line, Sandbox], None]] = {
    "account": lambda line, _: line.update(account="444455556666"),
    "account in the ARN": lambda line, _: line.update(key_arn=line["key_arn"].replace("111122223333", "444455556666")),
    "Region in the ARN": lambda line, _: line.update(key_arn=line["key_arn"].replace("us-east-1", "eu-west-1")),
    "another key": lambda line, sandbox: line.update(key_arn=sandbox.key(key_spec="SYMMETRIC_DEFAULT")["arn"]),
    "alias as ARN": lambda line, _: line.update(key_arn=line["key_arn"].replace("key/", "alias/")),
    "key spec": lambda line, _: line.update(key_spec="HMAC_256"),
    "weaker wrapping key": lambda line, _: line.update(wrapping_key_spec="RSA_2048"),
    "expiry": lambda line, _: line.update(valid_to="2030-01-01T00:00:00Z"),
    "lifetime": lambda line, _: line.update(valid_for=86400),
    "material ID": lambda line, _: line.update(key_material_id="0" * 64),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_custodians_manifest_decides(
    change: Callable[[Line, Sandbox], None], ceremony: Ceremony, sandbox: Sandbox
) -> None:
    """Also where a person vouches for the altered bundle."""
    ceremony.keys("SYMMETRIC_DEFAULT")
    ceremony.prepare()
    bundle = ceremony.vault.folder / "bundle.jsonl"
    alter(bundle, lambda lines: change(lines[1], sandbox))
    sealed = ceremony.seal(*fingerprint(bundle))
    assert sealed.code == 5, sealed.stderr
    lines = read(ceremony.vault.folder / "sealed.jsonl") if (ceremony.vault.folder / "sealed.jsonl").exists() else []
    assert [line["kind"] for line in lines] in ([], ["sealed"])
    assert ceremony.imports() == 0


# --- the sealed file on its way back
def ready(ceremony: Ceremony, *specs: str) -> tuple[list[str], Path]:
    ceremony.keys(*(specs or ("SYMMETRIC_DEFAULT", "HMAC_256", "RSA_2048")))
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    assert sealed.code == 0, sealed.stderr
    return ceremony.vouched(prepared, sealed), ceremony.online.folder / "sealed.jsonl"


def test_a_file_that_somebody_else_sealed_is_refused(ceremony: Ceremony, sandbox: Sandbox) -> None:
    vouched, sealed = ready(ceremony, "SYMMETRIC_DEFAULT")
    (ceremony.vault.folder / "k0.key").write_bytes(os.urandom(32))
    (ceremony.vault.folder / "sealed.jsonl").unlink()
    ceremony.seal(*vouched)
    shutil.copy(ceremony.vault.folder / "sealed.jsonl", sealed)
    submitted = ceremony.submit(*vouched)
    assert submitted.code == 3
    assert "nobody vouches for it" in submitted.stderr
    nothing_happened(ceremony)


def test_an_older_bundle_is_refused(ceremony: Ceremony) -> None:
    vouched, _ = ready(ceremony, "SYMMETRIC_DEFAULT")
    (ceremony.online.folder / "bundle.jsonl").rename(ceremony.online.folder / "older.jsonl")
    prepared = ceremony.prepare()
    submitted = ceremony.submit(*vouched, *ceremony.vouched(prepared))
    assert submitted.code == 3
    assert "was sealed for another bundle" in submitted.stderr
    nothing_happened(ceremony)


def test_one_target_sealed_twice_is_refused(ceremony: Ceremony) -> None:
    vouched, sealed = ready(ceremony)
    shutil.copy(sealed, ceremony.online.folder / "copy.jsonl")
    submitted = ceremony.submit(*vouched, sealed=["sealed.jsonl", "copy.jsonl"])
    assert submitted.code == 3
    assert "is a second sealed material for k0" in submitted.stderr
    nothing_happened(ceremony)


def other_key(line: bytes) -> bytes:
    """The line for a key ARN that differs in its last digit. The lines come in the order in which KMS answered."""
    altered = re.sub(rb"(:key/[0-9a-f-]{35})([0-9a-f])", lambda arn: arn[1] + (b"1" if arn[2] == b"0" else b"0"), line)
    assert altered != line
    return altered


SPOILT: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int, str]] = {
    "altered": (lambda lines: [*lines[:2], other_key(lines[2]), *lines[3:]], 3, "was altered"),
    "reordered": (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2, "in another order"),
    "missing": (lambda lines: [lines[0], *lines[2:]], 2, "lines are missing"),
    "duplicated": (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4, "is a copy of line 3"),
    "cut off": (lambda lines: [*lines[:-1], lines[-1][:200]], 4, "is cut off"),
    "not JSON": (lambda lines: [*lines[:3], b"{]\n"], 4, "is not JSON"),
    "foreign": (lambda lines: [*lines[:3], b'{"a": 1}\n'], 4, "is not a line"),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> dict[str, bytes]:
    """A bundle and a sealed file that fit, from a ceremony of their own."""
    folder = tmp_path_factory.mktemp("pair")
    for name in ("online", "vault"):
        (folder / name).mkdir()
    with Sandbox() as sandbox:
        vault = Workplace(folder / "vault", "https://kms.invalid")
        ceremony = Ceremony(Workplace(folder / "online", sandbox.url), vault, forks, sandbox)
        ready(ceremony)
        return {name: (folder / "online" / name).read_bytes() for name in ("bundle.jsonl", "sealed.jsonl")}


@pytest.mark.parametrize("file", ["bundle.jsonl", "sealed.jsonl"])
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_line_is_named(spoilt: str, file: str, pair: dict[str, bytes], forks: Forks, tmp_path: Path) -> None:
    """Exit code 3: no call was made. There is nobody at the endpoint, so that one would end otherwise."""
    spoil, line, why = SPOILT[spoilt]
    online = Workplace(tmp_path, "http://127.0.0.1:9")
    vouched: list[str] = []
    for name, data in pair.items():
        (tmp_path / name).write_bytes(data)
        vouched += fingerprint(tmp_path / name)
    path = tmp_path / file
    path.write_bytes(b"".join(spoil(pair[file].splitlines(keepends=True))))
    for options in (vouched, [*vouched, *fingerprint(path)]):  # also where a person vouches for it
        submitted = forks.run(tmp_path, online.environment(), ["submit", *pair, *options])
        assert submitted.code == 3
        assert f"ine {line} " in submitted.stderr or f"{file}:{line}:" in submitted.stderr, submitted.stderr
        assert why in submitted.stderr


def test_a_line_of_another_ceremony_is_named(ceremony: Ceremony) -> None:
    vouched, sealed = ready(ceremony)
    alter(sealed, lambda lines: lines[2].update(key_arn=lines[1]["key_arn"]))
    submitted = ceremony.submit(*vouched, *fingerprint(sealed))
    assert submitted.code == 3
    assert "sealed.jsonl:3: does not fit the bundle: key_arn is another one" in submitted.stderr
    nothing_happened(ceremony)


# --- signatures
def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def signer(folder: Path, name: str, *kind: str) -> tuple[str, str]:
    private, public = str(folder / f"{name}.pem"), str(folder / f"{name}.pub.pem")
    openssl("genpkey", *kind, "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


KINDS = {
    "ed25519": ("-algorithm", "ed25519"),
    "p256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve"),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_signatures_vouch_instead_of_people(kind: tuple[str, ...], ceremony: Ceremony, tmp_path: Path) -> None:
    ceremony.keys("HMAC_256")
    online, online_public = signer(tmp_path, "online", *kind)
    vault, vault_public = signer(tmp_path, "vault", *kind)
    prepared = ceremony.prepare("--sign-with", online)
    assert prepared.code == 0, prepared.stderr
    shutil.copy(ceremony.online.folder / "bundle.jsonl.sig", ceremony.vault.folder)
    _, stranger_public = signer(tmp_path, "stranger", *kind)
    assert ceremony.seal("--signed-by", stranger_public).code == 3
    sealed = ceremony.seal("--signed-by", online_public, "--sign-with", vault)
    assert sealed.code == 0, sealed.stderr
    shutil.copy(ceremony.vault.folder / "sealed.jsonl.sig", ceremony.online.folder)
    # Every input needs one: the fingerprint of one of them does not make up for it.
    one_key = ceremony.submit("--signed-by", online_public, *ceremony.vouched(sealed))
    assert one_key.code == 3
    nothing_happened(ceremony)
    submitted = ceremony.submit("--signed-by", online_public, "--signed-by", vault_public)
    assert submitted.code == 0, submitted.stderr
    facts = submitted.report["run"]["ceremony"]
    assert (facts["bundle"]["signed_by"], facts["sealed"][0]["signed_by"]) == (online_public, vault_public)


@pytest.mark.parametrize("option", ["--signed-by", "--sign-with"])
@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_that_holds_no_key_is_named(option: str, text: str, ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    prepared = ceremony.prepare()
    (ceremony.vault.folder / "wrong.pem").write_text(text)
    sealed = ceremony.seal(option, "wrong.pem", *ceremony.vouched(prepared))
    assert sealed.code == 3
    assert f"{option}: wrong.pem is not an Ed25519 or ECDSA P-256" in sealed.stderr


# --- fuzzing
MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "delete", "insert", "swap", "cut"]), st.floats(0, 1), st.floats(0, 1),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def mutated(data: bytes, mutations: list[tuple[str, float, float, bytes]]) -> bytes:
    for kind, at, to, piece in mutations:
        i, j = sorted((int(at * len(data)), int(to * len(data))))
        if kind == "flip":
            data = data[:i] + piece + data[i + len(piece) :]
        elif kind == "delete":
            data = data[:i] + data[min(j, i + 50) :]
        elif kind == "insert":
            data = data[:i] + piece + data[i:]
        elif kind == "cut":
            data = data[:j]
        else:
            lines = data.splitlines(keepends=True) or [b""]
            a, b = int(at * (len(lines) - 1)), int(to * (len(lines) - 1))
            lines[a], lines[b] = lines[b], lines[a]
            data = b"".join(lines)
    return data


@pytest.mark.parametrize("file", ["bundle.jsonl", "sealed.jsonl"])
def test_a_thousand_mutations_of_each_file(
    file: str, pair: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A mutated file is refused with a clear error, or says exactly what the original says; even if vouched for."""
    folder = tmp_path_factory.mktemp("mutations")
    paths = {name: folder / name for name in pair}

    def inputs(files: dict[str, bytes]) -> api.Inputs:
        for name, data in files.items():
            paths[name].write_bytes(data)
        vouched = [hashlib.sha256(data).hexdigest() for data in files.values()]
        return api.read_inputs(str(paths["bundle.jsonl"]), [str(paths["sealed.jsonl"])], load({"fingerprint": vouched}))

    original = inputs(pair)

    @settings(max_examples=1000, deadline=None, database=None)
    @given(MUTATIONS)
    def check(mutations: list[tuple[str, float, float, bytes]]) -> None:
        data = mutated(pair[file], mutations)
        try:
            found = inputs({**pair, file: data})
        except InputError:
            return
        for index, key in found.keys.items():
            assert key == original.keys[index]
            assert found.bundle.targets[index] == original.bundle.targets[index]

    check()


def test_a_file_that_nobody_vouches_for_is_not_used(ceremony: Ceremony) -> None:
    vouched, _ = ready(ceremony)
    for options in ((), vouched[:2], vouched[2:], ("--fingerprint", "0" * 64)):
        assert ceremony.submit(*options).code == 3
    wrong = ceremony.submit("--fingerprint", "not hex")
    assert (wrong.code, "is not a fingerprint" in wrong.stderr) == (3, True)
    nothing_happened(ceremony)


def test_spaces_and_capitals_of_a_fingerprint_do_not_matter(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    prepared = ceremony.prepare()
    assert ceremony.seal("--fingerprint", spoken(prepared).upper().replace(" ", ":")).code == 0


@pytest.mark.parametrize(
    "material", [bytes(range(200, 232)), b"\n" * 32, bytes(range(32))], ids=["one line", "empty lines", "two lines"]
)
def test_no_bundle_and_no_sealed_file_takes_the_place_of_key_material(ceremony: Ceremony, material: bytes) -> None:
    ceremony.keys("HMAC_256")
    for folder in (ceremony.online.folder, ceremony.vault.folder):
        (folder / "other.key").write_bytes(material)
    result = ceremony.call(ceremony.online, "prepare", "manifest.json", "other.key", *QUICK)
    assert (result.code, "other.key" in result.stderr) == (3, True), result.stderr
    assert ceremony.prepare().code == 0
    vouch = fingerprint(ceremony.online.folder / "bundle.jsonl")
    result = ceremony.call(ceremony.vault, "seal", "bundle.jsonl", "manifest.json", "other.key", *vouch)
    assert (result.code, "other.key" in result.stderr) == (3, True), result.stderr
    for folder in (ceremony.online.folder, ceremony.vault.folder):
        assert (folder / "other.key").read_bytes() == material


@pytest.mark.parametrize("text", [bytes(range(200, 232)), base64.b64encode(bytes(range(64))), b"version: 1\n"], ids=len)
@pytest.mark.parametrize("what", ["material", "signing key", "something else"])
def test_no_signature_takes_the_place_of_key_material(what: str, text: bytes, ceremony: Ceremony) -> None:
    """It is written next to the file that is signed, under a name that nobody gives."""
    ceremony.keys("HMAC_256")
    private, _ = signer(ceremony.vault.folder, "custodian", "-algorithm", "ed25519")
    prepared = ceremony.prepare()
    for work, name in ((ceremony.online, "bundle.jsonl.sig"), (ceremony.vault, "sealed.jsonl.sig")):
        there = Path(private).read_bytes() if what == "signing key" else text
        (work.folder / name).write_bytes(there)
        if what == "material":
            work.keys[0]["material"] = f"file:{name}"
        work.write()
        key = name if what == "signing key" else str(ceremony.vault.folder / private)
        (ceremony.online.folder / "bundle.jsonl").unlink(missing_ok=work is ceremony.vault)
        step = (
            ceremony.prepare("--sign-with", key)
            if work is ceremony.online
            else ceremony.seal(*ceremony.vouched(prepared), "--sign-with", key)
        )
        if what != "something else" or not re.fullmatch(
            rb"[A-Za-z0-9+/=]{88}", there
        ):  # else it looks like a signature
            assert (step.code, name in step.stderr) == (3, True), step.stderr
            assert (work.folder / name).read_bytes() == there


# --- the results of `submit`
@pytest.mark.parametrize(
    ("options", "code"),
    [(("--fingerprint", "0" * 64), 3), (("--no-such-option",), 2), (("--reads", "three"), 2), (("--prove", "all"), 2)],
)
def test_a_submission_that_ends_at_once_leaves_no_older_result(
    options: tuple[str, ...], code: int, ceremony: Ceremony
) -> None:
    ceremony.keys("HMAC_256")
    steps = ceremony.prepare(), ceremony.seal(*ceremony.vouched(ceremony.prepare()))
    first = ceremony.submit(*ceremony.vouched(*steps), "--render", "junit=junit.xml")
    assert first.code == 0, first.stderr
    assert ceremony.submit(*options, "--render", "junit=junit.xml").code == code
    left = {path.name for path in ceremony.online.folder.iterdir()}
    assert not left & {"report.json", "report.json.sha256", "junit.xml"}
    assert f"report.{first_run_of(ceremony)}.json" in left


def first_run_of(ceremony: Ceremony) -> str:
    [kept] = ceremony.online.folder.glob("report.2*-*.json")
    return str(json.loads(kept.read_bytes())["run"]["run_id"])


@pytest.mark.parametrize("output", ["--report", "--journal", "--render"])
@pytest.mark.parametrize("place", ["bundle.jsonl", "sealed.jsonl"])
def test_no_output_of_a_submission_takes_the_place_of_an_input(output: str, place: str, ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    prepared = ceremony.prepare()
    steps = prepared, ceremony.seal(*ceremony.vouched(prepared))
    before = (ceremony.online.folder / place).read_bytes()
    value = f"csv={place}" if output == "--render" else place
    result = ceremony.submit(*ceremony.vouched(*steps), output, value)
    assert (result.code, output in result.stderr) == (3, True), result.stderr
    assert (ceremony.online.folder / place).read_bytes() == before
    assert ceremony.imports() == 0
