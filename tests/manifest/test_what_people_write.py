"""Other names for KMS's values, characters that nobody sees, and lines that show a reviewer something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_import.errors import ManifestError, Problem
from bulk_import.manifest.meant import meant
from bulk_import.model import Encoding, KeySpec, WrappingAlgorithm, WrappingKeySpec
from bulk_import.model.target import Manifest
from tests.manifest.support import read
from tests.test_cli_wrong_input import GOOD as YAML

A = "111122223333"
ROW = {"id": "one", "account": A, "region": "us-east-1", "key_id": "alias/one", "material": "file:k", "role": "R"}


def load_path(path: Path) -> Manifest:
    return read(path.read_bytes(), path.suffix[1:])


def problems(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(ManifestError) as caught:
        load_path(path)
    return caught.value.problems


def of_json(folder: Path, **fields: object) -> Problem:
    path = folder / "m.jsonl"
    path.write_text(json.dumps(ROW | fields))
    (problem,) = problems(path)
    return problem


MEANINGS = [
    ("key_spec", "AES_256", "SYMMETRIC_DEFAULT"),
    ("key_spec", "aes-256-gcm", "SYMMETRIC_DEFAULT"),
    ("key_spec", "HMAC_SHA256", "HMAC_256"),
    ("key_spec", "hmac-sha-512", "HMAC_512"),
    ("key_spec", "RSA2048", "RSA_2048"),
    ("key_spec", "rsa-4096", "RSA_4096"),
    ("key_spec", "secp256r1", "ECC_NIST_P256"),
    ("key_spec", "prime256v1", "ECC_NIST_P256"),
    ("key_spec", "P-256", "ECC_NIST_P256"),
    ("key_spec", "ES384", "ECC_NIST_P384"),
    ("key_spec", "secp521r1", "ECC_NIST_P521"),
    ("key_spec", "secp256k1", "ECC_SECG_P256K1"),
    ("key_spec", "Ed25519", "ECC_NIST_EDWARDS25519"),
    ("wrapping_algorithm", "RSA-OAEP-256", "RSAES_OAEP_SHA_256"),
    ("wrapping_algorithm", "CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_SHA_256"),
    ("wrapping_algorithm", "RSA-OAEP", "RSAES_OAEP_SHA_1"),
    ("wrapping_key_spec", "4096", "RSA_4096"),
    ("encoding", "b64", "base64"),
    ("encoding", "base16", "hex"),
    ("encoding", "utf-8", "raw"),
    ("encoding", "der", "raw"),
    ("region", "Frankfurt", "eu-central-1"),
    ("region", "US East (N. Virginia)", "us-east-1"),
    ("region", "euw2", "eu-west-2"),
    ("region", "us-east-1a", "us-east-1"),
    ("valid_to", "KEY_MATERIAL_DOES_NOT_EXPIRE", "never"),
    ("valid_to", "30.06.2027", "2027-06-30T00:00:00Z"),
    ("valid_for", "90 days", "90d"),
    ("valid_for", "P90D", "90d"),
    ("valid_for", "30", "30d"),
]


@pytest.mark.parametrize(("field", "written", "wanted"), MEANINGS)
def test_the_advice_follows_the_meaning(field: str, written: str, wanted: str, tmp_path: Path) -> None:
    problem = of_json(tmp_path, **{field: written})
    assert problem.field == field
    assert wanted in problem.advice


@pytest.mark.parametrize(
    ("field", "wanted"),
    [("kms_key_id", "key_id"), ("keyArn", "key_id"), ("accountId", "account"), ("aws_region", "region"),
     ("name", "id"), ("source", "material"), ("KeySpec", "key_spec"), ("expires", "valid_to"), ("ttl", "valid_for"),
     ("role_arn", "role"), ("ExternalId", "external_id"), ("format", "encoding"), ("kcv", "expect")],
)  # fmt: skip
def test_a_field_of_another_system_is_understood(field: str, wanted: str, tmp_path: Path) -> None:
    assert f"Did you mean {wanted}?" in of_json(tmp_path, **{field: "x"}).advice
    path = tmp_path / "m.csv"
    path.write_text(",".join([*ROW, field]) + "\n" + ",".join([*ROW.values(), "x"]) + "\n")
    (problem,) = problems(path)
    advice = problem.advice
    assert wanted in advice


def test_every_meaning_is_a_value_of_kms() -> None:
    for field, kind in (("key_spec", KeySpec), ("wrapping_algorithm", WrappingAlgorithm),
                        ("wrapping_key_spec", WrappingKeySpec), ("encoding", Encoding)):  # fmt: skip
        for value in kind:
            assert meant(field, value) in ("", value)
    assert meant("key_spec", "nonsense") == ""


BLEMISHES = {
    "\u00a0": "no-break space",
    "\u200b": "zero-width",
    "\u2060": "zero-width",
    "\ufeff": "byte order mark",
    "\u201c": "curly quote",
    "\u2019": "curly quote",
    "\u2011": "not the ASCII hyphen",
    "\t": "a tab",
    "\u00ad": "soft hyphen",
}
SPOILT = ["id", "account", "region", "key_id", "role", "key_spec", "encoding", "valid_to", "valid_for", "external_id"]
RIGHT = ROW | {"key_spec": "HMAC_256", "encoding": "raw", "valid_to": "never", "valid_for": "90d", "external_id": "ab"}


@pytest.mark.parametrize("field", SPOILT)
@pytest.mark.parametrize("character", BLEMISHES)
def test_a_character_that_nobody_sees_is_named(field: str, character: str, tmp_path: Path) -> None:
    right = RIGHT[field]
    for value in (right + character, character + right, right[:1] + character + right[1:]):
        problem = of_json(tmp_path, **{field: value})
        assert BLEMISHES[character] in problem.message, problem
        assert character not in str(problem)


@pytest.mark.parametrize("field", SPOILT)
@pytest.mark.parametrize(("value", "says"), [(" {}", "begins with a blank"), ("{} ", "ends with a blank"),
                                             ('"{}"', "quotes inside"), ("'{}'", "quotes inside")])  # fmt: skip
@pytest.mark.parametrize("shape", ["jsonl", "csv"])
def test_blanks_and_quotes_of_a_cell_are_named(field: str, value: str, says: str, shape: str, tmp_path: Path) -> None:
    row = ROW | {field: value.format(RIGHT[field])}
    path = tmp_path / f"m.{shape}"
    if shape == "jsonl":
        path.write_text(json.dumps(row))
    else:
        cells = ('"' + cell.replace('"', '""') + '"' for cell in row.values())
        path.write_text(",".join(row) + "\n" + ",".join(cells) + "\n")
    (problem,) = problems(path)
    assert says in problem.message


@pytest.mark.parametrize("line", ["sep=,", "sep=;", "SEP=\t", '"sep=,"'])
def test_a_line_for_excel_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(line + "\n" + ",".join(ROW) + "\n" + ",".join(ROW.values()) + "\n")
    assert "only Excel understands" in problems(path)[0].message


@pytest.mark.parametrize("account", ['="111122223333"', "=111122223333"])
def test_a_formula_for_an_account_is_named(account: str, tmp_path: Path) -> None:
    assert "formula" in of_json(tmp_path, account=account).message


# --- what a reviewer sees as one line

ENDS = ["\u2028", "\u2029", "\x85", "\r"]
REORDER = ["\u202e", "\u2066", "\u200f", "\u061c"]


@pytest.mark.parametrize("character", [*ENDS, *REORDER])
@pytest.mark.parametrize(
    "hidden",
    [
        "# reviewed{}    valid_for: 90d",
        "    encoding: raw  # as agreed{}    valid_for: 90d",
        "    expect: {{kcv: 08d7b4,{} }}",
        "    encoding: raw{}  # x",
        "    # {} x",
    ],
)
def test_a_comment_cannot_hide_a_field(character: str, hidden: str, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes((YAML + hidden.format(character) + "\n").encode())
    (problem,) = problems(path)
    assert problem.line == 9
    assert ("CR" if character == "\r" else f"U+{ord(character):04X}") in problem.message
    assert character not in str(problem)


@pytest.mark.parametrize("character", REORDER)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_not_even_quotes_may_reorder_a_line(character: str, quote: str, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(YAML.replace("file:one.key", f"{quote}file:one{character}.key{quote}"))
    assert f"U+{ord(character):04X}" in problems(path)[0].message


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"])
def test_quotes_may_hold_what_ends_a_line(character: str, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("# Käse \U0001f9c0 before it\n" + YAML.replace("file:one.key", f'"file:one{character}.key"'))
    assert len(load_path(path).targets) == 1


def test_line_ends_of_windows_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(YAML.replace("\n", "\r\n").encode())
    assert len(load_path(path).targets) == 1


@pytest.mark.parametrize("character", ["\u2028", "\u202e", "\x85", "\x0b"])
@pytest.mark.parametrize("shape", ["jsonl", "json", "csv"])
def test_nor_can_a_row_or_a_json_text(character: str, shape: str, tmp_path: Path) -> None:
    row = ROW | {"material": f"file:a{character}b"}
    path = tmp_path / f"m.{shape}"
    text = json.dumps(row, ensure_ascii=False)
    if shape == "json":
        text = json.dumps({"version": 1, "keys": [ROW]}).replace('"keys":', f'"keys":{character}')
    if shape == "csv":
        text = ",".join(row) + "\n" + ",".join(row.values())
    path.write_text(text + "\n")
    assert problems(path)


ARN = "arn:aws:iam::{account}:role/"
WILD = ["byok/*", "*", "Imp*", "byok/?/Importer", "*/Importer", "$x/Importer", f"{ARN}*/Importer", f"{ARN}team-?/R"]


@pytest.mark.parametrize("role", WILD)
def test_no_wildcard_reaches_a_policy(role: str, tmp_path: Path) -> None:
    problem = of_json(tmp_path, role=role)
    assert problem.field == "role"
    assert "wildcard" in problem.message
