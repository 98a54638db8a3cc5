"""Wrong manifests: each with the exact place, and a message that explains. One mistake gives one problem."""

from __future__ import annotations

import pytest

from bulk_import.errors import ManifestError
from tests.manifest.support import problems, read

A = "111122223333"
HEAD = f"""\
version: 1
defaults: {{role: Importer}}
keys:
  - id: one
    account: {A}
    region: us-east-1
    key_id: alias/one
    material: file:one.key
"""  # a good manifest; its key's fields are on lines 4 to 8, and what is added to it on line 9


def key(**changes: str | None) -> str:
    """HEAD with fields of its key replaced, None: left out; the lines stay where they are."""
    lines = HEAD.splitlines()
    for name, new in changes.items():
        at = next(n for n, line in enumerate(lines) if n > 2 and line.lstrip(" -").startswith(f"{name}:"))
        left_out = "encoding: raw" if name == "id" else "# left out"
        lines[at] = lines[at][:4] + (f"{name}: {new}" if new is not None else left_out)
    return "\n".join(lines) + "\n"


def head(first: str) -> str:
    """HEAD with its second line, the defaults, replaced."""
    return HEAD.replace("defaults: {role: Importer}", first)


CSV = "id,account,region,key_id,material,role\n"
ROW = f"one,{A},us-east-1,alias/one,file:one.key,Importer\n"
LINE = (
    f'{{"id":"one","account":"{A}","region":"us-east-1","key_id":"alias/one","material":"file:one.key","role":"R"}}\n'
)

YAML = [
    # --- accounts
    (key(account="1.11122E+11"), 5, "keys[0].account", "spreadsheet"),
    (key(account="11122223333"), 5, "keys[0].account", "011122223333"),
    (key(account="1111-2222-3333"), 5, "keys[0].account", "without separators: 111122223333"),
    (key(account="'1111222233334'"), 5, "keys[0].account", "12 digits"),
    (key(account="[111122223333]"), 5, "keys[0].account", "must be text, not a list"),
    (key(account=None), 4, "keys[0].account", "is missing"),
    (HEAD + f"    accounts: [{A}]\n", 9, "keys[0].accounts", "cannot be combined with account"),
    (key(account=None) + f"    accounts: [{A}, 2.2E+11]\n", 9, "keys[0].accounts[1]", "spreadsheet"),
    (key(account=None) + f"    accounts: [{A}, {A}]\n", 9, "keys[0].accounts[1]", "named twice"),
    (key(account=None) + "    accounts: []\n", 9, "keys[0].accounts", "empty list"),
    (head("defaults: {role: R}\naccounts: {1.1E+11: {}}"), 3, "accounts.1.1E+11", "spreadsheet"),
    (head("defaults: {role: R}\naccounts: [1]"), 3, "accounts", "must be a mapping, not a list"),
    # --- replicas
    (HEAD + "    replicas: [us-east-1]\n", 9, "keys[0].replicas", "the primary's own Region"),
    (HEAD + "    replicas: [eu-west-1, eu-west-1]\n", 9, "keys[0].replicas[1]", "named twice"),
    (HEAD + "    replicas: [eu-wset-1]\n", 9, "keys[0].replicas[0]", "Did you mean eu-west-1?"),
    (HEAD + "    replicas: []\n", 9, "keys[0].replicas", "empty list"),
    (HEAD + "    replicas: [cn-north-1]\n", 9, "keys[0].replicas", "is of partition aws-cn"),
    (
        key(region=None) + "    regions: [us-east-1, eu-west-1]\n    replicas: [eu-west-2]\n",
        10,
        "keys[0].replicas",
        "several Regions",
    ),
    (key(material="'file:{region}.key'") + "    replicas: [eu-west-1]\n", 8, "keys[0].material", "same material"),
    (
        key(key_id="1234abcd-12ab-34cd-56ef-1234567890ab") + "    replicas: [eu-west-1]\n",
        7,
        "keys[0].key_id",
        "single-Region key",
    ),
    (
        HEAD + "    replicas: [eu-west-1]\n    key_spec: HMAC_256\n    create: {multi_region: false}\n",
        11,
        "keys[0].create.multi_region",
        "the key has replicas",
    ),
    (
        head("defaults: {role: Importer, material: 'file:{region}'}").replace(
            "    material: file:one.key\n", "    replicas: [eu-west-1]\n"
        ),
        4,
        "keys[0].material",
        "same material",
    ),
    # --- Regions
    (key(region="us-esat-1"), 6, "keys[0].region", "Did you mean us-east-1?"),
    (key(region="eu-cental-1"), 6, "keys[0].region", "Did you mean eu-central-1?"),
    (key(region="us-east-1a"), 6, "keys[0].region", "Did you mean us-east-1?"),
    (key(region="Frankfurt"), 6, "keys[0].region", "not a Region"),
    (key(region=None), 4, "keys[0].region", "is missing"),
    (key(region="null"), 6, "keys[0].region", "is missing"),
    (HEAD + "    regions: [us-east-1]\n", 9, "keys[0].regions", "cannot be combined with region"),
    (key(region=None) + "    regions: [us-east-1, us-east-1]\n", 9, "keys[0].regions[1]", "named twice"),
    (key(region=None) + "    regions: [us-east-1, cn-north-1]\n", 9, "keys[0].regions", "of partition aws-cn"),
    (head("defaults: {role: R, regions: [us-east-1, eu-weast-1]}"), 2, "defaults.regions[1]", "not a Region"),
    # --- roles
    (head("defaults: {}"), 5, "keys[0].account", f"account {A} has no role"),
    (head("defaults:"), 5, "keys[0].account", f"account {A} has no role"),
    (head("defaults: {role: 'a b'}"), 2, "defaults.role", "neither a role's name nor a role ARN"),
    (head("defaults: {role: 'arn:aws:iam::444455556666:role/R'}"), 2, "defaults.role", "is of account 444455556666"),
    (head("defaults: {role: 'arn:aws-cn:iam::{account}:role/R'}"), 2, "defaults.role", "is of partition aws-cn"),
    (head("defaults: {role: 'arn:awz:iam::{account}:role/R'}"), 2, "defaults.role", "unknown partition"),
    (head("defaults: {role: 'arn:aws:iam::{account}:user/R'}"), 2, "defaults.role", "neither"),
    (head("defaults: {role: 'arn:aws:iam::{acount}:role/R'}"), 2, "defaults.role", "neither"),
    (HEAD + "    role: Importer\n", 9, "keys[0].role", "belongs to an account, never to a key"),
    (head("defaults: {role: R, external_id: x}"), 2, "defaults.external_id", "2 to 1224"),
    (head("defaults: {role: null, external_id: org-1}"), 2, "defaults.external_id", "no effect without a role"),
    (head("defaults: {role: R, session_duration: 7200}"), 2, "defaults.session_duration", "between 900 and 3600"),
    (head("defaults: {role: R, session_duration: 1h}"), 2, "defaults.session_duration", "900 and 3600"),
    # --- identity of the key
    (key(id="'a b'"), 4, "keys[0].id", "is not an id"),
    (key(id=".a"), 4, "keys[0].id", "is not an id"),
    (key(id="null"), 4, "keys[0].id", "must not be null"),
    (key(id=None), 4, "keys[0].id", "is missing"),
    (key(key_id=None), 4, "keys[0].key_id", "is missing"),
    (key(key_id="alias/aws/s3"), 7, "keys[0].key_id", "AWS managed key"),
    (key(key_id="one"), 7, "keys[0].key_id", "alias/one"),
    (key(key_id="arn:aws:s3:::bucket"), 7, "keys[0].key_id", "another service"),
    (key(key_id=f"arn:aws:kms:us-east-1:{A}:key/x"), 7, "keys[0].key_id", "not the ARN of a KMS key"),
    (key(key_id=f"arn:aws:kms:us-east-1:{A}:alias/aws/ebs"), 7, "keys[0].key_id", "AWS managed key"),
    (key(key_id="arn:aws:kms:us-east-1:444455556666:alias/a"), 7, "keys[0].key_id", "account 444455556666"),
    (key(key_id=f"arn:aws:kms:eu-west-1:{A}:alias/a"), 7, "keys[0].key_id", "Region eu-west-1"),
    (key(key_id=f"arn:aws-cn:kms:us-east-1:{A}:alias/a"), 7, "keys[0].key_id", "partition aws-cn"),
    (key(key_id="'alias/{idd}'"), 7, "keys[0].key_id", "unknown placeholder. Did you mean id?"),
    (key(key_id="'alias/{id'"), 7, "keys[0].key_id", "brace without its partner"),
    (key(id="a.b", key_id="'alias/{id}'"), 7, "keys[0].key_id", "not a valid key ID"),
    (HEAD + HEAD[HEAD.index("  - id") :], 9, "keys[1].id", "already there for account 111122223333 in us-east-1"),
    (head("defaults: {role: R, key_id: alias/a}"), 2, "defaults.key_id", "belongs to a key"),
    (head(f"defaults: {{role: R, account: {A}}}"), 2, "defaults.account", "belongs to a key"),
    # --- material
    (key(material=None), 4, "keys[0].material", "is missing"),
    (key(material="one.key"), 8, "keys[0].material", "not a URI"),
    (key(material="flie:one.key"), 8, "keys[0].material", "Did you mean file?"),
    (key(material="file:../one.key"), 8, "keys[0].material", "leaves the manifest's folder"),
    (key(material="file:a/../../one.key"), 8, "keys[0].material", "leaves the manifest's folder"),
    (key(material="file:/etc/one.key"), 8, "keys[0].material", "absolute path"),
    (key(material="'file:'"), 8, "keys[0].material", "names no file"),
    (key(material="env:A B"), 8, "keys[0].material", "environment variable"),
    (key(material="'file:{acount}.key'"), 8, "keys[0].material", "Did you mean account?"),
    (key(material="'file:}.key'"), 8, "keys[0].material", "brace without its partner"),
    (key(material="[file:a]"), 8, "keys[0].material", "must be text, not a list"),
    # --- specs and check values
    (HEAD + "    key_spec: AES_256\n", 9, "keys[0].key_spec", "AES_256 is not one of"),
    (HEAD + "    key_spec: rsa_4096\n", 9, "keys[0].key_spec", "Did you mean RSA_4096?"),
    (HEAD + "    key_spec: SM2\n", 9, "keys[0].key_spec", "not in this version"),
    (HEAD + "    key_spec: ML_DSA_44\n", 9, "keys[0].key_spec", "KMS imports no key material of this spec"),
    (HEAD + "    encoding: utf8\n", 9, "keys[0].encoding", "Did you mean raw?"),
    (HEAD + "    encoding: xyz\n", 9, "keys[0].encoding", "Allowed: raw, base64, hex, pem"),
    (HEAD + "    wrapping_algorithm: RSAES_PKCS1_V1_5\n", 9, "keys[0].wrapping_algorithm", "2023-10-10"),
    (HEAD + "    wrapping_key_spec: RSA_1024\n", 9, "keys[0].wrapping_key_spec", "not one of"),
    (HEAD + "    expect: {kcv: 08d7b}\n", 9, "keys[0].expect.kcv", "6 hex digits"),
    (HEAD + "    expect: {spki_sha256: 00}\n", 9, "keys[0].expect.spki_sha256", "64 hex digits"),
    (HEAD + "    expect: {}\n", 9, "keys[0].expect", "exactly one"),
    (HEAD + f"    expect:\n      kcv: 08d7b4\n      spki_sha256: {'0' * 64}\n", 9, "keys[0].expect", "exactly one"),
    (HEAD + "    expect:\n      kvc: 08d7b4\n", 10, "keys[0].expect.kvc", "Did you mean kcv?"),
    (HEAD + "    key_material_id: abc\n", 9, "keys[0].key_material_id", "64 hex digits"),
    (
        HEAD + f"    key_spec: HMAC_256\n    key_material_id: {'a' * 64}\n",
        10,
        "keys[0].key_material_id",
        "given with key_spec HMAC_256",
    ),
    # --- expiry
    (HEAD + "    valid_to: 2027-06-30\n", 9, "keys[0].valid_to", "Write 2027-06-30T00:00:00Z"),
    (HEAD + "    valid_to: 2027-06-30T00:00:00\n", 9, "keys[0].valid_to", "has no offset"),
    (HEAD + "    valid_to: 2027-06-30T00:00:00.5Z\n", 9, "keys[0].valid_to", "fractions"),
    (HEAD + "    valid_to: 2027-02-30T00:00:00Z\n", 9, "keys[0].valid_to", "does not exist"),
    (HEAD + "    valid_to: 2027-01-01T24:00:00Z\n", 9, "keys[0].valid_to", "does not exist"),
    (HEAD + "    valid_to: 2027-01-01T00:00:00+25:00\n", 9, "keys[0].valid_to", "does not exist"),
    (HEAD + "    valid_to: 2026-11-23T12:00:00Z\n", 9, "keys[0].valid_to", "in the past"),
    (HEAD + "    valid_to: 2027-11-23T12:00:01Z\n", 9, "keys[0].valid_to", "more than 365 days ahead"),
    (HEAD + "    valid_to: tomorrow\n", 9, "keys[0].valid_to", "is not a date"),
    (HEAD + "    valid_for: 90\n", 9, "keys[0].valid_for", "Did you mean 90d?"),
    (HEAD + "    valid_for: soon\n", 9, "keys[0].valid_for", "12h, 90d, 8w"),
    (HEAD + "    valid_for: 0d\n", 9, "keys[0].valid_for", "is not a duration"),
    (HEAD + "    valid_for: 53w\n", 9, "keys[0].valid_for", "longer than 365d"),
    (HEAD + "    valid_for: 9d\n    valid_to: never\n", 9, "keys[0].valid_for", "cannot be combined with valid_to"),
    (HEAD + "    renew_before: 9d\n", 9, "keys[0].renew_before", "needs valid_for"),
    (HEAD + "    valid_for: 9d\n    renew_before: 9d\n", 10, "keys[0].renew_before", "not smaller than valid_for 9d"),
    (
        head("defaults: {role: R, valid_for: 90d, renew_before: 30d}") + "    valid_for: 30d\n",
        9,
        "keys[0].valid_for",
        "renew_before 30d is not smaller",
    ),
    (head("defaults: {role: R, valid_to: '2020-01-01T00:00:00Z'}"), 2, "defaults.valid_to", "in the past"),
    # --- the document
    (HEAD.replace("version: 1", "version: 2"), 1, "version", "is not 1"),
    (HEAD.replace("version: 1", "# none"), 2, "version", "is missing"),
    (HEAD + "    colour: red\n", 9, "keys[0].colour", "unknown field"),
    (HEAD + "    key_sepc: RSA_2048\n", 9, "keys[0].key_sepc", "Did you mean key_spec?"),
    (HEAD + "    <<: {a: b}\n", 9, "keys[0].<<", "merge keys"),
    (HEAD.replace("keys:", "kees:"), 3, "kees", "Did you mean keys?"),
    (HEAD + "    id: two\n", 9, "keys[0].id", "specified twice; first on line 4"),
    (HEAD + "version: 1\n", 9, "version", "specified twice; first on line 1"),
    (HEAD + "  - text\n", 9, "keys[1]", "must be a mapping, not text"),
    (HEAD + "  -\n", 9, "keys[1]", "must be a mapping, not empty"),
    (HEAD + "    encoding: !!str raw\n", 9, "", "tags"),
    (HEAD + "---\nversion: 1\n", 9, "", "more than one YAML document"),
    (HEAD + "    encoding: *raw\n", 9, "", "anchor that is not there"),
    (HEAD + "    expect: &e {kcv: *e}\n", 9, "", "the collection that contains it"),
    (HEAD + "    ? [a]\n    : b\n", 9, "", "key of a mapping must be text"),
    (HEAD + "   - id: two\n", 9, "", "is not YAML"),
    (HEAD + '    encoding: "raw', 9, "", "is not YAML"),
    (HEAD + "    encoding: \x01\n", 9, "", "character that YAML does not allow"),
    ("version: 1\nkeys: []\n", 2, "keys", "is empty"),
    ("version: 1\nkeys: {a: b}\n", 2, "keys", "must be a list"),
    ("version: 1\n", 1, "keys", "is missing"),
    ("- version: 1\n", 1, "", "is not a mapping"),
    ("# nothing\n", 1, "", "holds no manifest"),
    ("", 0, "", "is empty"),
    (" \n\n", 0, "", "is empty"),
    (HEAD.encode("utf-16"), 1, "", "UTF-16"),
    (HEAD.encode("utf-16-le"), 1, "", "NUL"),
    (HEAD.encode() + b"# \xff\n", 9, "", "not UTF-8"),
    (HEAD.encode() + b"\0", 9, "", "NUL"),
    (HEAD + "    encoding: " + "a" * 70_000, 9, "", "70,000 characters"),
    (HEAD + "    encoding: " + "a" * 5_000_000, 9, "", "a line of more than 1,048,576 bytes"),
    ("[" * 100_000, 1, "", "deep"),
    ("- " * 100_000, 1, "", "deep"),
]

JSON = [
    ('{"version": 1,\n "keys": [', 2, "", "cut off"),
    ('{"version": 1,\n "keys": [],}', 2, "", "is not JSON"),
    ("{'version': 1}", 1, "", "is not JSON"),
    ("version: 1", 1, "", "is not JSON"),
    ('{"version": 1,\n "keys": [],\n "version": 1}', 3, "version", "specified twice; first on line 1"),
    ('{"version": 1,\n "keys":\n [{"id": [\n{"a": 1}]}]}', 3, "keys[0].id", "must be text, not a list"),
    ("[" * 100_000, 1, "", "deep"),
    ("[" * 40 + "]" * 40, 1, "", "deep"),
    ('{"version":1,"keys":[{"id":"' + "a" * 5_000_000 + '"}]}', 1, "", "characters"),
    ("", 0, "", "is empty"),
]

JSONL = [
    (LINE + "\n" + LINE.replace("one", "two")[:-3] + "\n", 3, "", "is not JSON"),
    (LINE + "[]\n", 2, "", "not a JSON object"),
    (LINE + LINE, 2, "id", "already there"),
    (LINE + LINE.replace('"one"', '"two"').replace('"R"', '"S"'), 2, "role", "not what line 1 states"),
    (LINE.replace('"R"', '"R","id":"two"'), 1, "id", "specified twice"),
    (LINE.replace('"R"', '"R","i\\u0064":"two"'), 1, "id", "specified twice"),
    (LINE.replace(f'"{A}"', "1.1E+11"), 1, "account", "1.1E+11"),
    (LINE.replace(f'"{A}"', "11122223333"), 1, "account", "011122223333"),
    (LINE.replace(',"role":"R"', ""), 1, "account", "has no role"),
    (LINE.replace("us-east-1", "us-esat-1"), 1, "region", "us-east-1"),
    (LINE.encode() + b'{"id": "\xff"}\n', 2, "", "not UTF-8"),
    (LINE + '{"id":"' + "a" * 5_000_000 + '"}\n', 2, "", "a line of more than"),
    (LINE + "[" * 100_000 + "\n", 2, "", "deep"),
    (LINE + "{" + '"a":{' * 500 + "}" * 501 + "\n", 2, "", "deep"),
    (LINE.encode("utf-16"), 1, "", "UTF-16"),
    ("\n\n", 0, "", "is empty"),
]

CSVS = [
    (CSV + ROW + "\n" + ROW, 4, "id", "already there"),
    (CSV + ROW + "two,x\n", 3, "", "has 2 cells, but the header has 6 columns"),
    (CSV + ROW.replace("\n", ",more\n"), 2, "", "has 7 cells"),
    (CSV + ROW.replace(A, "1.11122E+11"), 2, "account", "spreadsheet"),
    (CSV + ROW.replace(A, "11122223333"), 2, "account", "011122223333"),
    (CSV + ROW.replace(A, ""), 2, "account", "is missing"),
    (CSV + ROW.replace("Importer", ""), 2, "account", "has no role"),
    (CSV + ROW + ROW.replace("one,", "two,").replace("Importer", "Other"), 3, "role", "not what line 2 states"),
    (CSV + ROW.replace("one,", '"o\n\nne",', 1), 2, "id", "contains a line break"),
    (CSV + ROW.replace("file:one.key", '"file:o\n\nne"') + ROW.replace(A, "1"), 5, "account", "not an account ID"),
    (CSV.replace("role", "rol") + ROW, 1, "rol", "Did you mean role?"),
    (CSV.replace("role", "id") + ROW, 1, "id", "repeats a column"),
    (CSV.replace(",role", ",") + ROW, 1, "", "has no name"),
    (CSV.replace("material", "encoding") + ROW, 1, "material", "has no column"),
    (CSV.replace(",", ";") + ROW.replace(",", ";"), 1, "", "not separated by commas"),
    (CSV + '"one', 2, "", "ends inside a quoted cell"),
    (CSV + 'a"b"c,"x"y\n', 2, "", "is not CSV"),
    (CSV + ROW.replace("alias/one", "x" * 200_000), 2, "", "has a cell of more than 131072 characters"),
    (CSV + ROW + "x" * 5_000_000, 3, "", "a line of more than"),
    (CSV.encode() + b"\xff" + ROW.encode(), 2, "", "not UTF-8"),
    ((CSV + ROW).replace("\n", "\r"), 1, "", "CR alone"),
    (CSV, 0, "", "names no key"),
    ("", 0, "", "is empty"),
]


def _cases() -> list[object]:
    tables = {"yaml": YAML, "json": JSON, "jsonl": JSONL, "csv": CSVS}
    return [
        pytest.param(fmt, *case, id=f"{fmt}-{case[3][:40]}-{n}")
        for fmt, table in tables.items()
        for n, case in enumerate(table)
    ]


@pytest.mark.parametrize(("fmt", "text", "line", "field", "part"), _cases())
def test_place_and_message(fmt: str, text: str | bytes, line: int, field: str, part: str) -> None:
    found = problems(text, fmt)
    first = next((p for p in found if (p.line, p.field) == (line, field)), None)
    assert first is not None, "\n".join(map(str, found))
    assert first.file == "stdin"
    assert part in f"{first.message} {first.advice}"


ALONE = [case for case in YAML if case[3] not in ("Did you mean keys?", "is missing")]


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case[3][:40])
def test_one_mistake_is_one_problem(case: tuple[str | bytes, int, str, str]) -> None:
    assert len(problems(case[0])) == 1, "\n".join(map(str, problems(case[0])))


def test_every_mistake_is_reported_at_once_in_order_of_line() -> None:
    text = key(region="us-esat-1", key_id="one").replace("role: Importer", "role: 'a b', valid_for: 9y")
    text += "    colour: red\n  - id: two\n    account: 1.1E+11\n    key_id: alias/aws/s3\n  - 7\n"
    assert [(p.line, p.field) for p in problems(text)] == [
        (2, "defaults.role"),
        (2, "defaults.valid_for"),
        (6, "keys[0].region"),
        (7, "keys[0].key_id"),
        (9, "keys[0].colour"),
        (11, "keys[1].account"),
        (12, "keys[1].key_id"),
        (13, "keys[2]"),
    ]


def test_a_fan_out_reports_a_mistake_of_its_entry_once() -> None:
    accounts = ", ".join(f"{n:012d}" for n in range(100, 150))
    text = key(account=None, region=None, key_id=f"arn:aws:kms:us-east-1:{A}:alias/a")
    text += f"    accounts: [{accounts}]\n    regions: [us-east-1, eu-west-1]\n"
    assert [(p.line, p.field) for p in problems(text)] == [(7, "keys[0].key_id")]


def test_good_items_of_a_list_are_still_checked() -> None:
    text = key(region=None) + "    regions: [us-esat-1, eu-west-1]\n" + HEAD[HEAD.index("  - id") :]
    text = text.replace("    region: us-east-1\n", "    region: eu-west-1\n")
    assert [p.field for p in problems(text)] == ["keys[0].regions[0]", "keys[1].id"]


SECRET = "c2VjcmV0LWtleS1tYXRlcmlhbC1uZXZlci1zaG93bi4uLi4"


@pytest.mark.parametrize("name", ["material", "key_id", "encoding", "expect", "role", "valid_to", SECRET, "account"])
def test_a_pasted_secret_is_never_quoted(name: str) -> None:
    text = key(**{name: SECRET}) if name in ("material", "key_id", "account") else HEAD + f"    {name}: {SECRET}\n"
    assert SECRET not in "\n".join(map(str, problems(text)))


def test_many_problems_are_held_but_not_all_shown() -> None:
    with pytest.raises(ManifestError) as caught:
        read(CSV + ROW.replace(A, "1") * 1000, "csv")
    assert len(caught.value.problems) == 1000
    shown = str(caught.value).splitlines()
    assert (len(shown), shown[-1]) == (101, "… and 900 more problems.")
