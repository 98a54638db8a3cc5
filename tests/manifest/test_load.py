"""What a good manifest becomes: inheritance, fan-out, placeholders, access, expiry, selection, guards."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulk_import.errors import ManifestError, Problem
from bulk_import.manifest import load
from bulk_import.model import NEVER, Encoding, Expect, Expiry, KeySpec, Lane, Manifest, Target, WrappingKeySpec
from tests.manifest.support import NOW, problems, read

A, B, C = "111122223333", "044455556666", "777788889999"


def document(keys: str, defaults: str = "{role: R}", accounts: str = "{}") -> str:
    return f"version: 1\ndefaults: {defaults}\naccounts: {accounts}\nkeys:\n{keys}"


def entry(**fields: str) -> str:
    """One key in YAML's flow form; `one` in A, us-east-1 unless said otherwise. An empty text: left out."""
    known = {"id": "one", "account": A, "region": "us-east-1", "key_id": "alias/one", "material": "file:one.key"}
    stated = ", ".join(f"{name}: {value}" for name, value in {**known, **fields}.items() if value)
    return f"  - {{{stated}}}\n"


def lanes(manifest: Manifest) -> list[str]:
    return [str(target.lane) for target in manifest.targets]


# --- values ---


def test_everything_that_a_key_may_say() -> None:
    text = document(
        entry(
            key_spec="SYMMETRIC_DEFAULT",
            key_material_id="AB" * 32,
            encoding="hex",
            expect="{kcv: 08D7B4}",
            wrapping_algorithm="null",
            wrapping_key_spec="RSA_3072",
            valid_for="90d",
            renew_before="2w",
        )
    )
    assert read(text).targets == (
        Target(
            index=0,
            id="one",
            lane=Lane("aws", A, "us-east-1"),
            key_id="alias/one",
            material="file:one.key",
            encoding=Encoding.HEX,
            key_spec=KeySpec.SYMMETRIC_DEFAULT,
            key_material_id="ab" * 32,
            expect=Expect(kcv="08d7b4"),
            wrapping_key_spec=WrappingKeySpec.RSA_3072,
            expiry=Expiry(valid_for=timedelta(days=90), renew_before=timedelta(weeks=2)),
            line=5,
        ),
    )


@pytest.mark.parametrize("account", [B, f"'{B}'", f'"{B}"'])
def test_scalars_are_the_text_that_was_written(account: str) -> None:
    target = read(document(entry(account=account, id="010", key_id="alias/yes", expect="{kcv: 012345}"))).targets[0]
    assert (target.lane.account, target.id, target.expect) == (B, "010", Expect(kcv="012345"))


@pytest.mark.parametrize(
    "key_id",
    [
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "mrk-1234abcd12ab34cd56ef1234567890ab",
        "alias/a/b_c-d",
        f"arn:aws:kms:us-east-1:{A}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        f"arn:aws:kms:us-east-1:{A}:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        f"arn:aws:kms:us-east-1:{A}:alias/one",
    ],
)
def test_every_form_of_key_id(key_id: str) -> None:
    assert read(document(entry(key_id=f"'{key_id}'"))).targets[0].key_id == key_id


def test_json_is_read_as_json() -> None:
    text = (
        '\t{"version": 1, "defaults": {"role": null}, "keys":[{"id":"\\u006fne", "account": 111122223333,'
        '"region":"us-east-1","key_id":"alias\\/one","material":"file:\\ud83d\\udd11.key", "valid_to":null}]}'
    )
    for fmt in ("json", "yaml"):  # stdin without a format is YAML, of which JSON is a subset
        target = read(text, fmt).targets[0]
        assert (target.id, target.lane.account, target.key_id, target.material) == (
            "one",
            A,
            "alias/one",
            "file:🔑.key",
        )


def test_anchors_and_aliases_repeat_what_they_name() -> None:
    keys = f"  - &k {{id: one, account: &a {A}, region: us-east-1, key_id: alias/one, material: file:a}}\n"
    manifest = read(
        document(keys + "  - {id: two, account: *a, region: us-east-1, key_id: alias/b, material: file:b}\n")
    )
    assert [str(target) for target in manifest.targets] == [f"one in {A}/us-east-1", f"two in {A}/us-east-1"]


# --- inheritance, fan-out, placeholders ---


def test_fan_out_is_accounts_outer_regions_inner_in_the_order_listed() -> None:
    key = entry(account="", accounts=f"[{C}, {A}]", region="", regions="[us-west-2, eu-west-1]")
    assert lanes(read(document(key))) == [f"{C}/us-west-2", f"{C}/eu-west-1", f"{A}/us-west-2", f"{A}/eu-west-1"]


def test_the_nearest_regions_win() -> None:
    keys = entry(region="", account="", accounts=f"[{A}, {B}]") + entry(id="two", key_id="alias/two")
    text = document(keys, "{role: R, region: eu-west-1}", f'{{"{A}": {{regions: [ca-west-1, us-east-2]}}}}')
    assert lanes(read(text)) == [f"{A}/ca-west-1", f"{A}/us-east-2", f"{B}/eu-west-1", f"{A}/us-east-1"]


def test_nearest_wins_field_by_field_and_null_overrides() -> None:
    defaults = "{role: R, key_spec: RSA_2048, encoding: pem, wrapping_key_spec: RSA_2048, material: 'file:{id}'}"
    accounts = f'{{"{A}": {{key_spec: RSA_3072, wrapping_key_spec: null}}}}'
    keys = entry(material="") + entry(id="two", encoding="null", key_spec="null") + entry(id="three", account=B)
    one, two, three = read(document(keys, defaults, accounts)).targets
    assert (one.key_spec, one.encoding, one.material) == (KeySpec.RSA_3072, Encoding.PEM, "file:one")
    assert (two.key_spec, two.encoding, two.material) == (None, None, "file:one.key")
    assert (three.key_spec, three.wrapping_key_spec) == (KeySpec.RSA_2048, WrappingKeySpec.RSA_2048)
    assert one.wrapping_key_spec is WrappingKeySpec.RSA_4096


def test_placeholders() -> None:
    key = entry(
        region="us-gov-west-1",
        key_id="'arn:{partition}:kms:{region}:{account}:alias/{id}'",
        material="'file:{{{id}}}/{account}/{region}/{partition}.key'",
    )
    target = read(document(key)).targets[0]
    assert target.key_id == f"arn:aws-us-gov:kms:us-gov-west-1:{A}:alias/one"
    assert target.material == f"file:{{one}}/{A}/us-gov-west-1/aws-us-gov.key"


def test_a_dotted_path_that_stays_inside_is_allowed() -> None:
    assert read(document(entry(material="file:a/../b..c/one.key"))).targets[0].material == "file:a/../b..c/one.key"


# --- access ---


def access(text: str, account: str = A, **options: str) -> tuple[str | None, str | None, int]:
    found = read(text, **options).accounts[account]
    return found.role_arn, found.external_id, found.session_duration


def test_roles_become_arns_of_the_partition() -> None:
    for role in ("byok/Importer", "/byok/Importer", "'arn:{partition}:iam::{account}:role/byok/Importer'"):
        text = document(entry(region="cn-north-1"), f"{{role: {role}, session_duration: 900}}")
        assert access(text) == (f"arn:aws-cn:iam::{A}:role/byok/Importer", None, 900)


def test_an_accounts_own_statement_is_nearer_than_defaults() -> None:
    text = document(
        entry(account="", accounts=f"[{A}, {B}, {C}]"),
        "{role: R, external_id: all}",
        f'{{"{A}": {{role: S, external_id: mine}}, "{B}": {{external_id: null}}, "{C}": {{role: null}}}}',
    )
    assert access(text, A) == (f"arn:aws:iam::{A}:role/S", "mine", 3600)
    assert access(text, B) == (f"arn:aws:iam::{B}:role/R", None, 3600)
    assert access(text, C) == (None, None, 3600)


def test_role_option_serves_accounts_without_a_statement_and_leaves_null_alone() -> None:
    text = document(entry(account="", accounts=f"[{A}, {B}]"), "{}", f'{{"{B}": {{role: null}}}}')
    assert access(text, A, role="Given", external_id="ext") == (f"arn:aws:iam::{A}:role/Given", "ext", 3600)
    assert access(text, B, role="Given", external_id="ext") == (None, None, 3600)


@pytest.mark.parametrize(("option", "value"), [("role", "a b"), ("external_id", "x")])
def test_a_wrong_option_is_named(option: str, value: str) -> None:
    (problem,) = problems(document(entry()), **{option: value})
    assert problem.file == "--" + option.replace("_", "-")


def test_rows_say_their_accounts_access_once_or_more() -> None:
    text = (
        "id,account,region,key_id,material,role,external_id\n"
        f"one,{A},us-east-1,alias/one,file:one,,\n"
        f"two,{A},us-east-1,alias/two,file:two,R,ext\n"
        f"three,{C},us-east-1,alias/three,file:three,null,\n"
    )
    manifest = read(text, "csv")
    assert manifest.accounts[A].role_arn == f"arn:aws:iam::{A}:role/R"
    assert manifest.accounts[A].external_id == "ext"
    assert manifest.accounts[C].role_arn is None


# --- expiry ---

AT = "2027-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("defaults", "own", "expected"),
    [
        ("", "", NEVER),
        ("", f"valid_to: {AT}", Expiry(valid_to=datetime(2027, 1, 1, tzinfo=UTC))),
        ("", "valid_to: 2027-01-01T02:00:00+02:00", Expiry(valid_to=datetime(2027, 1, 1, tzinfo=UTC))),
        ("", "valid_to: never", NEVER),
        ("", "valid_for: 52w", Expiry(valid_for=timedelta(days=364))),
        ("valid_for: 90d", f"valid_to: {AT}", Expiry(valid_to=datetime(2027, 1, 1, tzinfo=UTC))),
        (f"valid_to: {AT}", "valid_for: 12h", Expiry(valid_for=timedelta(hours=12))),
        ("valid_for: 90d", "valid_for: null", NEVER),
        ("valid_for: 90d", "valid_to: null", NEVER),
        ("valid_for: 90d, renew_before: 9d", f"valid_to: {AT}", Expiry(valid_to=datetime(2027, 1, 1, tzinfo=UTC))),
        ("valid_for: 90d, renew_before: 9d", "valid_to: never", NEVER),
        ("valid_for: 90d, renew_before: 9d", "valid_for: 10d", Expiry(None, timedelta(10), timedelta(9))),
        ("valid_for: 90d", "renew_before: 9d", Expiry(None, timedelta(90), timedelta(9))),
        ("valid_for: 90d, renew_before: 9d", "renew_before: null", Expiry(valid_for=timedelta(90))),
    ],
)
def test_expiry_is_one_setting(defaults: str, own: str, expected: Expiry) -> None:
    name, _, value = own.partition(": ")
    fields = {name: value} if own else {}
    assert read(document(entry(**fields), f"{{role: R, {defaults}}}")).targets[0].expiry == expected


def test_dates_are_not_judged_for_those_who_only_look() -> None:
    text = document(entry(valid_to="2020-01-01T00:00:00Z"))
    assert read(text, check_dates=False).targets[0].expiry.valid_to == datetime(2020, 1, 1, tzinfo=UTC)
    assert problems(text)[0].field == "keys[0].valid_to"


# --- selection and guards ---

MANY = document(
    entry(account="", accounts=f"[{A}, {B}]", region="", regions="[us-east-1, eu-west-1]")
    + entry(id="two", key_id="alias/two", account=C)
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"only_accounts": [C]}, [f"{C}/us-east-1"]),
        ({"only_accounts": [C, A]}, [f"{A}/us-east-1", f"{A}/eu-west-1", f"{C}/us-east-1"]),
        ({"only_accounts": [A, B], "only_regions": ["eu-west-1"]}, [f"{A}/eu-west-1", f"{B}/eu-west-1"]),
        ({"only_ids": ["two"]}, [f"{C}/us-east-1"]),
    ],
)
def test_selection(options: dict[str, list[str]], expected: list[str]) -> None:
    manifest = read(MANY, **options)
    assert lanes(manifest) == expected
    assert [target.index for target in manifest.targets] == list(range(len(expected)))
    assert manifest.total == 5
    assert set(manifest.accounts) == {target.lane.account for target in manifest.targets}


@pytest.mark.parametrize(
    ("options", "file", "part"),
    [
        ({"only_accounts": ["111122223334"]}, "--only-account", f"Did you mean {A}?"),
        ({"only_regions": ["us-east-2"]}, "--only-region", "Did you mean us-east-1?"),
        ({"only_ids": ["tow"]}, "--only-id", "Did you mean two?"),
        ({"only_ids": ["two"], "only_regions": ["eu-west-1"]}, "stdin", "no target is selected"),
        ({"max_targets": 4}, "stdin", "5 targets are selected; --max-targets allows 4"),
        ({"allow_accounts": [A, C]}, "stdin", f"account {B} is not allowed"),
    ],
)
def test_guards(options: dict[str, object], file: str, part: str) -> None:
    (problem,) = problems(MANY, **options)
    assert problem.file == file
    assert part in str(problem)


def test_max_targets_counts_what_is_selected() -> None:
    assert len(read(MANY, only_ids=["two"], max_targets=1, allow_accounts=[A, B, C]).targets) == 1


def test_an_account_that_no_key_uses_must_be_allowed_too() -> None:
    (problem,) = problems(document(entry(), accounts=f'{{"{B}": {{}}}}'), allow_accounts=[A])
    assert (problem.line, problem.field) == (3, f"accounts.{B}")


# --- checks handed in ---


def test_checks_see_every_target_and_their_findings_stand_at_the_entry() -> None:
    seen: list[str] = []

    def check(target: Target) -> Iterator[Problem | tuple[str, str, str]]:
        seen.append(str(target.lane))
        yield "expect.kcv", "does not fit.", "Mend it."
        yield Problem("", 0, "wrapping_algorithm", "is too weak.", "")

    text = document(
        "  - {id: zero,\n     expect: {kcv: '000000'},\n" + entry(region="", regions="[us-east-1, eu-west-1]")[5:]
    )
    text = text.replace("id: one, ", "")
    assert problems(text, checks=[check]) == (
        Problem("stdin", 5, "keys[0].wrapping_algorithm", "is too weak.", ""),
        Problem("stdin", 6, "keys[0].expect.kcv", "does not fit.", "Mend it."),
    )
    assert seen == [f"{A}/us-east-1", f"{A}/eu-west-1"]


# --- where it comes from ---


def test_a_path_tells_format_folder_and_hash(tmp_path: Path) -> None:
    text = document(entry()).encode()
    for name in ("a.yaml", "a.YML"):
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + text)
        manifest = load(str(path), now=NOW)
        assert manifest.folder == str(tmp_path)
        assert manifest.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert manifest.uri == str(path)
    assert load(str(path), now=NOW, material_root=str(tmp_path.parent)).folder == str(tmp_path.parent)


def test_stdin_is_yaml_and_has_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    text = document(entry()).encode()
    assert load("-", stdin=io.BytesIO(text), now=NOW).folder is None
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert len(load("-", now=NOW).targets) == 1


def test_bytes_already_fetched_keep_their_uri() -> None:
    manifest = load("s3://bucket/key.yaml", data=document(entry()).encode(), now=NOW)
    assert (manifest.uri, manifest.folder) == ("s3://bucket/key.yaml", None)


@pytest.mark.parametrize(
    ("uri", "options", "part"),
    [
        ("none.yaml", {}, "does not exist"),
        ("folder.yaml", {}, "is a folder"),
        ("keys.txt", {}, "--manifest-format"),
        ("keys", {}, "does not show its format"),
        ("-", {"manifest_format": "jsn"}, "Did you mean json?"),
        ("s3://bucket/key.yaml", {}, "s3:// cannot be read"),
        ("https://host/key.yaml", {}, "https:// cannot be read"),
        ("a\0b.yaml", {}, "cannot be read"),
        ("none.yaml", {"material_root": "none"}, "is not a folder"),
    ],
)
def test_nothing_to_read(
    uri: str, options: dict[str, str], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.yaml").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError) as caught:
        load(uri, now=NOW, **options)
    assert part in str(caught.value)


def test_csv_reads_bom_quotes_blank_lines_and_lists() -> None:
    text = (
        "\ufeffid,accounts,regions,key_id,material,role,expect.kcv,encoding\r\n"
        f'one,"{A};{B}",us-east-1; eu-west-1,alias/one,"file:a,""b"".key",R,08D7B4,\r\n'
        "\r\n,,,,,,,\r\n"
        f"two,{C},us-east-1,alias/two,file:b,R,,hex\r\n"
    )
    manifest = read(text, "csv")
    assert lanes(manifest) == [
        f"{A}/us-east-1",
        f"{A}/eu-west-1",
        f"{B}/us-east-1",
        f"{B}/eu-west-1",
        f"{C}/us-east-1",
    ]
    first, last = manifest.targets[0], manifest.targets[-1]
    assert (first.material, first.expect, first.encoding, first.line) == ('file:a,"b".key', Expect("08d7b4"), None, 2)
    assert (last.encoding, last.line) == (Encoding.HEX, 5)


def test_replicas_are_targets_after_their_primary() -> None:
    document = """
version: 1
defaults: {role: Importer, region: us-east-1, replicas: [eu-west-1, ap-south-1]}
keys:
  - {id: a, account: "111122223333", key_id: "alias/a-{region}", material: "file:{{region}}{id}"}
  - {id: b, account: "111122223333", key_id: "arn:aws:kms:us-east-1:111122223333:alias/b", material: file:b}
  - {id: c, account: "111122223333", key_id: alias/c, replicas: null, material: "file:{region}"}
"""
    targets = read(document).targets
    assert [(t.index, t.id, t.lane.region) for t in targets] == [
        (0, "a", "us-east-1"), (1, "a", "eu-west-1"), (2, "a", "ap-south-1"),
        (3, "b", "us-east-1"), (4, "b", "eu-west-1"), (5, "b", "ap-south-1"),
        (6, "c", "us-east-1"),
    ]  # fmt: skip
    assert [t.replicas for t in targets[::3]] == [("eu-west-1", "ap-south-1")] * 2 + [()]
    assert [t.primary and (t.primary.lane.region, t.primary.key_id) for t in targets[:3]] == [
        None, ("us-east-1", "alias/a-us-east-1"), ("us-east-1", "alias/a-us-east-1"),
    ]  # fmt: skip
    assert [t.key_id for t in targets[1:5:3]] == ["alias/a-eu-west-1", "arn:aws:kms:eu-west-1:111122223333:alias/b"]
    assert {t.material for t in targets[:3]} == {"file:{region}a"}
    chosen = read(document, only_regions=["eu-west-1"]).targets
    assert [(t.index, t.id) for t in chosen] == [(0, "a"), (1, "b")]
    header = "id,account,region,replicas,key_id,material,role\n"
    row = "a,111122223333,us-east-1,eu-west-1;ap-south-1,alias/a,file:a,R\n"
    assert [t.lane.region for t in read(header + row, "csv").targets] == ["us-east-1", "eu-west-1", "ap-south-1"]
