"""Input that does not mean what it seems to: it must not end with exit code 0, nor be shown where it is a secret.

Every case goes through the real command line; KMS's side is read by a client of its own.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox

HMAC = {28: "HMAC_224", 32: "HMAC_256", 48: "HMAC_384", 64: "HMAC_512"}


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, sandbox.url)


def spec_of(length: int) -> str:
    return HMAC.get(length, "HMAC_256")


def target(sandbox: Sandbox, work: Workplace, spec: str, text: bytes, name: str, **fields: Any) -> str:
    """Adds an empty key of `spec`, and a target whose source holds `text`; no encoding is stated. Returns its ID."""
    key_id = sandbox.key(key_spec=spec, key_usage=materials.usage(spec))["key_id"]
    work.key(key_id, text, name=name)
    del work.keys[-1]["encoding"]
    work.keys[-1] |= fields
    return key_id


def states(sandbox: Sandbox, work: Workplace) -> dict[str, str]:
    """The key state of every target, as KMS has it."""
    kms = sandbox.client("kms")
    return {key["id"]: kms.describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"] for key in work.keys}


# --- text that represents other bytes ---------------------------------------------------------------------------------

KEY16, KEY28, KEY32, KEY48 = (bytes(os.urandom(length)) for length in (16, 28, 32, 48))
PEM = serialization.load_der_private_key(materials.make("ECC_NIST_P256"), None).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
UUIDS = b"f47ac10b-58cc-4372-a567-0e02b2c3"
# Each is exactly as long as some HMAC key, read in the default encoding of its source.
FILES: dict[str, bytes] = {
    "hex": KEY32.hex().encode(),
    "hex in capitals": KEY16.hex().upper().encode(),
    "hex of 28": KEY28[:14].hex().encode(),
    "hex with 0x": b"0x" + KEY32[:15].hex().encode(),
    "hex with colons": KEY16.hex(":").encode() + b":",
    "hex with blanks": KEY32[:16].hex(" ").encode() + b"\n",
    "hex with dashes": KEY32[:16].hex("-", 2).encode()[:28],
    "hex in lines": KEY16.hex().encode()[:15] + b"\n" + KEY16.hex().encode()[15:30] + b"\n",
    "part of a UUID": UUIDS,
    "base64": base64.b64encode(KEY48),
    "base64 of 21": base64.b64encode(KEY28[:21]),
    "base64url": base64.urlsafe_b64encode(b"\xff\xef" + KEY48[2:]),
    "base64 in lines": base64.encodebytes(KEY48[:46])[:64],
    "digits with separators": b"12-34-56-78-90-12-34-56-78-9",
    "quoted": b'"' + KEY32[:15].hex().encode() + b'"',
    "a password": b"correct horse battery staple",
    "with a BOM": b"\xef\xbb\xbf" + KEY32[:12].hex().encode() + b"\n",
    "UTF-16 without BOM": KEY32[:8].hex().encode("utf-16-le"),
    "UTF-16, big endian": KEY32[:16].hex().encode("utf-16-be"),
    "a password with zeros after it": b"hunter2-hunter2".ljust(32, b"\0"),
    "a password in Latin-1": "Größenwahn und Käsekuchen".encode("latin-1").ljust(28, b"!"),
    "a password with 0xFF after it": b"passphrase-of-mine-2026".ljust(28, b"\xff"),
    "a password with PKCS#7 padding": b"passphrase-of-mine-2026" + b"\x05" * 5,
    "hex of a mainframe": KEY32[:16].hex().encode("cp500"),
    "umlauts": "Geheim für Größe, Käse".encode().ljust(28, b"!"),
    "Windows-1251": "Пароль нашей системы 2026".encode("cp1251").ljust(28, b"!"),
    "KOI8-R with zeros after it": "Пароль нашей системы".encode("koi8-r").ljust(32, b"\0"),
    "Cyrillic of DOS": "Секретный ключ оплаты 2026!!".encode("cp866"),
    "Greek": "Μυστικό κλειδί πληρωμών 2026".encode("iso8859-7"),
    "umlauts only": "äöüÄÖÜßéèêàâçñåæø".encode("cp1252").ljust(28, "ö".encode("cp1252")),
    "Polish": "Hasło główne, źródło: łąka".encode("cp1250").replace(b":", b",").ljust(28, b"!"),
    "Shift_JIS": "私たちの秘密の鍵です二千年".encode("shift_jis").ljust(28, b"!"),
    "EUC-JP": "私たちの秘密の鍵です二千年".encode("euc_jp").ljust(28, b"!"),
    "GB 2312": "我们系统的秘密密码二零二六".encode("gb2312").ljust(28, b"!"),
    "Big5": "我們系統的秘密密碼二零二六".encode("big5").ljust(28, b"!"),
    "UTF-16 of Cyrillic": "Пароль системы".encode("utf-16-le"),
    "UTF-16 of Greek, with a BOM": "\ufeffΜυστικό κλειδί!".encode("utf-16-be"),  # noqa: RUF001 - meant
    "a password of a mainframe": "Correct Horse Battery Staple".encode("cp500"),
    "JSON": b'{"k":"' + KEY16.hex().encode()[:20] + b'"}',
    "the first part of a PEM": PEM[28:76],
}
VARIABLES: dict[str, bytes] = {
    "hex": KEY32.hex().encode(),  # 48 bytes, taken as base64
    "hex in capitals": KEY32.hex().upper().encode(),
    "hex in both cases": KEY32.hex().encode()[:32] + KEY32.hex().upper().encode()[32:],
    "digits": b"0123456789" * 6 + b"0123",
    "base32": base64.b32encode(KEY48[:40]),
    "a word": b"correcthorsebatterystaplecorrecthorsebatterystaplecorrecthorseba",
    "words": b"CorrectHorseBatteryStapleCorrectHorseBatteryStapleCorrectHorseBa",
    "base64 of Latin-1": base64.b64encode("Größenwahn und Käsekuchen".encode("latin-1").ljust(28, b"!")),
    "base64 of hex": base64.b64encode(KEY16.hex().encode()),
    "base64 of hex and a line end": base64.b64encode(KEY32[:15].hex().encode() + b"\r\n"),
    "base64 of base64": base64.b64encode(base64.b64encode(KEY48)),
    "base64 of base64url": base64.b64encode(base64.urlsafe_b64encode(KEY48)),
    "base64 of UTF-16": base64.b64encode(KEY16[:8].hex().encode("utf-16-le")),
    "base64 of a password": base64.b64encode(b"correct horse battery staple"),
    "base64 of a UUID": base64.b64encode(UUIDS),
    "base64 of the begin of a PEM": base64.b64encode(PEM[:48]),
}


def _plant(sandbox: Sandbox, work: Workplace) -> dict[str, str]:
    """A target for each text, of the HMAC spec that takes its length. Returns the variables."""
    variables: dict[str, str] = {}
    for number, (name, text) in enumerate(FILES.items()):
        assert len(text) in HMAC, name
        target(sandbox, work, spec_of(len(text)), text, f"file{number}")
    for number, (name, text) in enumerate(VARIABLES.items()):
        length = len(base64.b64decode(text))
        assert length in HMAC, name
        variables[f"KEY_{number}"] = text.decode()
        target(sandbox, work, spec_of(length), b"-", f"env{number}", material=f"env:KEY_{number}")
    return variables


def test_text_is_never_taken_for_the_key_by_default(sandbox: Sandbox, work: Workplace) -> None:
    variables = _plant(sandbox, work)
    result = work.run("--reads", "1", **variables)
    assert result.code == 5, result.stderr
    codes = {name: (entry["error"] or {}).get("code") for name, entry in result.entries.items()}
    assert set(codes.values()) == {"AmbiguousEncoding"}, codes
    assert set(states(sandbox, work).values()) == {"PendingImport"}
    for text in (*FILES.values(), *VARIABLES.values()):
        assert text.strip(b"\0\n").decode("utf-8", "replace") not in result.stderr


@pytest.mark.parametrize("stated", [True, False])
def test_validate_reports_such_text_too(sandbox: Sandbox, work: Workplace, stated: bool) -> None:
    variables = _plant(sandbox, work)
    for key in work.keys:
        if stated:
            key["key_spec"] = sandbox.client("kms").describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeySpec"]
    work.write()
    result = work.call("validate", "manifest.json", "--material", **variables)
    assert result.code == 3
    missing = [key["id"] for key in work.keys if f"material of {key['id']}: no encoding" not in result.stderr]
    assert not missing, result.stderr


def test_a_specified_encoding_decides(sandbox: Sandbox, work: Workplace) -> None:
    """The same texts, once it is said how they are meant: KMS then holds those very bytes."""
    wanted: dict[str, tuple[str, bytes]] = {}

    def wants(name: str, means: bytes, text: bytes, **fields: Any) -> None:
        spec = spec_of(len(means))
        wanted[target(sandbox, work, spec, text, name, **fields)] = (spec, means)

    wants("raw", KEY16.hex().encode(), KEY16.hex().encode(), encoding="raw")
    wants("hex", KEY32, KEY32.hex().encode(), encoding="hex")
    wants("env-hex", KEY32, b"", material="env:KEY_HEX", encoding="hex")
    wants("env-base64", base64.b64decode(KEY32.hex()), b"-", material="env:KEY_HEX", encoding="base64")
    wants("env-text", b"correct horse battery staple", b"-", material="env:KEY_TEXT", encoding="base64")
    variables = {"KEY_HEX": KEY32.hex(), "KEY_TEXT": base64.b64encode(b"correct horse battery staple").decode()}
    result = work.run("--reads", "1", **variables)
    assert result.code == 0, result.stderr
    kms = sandbox.client("kms")
    assert all(materials.held_by(kms, key_id, spec, material) for key_id, (spec, material) in wanted.items())


@pytest.mark.parametrize("spec", materials.ALL_SPECS)
def test_random_material_is_never_ambiguous(sandbox: Sandbox, work: Workplace, spec: str) -> None:
    """Without any encoding stated: raw in a file, base64 in a variable."""
    material = materials.make(spec)
    target(sandbox, work, spec, material, "file")
    target(sandbox, work, spec, b"-", "env", material="env:KEY_B64")
    result = work.run("--reads", "1", KEY_B64=base64.b64encode(material).decode())
    assert result.code == 0, result.stderr
    kms = sandbox.client("kms")
    assert all(materials.held_by(kms, key["key_id"], spec, material) for key in work.keys)


# --- guards that would fail open --------------------------------------------------------------------------------------

OTHER = "999988887777"


def _two_accounts(sandbox: Sandbox, work: Workplace) -> None:
    """A manifest that names an account which the guard is meant to keep out."""
    material = materials.make("SYMMETRIC_DEFAULT")
    for account in ("111122223333", OTHER):
        key = sandbox.key(account=account)
        work.key(key["key_id"], material, name=f"in-{account}", account=account)
    work.write()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOW_ACCOUNT", ","),
        ("ALLOW_ACCOUNT", ""),
        ("ALLOW_ACCOUNT", "  "),
        ("ALLOW_ACCOUNT", "\n"),
        ("ALLOW_ACCOUNT", "111122223333 999988887777"),
        ("ALLOW_SOURCE", ""),
        ("ALLOW_SOURCE", ", ,"),
        ("MAX_TARGETS", ""),
        ("MAX_TARGETS", " "),
        ("ONLY_ACCOUNT", ","),
        ("ONLY_REGION", " "),
        ("ONLY_ID", ",,"),
        ("DRY_RUN", "true"),
        ("DRY_RUN", "0"),
    ],
)
def test_a_guard_without_a_value_stops_the_run(sandbox: Sandbox, work: Workplace, name: str, value: str) -> None:
    _two_accounts(sandbox, work)
    result = work.run(**{f"BULK_IMPORT_{name}": value})
    assert result.code == 3
    assert f"BULK_IMPORT_{name}" in result.stderr
    assert sandbox.calls() == []


@pytest.mark.parametrize(
    "line", ["allow_account = []", 'allow_account = ""', 'allow_account = [""]', "only_id = []", 'only-region = ","',
             "dry_run = true", "dry-run = false", "allow_source = []", 'max_targets = ""']
)  # fmt: skip
def test_a_guard_without_a_value_in_the_file_stops_the_run(sandbox: Sandbox, work: Workplace, line: str) -> None:
    _two_accounts(sandbox, work)
    (work.folder / "settings.toml").write_text(f"# settings of the pipeline\n{line}\n")
    result = work.run("--config", "settings.toml")
    assert result.code == 3
    assert "settings.toml:2" in result.stderr
    assert sandbox.calls() == []


@pytest.mark.parametrize("option", ["--allow-account", "--only-id", "--allow-source", "--max-targets", "--label"])
@pytest.mark.parametrize("value", ["", ",", " "])
def test_an_option_without_a_value_is_wrong_usage(sandbox: Sandbox, work: Workplace, option: str, value: str) -> None:
    _two_accounts(sandbox, work)
    result = work.run(option, value)
    assert result.code == 2
    assert option in result.stderr
    assert sandbox.calls() == []
