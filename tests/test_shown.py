"""Nothing that looks like key material, and no password of a URL, is shown where a value becomes text."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from bulk_import.cli import main
from bulk_import.shown import HIDDEN, shown, shown_lines
from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox

# Seeded: the rule is statistical, the tests are not.
RANDOM = random.Random("keys of these tests")  # noqa: S311 - keys of nobody


def in_json(text: str) -> str:
    """As PHP and Java write it: with / and + as escapes."""
    return text.replace("/", "\\/").replace("+", "\\u002b").replace("=", "\\u003d")


FORMS: dict[str, Callable[[bytes], str]] = {
    "hex": bytes.hex,
    "HEX": lambda key: key.hex().upper(),
    "hex with colons": lambda key: key.hex(":"),
    "hex with blanks": lambda key: key.hex(" ", 2),
    "hex with dashes": lambda key: key.hex("-", 4),
    "0x": lambda key: "0x" + key.hex(),
    "C": lambda key: "".join(f"\\x{byte:02x}" for byte in key),
    "octal": lambda key: "".join(f"\\{byte:03o}" for byte in key),
    "percent": lambda key: "".join(f"%{byte:02X}" for byte in key),
    "a list of integers": lambda key: str(list(key)),
    "integers": lambda key: " ".join(str(byte) for byte in key),
    "signed integers": lambda key: ",".join(str(byte - 256 if byte > 127 else byte) for byte in key),
    "base64": lambda key: base64.b64encode(key).decode(),
    "base64 without padding": lambda key: base64.b64encode(key).decode().rstrip("="),
    "base64url": lambda key: base64.urlsafe_b64encode(key).decode(),
    "base64url without padding": lambda key: base64.urlsafe_b64encode(key).decode().rstrip("="),
    "base64 in JSON": lambda key: in_json(base64.b64encode(key).decode()),
    "base32": lambda key: base64.b32encode(key).decode(),
    "hex in quad words": lambda key: key.hex(" ", 8),
    "escapes of JSON": lambda key: "".join(f"\\u{byte:04x}" for byte in key),
    "base64 of hex": lambda key: base64.b64encode(key.hex().encode()).decode(),
}
# Forms that fit into no field of a manifest, or that are only tried where many keys are.
MORE_FORMS: dict[str, Callable[[bytes], str]] = FORMS | {
    "mixed hex": lambda key: "".join(map(RANDOM.choice, ((digit, digit.upper()) for digit in key.hex()))),
    "hex as a path": lambda key: key.hex("/"),
    "0x each": lambda key: ", ".join(f"0x{byte:x}" for byte in key),
    "lines of 64": lambda key: wrapped(base64.b64encode(key).decode(), 64, "\n"),
    "lines of 76": lambda key: wrapped(base64.b64encode(key).decode(), 76, "\r\n"),
    "lines of 76 in JSON": lambda key: wrapped(base64.b64encode(key).decode(), 76, "\\n"),
    "lines of 64, folded by YAML": lambda key: wrapped(base64.b64encode(key).decode(), 64, " "),
    "PEM": lambda key: f"-----BEGIN X-----\n{wrapped(base64.b64encode(key).decode(), 64, chr(10))}\n-----END X-----",
    "base32 without padding": lambda key: base64.b32encode(key).decode().rstrip("="),
    "base32 in small letters": lambda key: base64.b32encode(key).decode().rstrip("=").lower(),
    "a text of Python": repr,
    "a text of JSON": lambda key: json.dumps(key.decode("latin-1")),
    "quoted": quote,
    "quoted base64": lambda key: quote(base64.b64encode(key).decode(), safe=""),
}
# Of 1,000 keys, how many are not hidden at most. Every form and length that is not here: none.
MISSED = {
    16: {"base64 without padding": 20, "base64url without padding": 28, "base32 in small letters": 20,
         "base32 without padding": 4, "a text of Python": 6, "a text of JSON": 20, "quoted": 12},
    24: {"base64 in JSON": 1, "lines of 64, folded by YAML": 1, "PEM": 1, "base32 in small letters": 4,
         "a text of Python": 6, "a text of JSON": 6},
    28: {"a text of Python": 6, "a text of JSON": 6},
    32: {"a text of Python": 6, "a text of JSON": 6},
    48: {"a text of Python": 6, "a text of JSON": 6},
    64: {"a text of Python": 6, "a text of JSON": 6},
}  # fmt: skip
PLACES = ["{}", "file:{}", "file:keys/{}.key", "env:{}", "'{}'", "alias {} .", "key={}", "k.{}", "https://host/{}?x=1",
          "arn:aws:kms:us-east-1:111122223333:key/{}", "BULK_IMPORT_{}", "key_{}", "prod-{}", "x,{}", "{}_v2",
          "{}-prod", "{}/x", "{}=a", "{}.pem"]  # fmt: skip


def wrapped(text: str, width: int, line_break: str) -> str:
    return line_break.join(text[at : at + width] for at in range(0, len(text), width))


def pieces(text: str, length: int = 12) -> set[str]:
    """What must not be seen of a text: every run of 12 characters of it."""
    return {text[at : at + length] for at in range(len(text) - length + 1)}


def seen(text: str, place: str) -> bool:
    """Whether 12 characters of the text are seen, in one line or in as many as the text has."""
    secrets = {piece for line in text.splitlines() if "-----" not in line for piece in pieces(line.replace("\\n", ""))}
    said = shown(place.format(text)) + "\n" + shown_lines(place.format(text))
    return any(piece in said for piece in secrets)


@pytest.mark.parametrize("length", MISSED)
@pytest.mark.parametrize("form", MORE_FORMS)
def test_material_is_hidden_in_any_form(form: str, length: int) -> None:
    """Random keys in each form, behind and before what may stand next to them.

    The rule for base64 and base32 is statistical (random_text.py). Of 200,000 random keys in base64url without padding,
    the worst of the usual forms, it misses 2 % of 16 bytes, 0.06 % of 24 bytes and 0.0015 % (3) of 32 bytes, the length
    of AES_256. In small letters, base32 of 16, 24 and 32 bytes is missed in 4 %, 0.2 % and 0.02 %. Base85 is not found.
    """
    keys = random.Random(f"{form} {length}")  # noqa: S311 - keys of nobody
    missed = [
        place
        for _ in range(1000)
        if (place := keys.choice(PLACES)) and seen(MORE_FORMS[form](keys.randbytes(length)), place)
    ]
    assert len(missed) <= MISSED[length].get(form, 0), missed


def test_every_key_of_one_byte_value_is_hidden_in_hex() -> None:
    for byte in range(256):
        assert shown(f"file:{bytes([byte] * 32).hex()}") == f"file:{HIDDEN}"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_sixteen_bytes_of_base64_are_hidden(encode: Callable[[bytes], bytes]) -> None:
    for _ in range(200):
        text = encode(RANDOM.randbytes(16)).decode()
        for place in (text, quote(text, safe=""), f"env:{text}", f"'{text}' is wrong"):
            assert text[:12] not in shown(place), place


def test_what_a_url_makes_of_material_is_hidden() -> None:
    """Percent-encoded bytes, letters among them; and base64 whose signs are percent-encoded."""
    slashes = bytes.fromhex("65461bca6e1b355d3b2f4ac4ea7d7adad44506a72fc4f3e87805881ce500202e")  # `quote` keeps a /
    for key in [slashes, *(RANDOM.randbytes(32) for _ in range(200))]:
        for text in (quote(key), quote(base64.b64encode(key), safe="")):
            assert HIDDEN in shown(text), text
            assert len(shown(f"s3://bucket/{text}")) < 60, text


@pytest.mark.parametrize(
    "text",
    [
        "it has versions 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
        "s3://bucket/a%20folder/a%20key%20of%20mine",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "mrk-1234abcd12ab34cd56ef1234567890ab",
        "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        "arn:aws:iam::111122223333:role/service-roles/byok/KmsMaterialImporterOfProduction",
        "arn:aws:iam::111122223333:role/me@example.com",
        "alias/payments-production-eu-central-1-primary-hmac-256",
        "keys/production/eu-central-1/payments-2026-q4/hsm-export-primary.key",
        "PAYMENTS_KEY_MATERIAL_PRODUCTION_EU_CENTRAL_1",
        "RSA_AES_KEY_WRAP_SHA_256",
        "XKS_PROXY_URI_USE_IN_USE_BY_HSM",
        "CloudHsmClusterInvalidConfigurationException, KMSInvalidStateException",
        "DE-FRA1-HSM02-SLOT3-PKCS11-KEK-AES256",
        "prd-euc1-pci-hmac512-v02-k8s-rds-s3",
        "https://vpce-0abc123def4567890-x1y2z3a4.kms.us-east-1.vpce.amazonaws.com",
        "arn:aws:sts::111122223333:assumed-role/Importer/i-0abc123def4567890",
        "arn:aws:sts::111122223333:assumed-role/Importer/bulk-import-20261126T072551Z-9f86d0",
        "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_KmsAdmin_9f86d081884c7d65/jane.doe",
        "the request ID is req-9f86d081-884c-4d65-9a2f-eaa0c55ad015",
        "secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:byok/payments-AbCdEf?field=material",
        "pkcs11:token=production;object=payments-hmac-512;type=secret-key",
        "schluesselmaterial-zahlungsverkehr-produktion, kunci_pembayaran_produksi_utama",
        "https://github.com/organization/repository/actions/runs/19876543210/attempts/2",
        "a commit: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "111122223333, 444455556666, 777788889999, 000011112222",
        "2026-06-30T00:00:00Z is more than 365 days ahead",
        "https://gitlab.example.com/group/project/-/jobs/123456789",
        "/builds/group/project/manifests/production.yaml",
        "someone@example.com",
    ],
)
def test_names_stay_readable(text: str) -> None:
    assert shown(text) == text


SECRET_URLS = [
    "https://user:hunter2pass@kms.example/",
    "https://hunter2pass@kms.example/",
    "https://user:hunter2/pass@kms.example/",
    "https://user:hunter2#pass?x@kms.example:8443/path",
    "https://user:hunter2 pass@kms.example/",
    "https://us@er:hunter2pass@kms.example/",
    "https:/user:hunter2pass@kms.example",
    "https//user:hunter2pass@kms.example",
    "//user:hunter2pass@kms.example",
    "user:hunter2pass@kms.example:443",
    "HTTPS://user:hunter2pass@[::1/",
    "socks5h://user:hunter2pass@proxy",
]


@pytest.mark.parametrize("url", SECRET_URLS)
@pytest.mark.parametrize("place", ["{}", "--endpoint-url: '{}' is wrong", "manifest={}"])
def test_the_user_of_a_url_is_hidden_even_where_it_does_not_parse(url: str, place: str) -> None:
    text = shown(place.format(url))
    assert "hunter2" not in text
    assert "user" not in text
    assert "@" in text


# --- the command line -------------------------------------------------------------------------------------------------

FIELDS = ["version", "id", "account", "region", "key_id", "key_spec", "material", "encoding", "key_material_id",
          "wrapping_algorithm", "wrapping_key_spec", "valid_to", "valid_for", "renew_before", "role", "external_id",
          "session_duration", "expect", "expect.kcv", "expect.spki_sha256", "an unknown field", "regions", "accounts",
          "the name of a field", "key_usage", "replicas", "a material's name", "a tag's name", "a tag's value",
          "a description"]  # fmt: skip
# Names and texts that reports, logs and AWS keep in clear: a key is refused there.
IN_CLEAR = ["id", "role", "a material's name", "a tag's name", "a tag's value", "a description"]
GOOD = {
    "id": "one",
    "account": "111122223333",
    "region": "us-east-1",
    "key_id": "alias/one",
    "material": "file:one.key",
}
# The first byte keeps base64 from beginning with /: behind `file:` that would be an absolute path.
KEYS = {form: make(b"\x9d" + RANDOM.randbytes(31)) for form, make in FORMS.items()}


def document(field: str, value: str, shape: str) -> str:
    key: dict[str, object] = dict(GOOD)
    head: dict[str, object] = {"version": 1, "defaults": {"role": "Importer"}}
    if field == "version":
        head["version"] = value
    elif field in ("role", "external_id", "session_duration") and shape in ("json", "yaml"):
        head["defaults"] = {"role": "Importer", field: value}
    elif field == "a material's name":
        key["materials"] = [{"name": value, "material": key.pop("material")}]
    elif field in ("a tag's name", "a tag's value"):
        key["create"] = {"tags": {value: "x"} if field == "a tag's name" else {"Team": value}}
    elif field == "a description":
        key["create"] = {"description": value}
    elif field == "replicas":
        key["replicas"] = [value]
    elif field in ("regions", "accounts"):
        del key[field[:-1]]
        key[field] = [value]
    elif field.startswith("expect."):
        key["expect"] = {field.removeprefix("expect."): value}
    elif field == "the name of a field":
        key[value] = "x"
    else:
        key[field] = value
    if shape == "jsonl":
        return json.dumps({"role": "Importer", **key})
    if shape == "csv":
        row = {"role": "Importer"} | {
            name: str(text) for name, text in key.items() if not isinstance(text, dict | list)
        }
        quoted = ('"' + text.replace('"', '""') + '"' for text in row.values())
        return ",".join('"' + name + '"' for name in row) + "\n" + ",".join(quoted) + "\n"
    return json.dumps({**head, "keys": [key]}, indent=1)


# Every form in one shape, and in every shape those that its syntax may take apart: colons, signs, plain digits.
APART = ("hex", "hex with colons", "base64")
SHAPES = [(form, "json") for form in FORMS] + [(form, shape) for form in APART for shape in ("yaml", "jsonl", "csv")]


@pytest.mark.parametrize(("form", "shape"), SHAPES)
def test_no_field_of_a_manifest_is_quoted_if_it_may_be_a_key(
    form: str, shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.key").write_bytes(RANDOM.randbytes(32))
    for field in FIELDS:
        Path(f"m.{shape}").write_text(document(field, KEYS[form], shape))
        main(["validate", f"m.{shape}", "--material"])  # says all that it says without the option, and more
        said = capsys.readouterr()
        leaked = [piece for piece in pieces(KEYS[form]) if piece in said.out + said.err]
        assert not leaked, (field, said.err)


# The forms that each field's own pattern allows.
@pytest.mark.parametrize("form", ["hex", "HEX", "hex with dashes", "base64url without padding"])
@pytest.mark.parametrize("field", IN_CLEAR)
def test_a_key_in_a_field_that_stays_in_clear_is_refused(
    form: str, field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = random.Random(f"{form} {field}")  # noqa: S311 - keys of nobody. 2 in 1,000 of 28 bytes are not recognised.
    for length in (28, 32, 64):
        key = MORE_FORMS[form](b"\x9d" + keys.randbytes(length - 1))
        Path("m.json").write_text(document(field, key, "json"))
        assert main(["validate", "m.json"]) == 3
        said = capsys.readouterr().err
        assert "looks like key material" in said or len(key) > 128  # too long for an id
        assert key not in said


@pytest.mark.parametrize(
    "name",
    [
        "payments-5d41402abc4b2a76b9719d911017c592",  # MD5, or a UUID without dashes
        "payments-1234abcd-12ab-34cd-56ef-1234567890ab",
        "1234abcd-12ab-34cd-56ef-1234567890ab.0987dcba-09fe-87dc-65ba-ab0987654321",
        "mrk-1234abcd12ab34cd56ef1234567890ab",
        "release-7d4b9c6f5d-x2x9z-in-eu-central-1-of-payments",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",  # a commit
        "Z2VuZXJhdGVkIG5hbWU",
        "prod-eu-central-1-payments-card-numbers-tokenization-service-2026-q4",
        "com.example.PaymentsCardNumberTokenizationServiceEncryptionKeyProvider",
    ],
)
@pytest.mark.parametrize("field", IN_CLEAR)
def test_a_name_that_machines_made_is_no_key(
    name: str, field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.json").write_text(document(field, name, "json"))
    main(["validate", "m.json"])
    assert "looks like key material" not in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMS)
def test_no_option_variable_or_key_of_the_settings_file_is_quoted(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = KEYS[form]
    Path("m.json").write_text(document("encoding", "raw", "json"))
    Path("s.toml").write_text(f'"{key.replace(chr(92), "")}" = 1\n[quota]\n"{key.replace(chr(92), "")}" = "x"\n')
    calls: list[list[str]] = [
        [key],
        ["validate", key],
        ["validate", f"{key}.yaml"],
        ["validate", "m.json", key],
        ["validate", "m.json", f"--{key}"],
        ["report", key],
        ["report", "m.json", "--format", key],
        ["schema", key],
        ["template", key],
        ["iam", "m.json", "--caller-arn", key],
        ["validate", "m.json", "--config", key],
        ["validate", "m.json", "--config", "s.toml"],
    ]
    options = ["role", "external-id", "only-account", "only-region", "only-id", "allow-account", "allow-source",
               "max-targets", "manifest-format", "material-root", "log-level"]  # fmt: skip
    calls += [["validate", "m.json", f"--{option}", key] for option in options]
    calls += [
        ["run", "m.json", f"--{option}", value]
        for option in ("endpoint-url", "sts-region", "reads", "quota", "label", "render", "shard", "prove", "s3-sse",
                       "checkpoint", "deadline", "profile")
        for value in ((key, f"a={key}", f"{key}=a") if form in APART else (f"a={key}",))
    ]  # fmt: skip
    for call in calls:
        main(call)
        said = capsys.readouterr()
        assert not [piece for piece in pieces(key) if piece in said.out + said.err], (call, said.err)
    for setting in ("ROLE", "REPORT", "ONLY_ID", "QUOTA", "LABEL", "READS", key.replace("=", "").replace("\\", "")):
        with monkeypatch.context() as patch:
            patch.setenv(f"BULK_IMPORT_{setting}", key)
            main(["validate", "m.json"])
        said = capsys.readouterr()
        assert not [piece for piece in pieces(key) if piece in said.out + said.err], (setting, said.err)


@pytest.mark.parametrize("url", SECRET_URLS)
def test_no_password_of_a_url_is_shown(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.key").write_bytes(RANDOM.randbytes(32))
    Path("m.json").write_text(document("encoding", "raw", "json"))
    for call in (["validate", url], ["validate", f"{url}.yaml"], ["run", "m.json", "--endpoint-url", url],
                 ["report", url], ["run", "m.json", "--checkpoint", url], ["schema", url]):  # fmt: skip
        main(call)
        said = capsys.readouterr()
        assert "hunter2" not in said.out + said.err, (call, said.err)


def test_a_run_shows_no_key_in_anything_it_writes(sandbox: Sandbox, tmp_path: Path) -> None:
    """The key instead of its file's or variable's name, in the manifest's path, and in a label."""
    work = Workplace(tmp_path, sandbox.url)
    good = materials.make("HMAC_256")
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], good, name="good")
    for number, form in enumerate(FORMS):
        for scheme in ("file", "env"):
            if scheme == "env" and not KEYS[form].replace("_", "").replace("-", "").isalnum():
                continue  # not a name: refused by validate already
            key = sandbox.key(key_spec="HMAC_256")
            work.key(key["key_id"], b"-", name=f"{scheme}{number}")
            work.keys[-1]["material"] = f"{scheme}:{KEYS[form]}"
    for form in ("hex", "HEX", "base64url without padding"):  # behind `alias/`: no such key
        work.key(f"alias/{KEYS[form]}", good, name=f"alias-{form.split()[0]}")
        work.keys[-1]["material"] = "file:good.key"
    folder = tmp_path / KEYS["hex"]
    folder.mkdir()
    manifest = work.write(f"{KEYS['hex']}/{KEYS['base64url']}.json")
    (folder / "good.key").write_bytes(good)
    formats = ["html", "junit", "markdown", "github", "csv"]
    renders = [word for name in formats for word in ("--render", f"{name}=out.{name}")]
    result = work.call(
        "run", str(manifest.relative_to(tmp_path)), "--reads", "1", "--report", "report.json", "--read-interval", "0",
        "--label", f"key={KEYS['base64']}", "--label", f"url={SECRET_URLS[0]}", "--consistency-timeout", "0", *renders,
    )  # fmt: skip
    assert result.code == 4, result.stderr
    assert result.entries["good"]["status"] == "imported"
    assert result.report["run"]["manifest"]["uri"].endswith(f"{HIDDEN}.json")
    written = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir() if path.suffix in (".json", ".jsonl")}
    written |= {f"out.{name}": (tmp_path / f"out.{name}").read_text("utf-8") for name in formats}
    written |= {"stderr": result.stderr, "stdout": result.stdout.decode()}
    for key in (*KEYS.values(), "hunter2"):
        for name, text in written.items():
            assert not [piece for piece in pieces(key, min(12, len(key))) if piece in text], name
