"""Properties: any format gives the same targets, in the manifest's order; no bytes give anything but ManifestError."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bulk_import.errors import ManifestError
from bulk_import.manifest.problems import Findings
from bulk_import.manifest.read import Format
from bulk_import.manifest.yaml_nodes import MAX_DEPTH, read_yaml
from tests.manifest.support import read

ACCOUNTS = ["111122223333", "000000000017", "444455556666"]
REGIONS = ["us-east-1", "eu-west-1", "ap-southeast-4"]
lists = {
    "accounts": st.lists(st.sampled_from(ACCOUNTS), min_size=1, unique=True),
    "regions": st.lists(st.sampled_from(REGIONS), min_size=1, unique=True),
}


@st.composite
def keys(draw: st.DrawFn) -> dict[str, Any]:
    """One entry without its id."""
    name = draw(st.text("abz/_-", min_size=1, max_size=5))
    key: dict[str, Any] = {"key_id": f"alias/{name}"}
    key |= (
        {"accounts": draw(lists["accounts"])} if draw(st.booleans()) else {"account": draw(st.sampled_from(ACCOUNTS))}
    )
    key |= {"regions": draw(lists["regions"])} if draw(st.booleans()) else {"region": draw(st.sampled_from(REGIONS))}
    path = draw(st.text(st.characters(exclude_characters="{}/", exclude_categories=["C", "Z"]), min_size=1, max_size=8))
    key["material"] = f"file:k{path}" + draw(st.sampled_from(["", "-{id}", "/{account}/{{x}}"]))
    optional = {
        "key_spec": st.sampled_from(["SYMMETRIC_DEFAULT", "HMAC_256", "ECC_NIST_P256"]),
        "encoding": st.sampled_from(["raw", "base64", "hex", "pem"]),
        "expect": st.sampled_from([{"kcv": "08d7b4"}, {"kcv": "000000"}, {"spki_sha256": "ab" * 32}]),
        "valid_for": st.sampled_from(["12h", "90d", "8w"]),
    }
    for name in draw(st.sets(st.sampled_from(sorted(optional)))):
        key[name] = draw(optional[name])
    return key


def as_jsonl(entries: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(entry | {"role": "R"}) + "\n" for entry in entries)


def as_csv(entries: list[dict[str, Any]]) -> str:
    rows = []
    for entry in entries:
        row = {name: ";".join(value) if isinstance(value, list) else value for name, value in entry.items()}
        row |= {f"expect.{name}": value for name, value in row.pop("expect", {}).items()}
        rows.append(row | {"role": "R"})
    columns = ["id", "account", "accounts", "region", "regions", "key_id", "material", "role"]
    columns += sorted({name for row in rows for name in row} - set(columns))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@given(st.lists(keys(), min_size=1, max_size=4))
def test_every_format_gives_the_same_targets_in_the_manifests_order(entries: list[dict[str, Any]]) -> None:
    entries = [{"id": f"k{n}", **entry} for n, entry in enumerate(entries)]
    document = {"version": 1, "defaults": {"role": "R"}, "keys": entries}
    forms = {
        "yaml": yaml.safe_dump(document, sort_keys=False, allow_unicode=True),
        "json": json.dumps(document),
        "jsonl": as_jsonl(entries),
        "csv": as_csv(entries),
    }
    manifests = {name: read(text, name) for name, text in forms.items()}
    expected = [
        (entry["id"], account, region)
        for entry in entries
        for account in entry.get("accounts") or [entry["account"]]
        for region in entry.get("regions") or [entry["region"]]
    ]
    for name, manifest in manifests.items():
        assert [(t.id, t.lane.account, t.lane.region) for t in manifest.targets] == expected, name
        assert [replace(t, line=0) for t in manifest.targets] == [
            replace(t, line=0) for t in manifests["json"].targets
        ], name
        assert manifest.accounts == manifests["json"].accounts


def reads_or_refuses(data: bytes, fmt: str) -> None:
    told = "read"
    try:
        read(data, fmt)
    except ManifestError as error:
        told = str(error) if error.problems else ""
    assert told


@pytest.mark.parametrize("fmt", list(Format))
@given(data=st.binary(max_size=200))
def test_random_bytes_never_give_anything_else_than_manifest_error(fmt: str, data: bytes) -> None:
    reads_or_refuses(data, fmt)


TOKENS = [
    *("version", "keys", "defaults", "accounts", "id", "account", "region", "regions", "key_id", "material", "role"),
    *("expect", "valid_to", "valid_for", "renew_before", "session_duration", "111122223333", "us-east-1", "alias/a"),
    *("file:a", "null", "~", "1", "1.1E+11", "2027-01-01T00:00:00Z", "90d", "a", "{id}", "never", "arn:aws:kms:::"),
    *(
        ": ",
        "\n",
        "\n  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        ",",
        ";",
        '"',
        "'",
        "&a ",
        "*a",
        "!!str ",
        "#",
        "<<",
        "\\",
        "---\n",
    ),
]


@pytest.mark.parametrize("fmt", list(Format))
@given(words=st.lists(st.sampled_from(TOKENS), max_size=40))
def test_shuffled_manifests_never_give_anything_else_than_manifest_error(fmt: str, words: list[str]) -> None:
    reads_or_refuses("".join(words).encode(), fmt)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(TOKENS)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TOKENS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(
    keys=st.lists(st.dictionaries(st.sampled_from(TOKENS[4:19]), values, max_size=8)),
    head=st.dictionaries(st.sampled_from(TOKENS[:4]), values),
)
def test_values_of_any_kind_in_any_field_never_crash(keys: list[dict[str, Any]], head: dict[str, Any]) -> None:
    reads_or_refuses(json.dumps({"version": 1, "keys": keys, **head}).encode(), "json")
    reads_or_refuses(as_jsonl(keys).encode(), "jsonl")
    reads_or_refuses(yaml.safe_dump({**head, "version": 1, "keys": keys}).encode(), "yaml")


@given(st.integers(1, 40), st.sampled_from("[{"))
def test_depth_is_limited_exactly(depth: int, bracket: str) -> None:
    text = "[" * depth + "]" * depth if bracket == "[" else "{a: " * depth + "}" * depth
    if depth <= MAX_DEPTH:
        read_yaml(text, Findings("x"))
    else:
        with pytest.raises(ManifestError, match="deep"):
            read_yaml(text, Findings("x"))


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ManifestError, match="aliases make this document") as caught:
        read("\n".join(lines))
    assert caught.value.problems[0].line == 7
