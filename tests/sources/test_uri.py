"""The grammar of sources' URIs, and which of them a manifest may name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_import.material.sources import uri
from bulk_import.material.sources.allowed import allowed
from tests.e2e.support import Workplace
from tests.sources.support import add

NAMES = ("field", "version")


@pytest.mark.parametrize(
    ("rest", "path", "query"),
    [
        ("byok/a", "byok/a", {}),
        ("byok/a?field=key", "byok/a", {"field": "key"}),
        ("byok/a?field=a+b", "byok/a", {"field": "a+b"}),  # + is no blank
        ("byok/a?field=a%20b%2Bc%26d%3D", "byok/a", {"field": "a b+c&d="}),
        ("byok/a?version=3&field=a?b", "byok/a", {"version": "3", "field": "a?b"}),  # the first ? counts
        ("byok/a?%66ield=x", "byok/a", {"field": "x"}),  # names are decoded too
        ("byok/a?field=%C3%A4", "byok/a", {"field": "ä"}),
        ("byok/a%2Fb?field=x=y", "byok/a%2Fb", {"field": "x=y"}),  # the path is not decoded
    ],
)
def test_what_is_a_uri(rest: str, path: str, query: dict[str, str]) -> None:
    assert uri.parse(rest, NAMES) == (path, query)


@pytest.mark.parametrize(
    "rest",
    ["a?", "a?field", "a?field=", "a?field=x&", "a?field=x&field=y", "a?field=x&%66ield=y", "a?other=x", "a?=x",
     "a?Field=x", "a?field=%", "a?field=%4", "a?field=%zz", "a?field=%FF", "a?field=%00", "a?field=%0A",
     "a?field=x;version=1&x=y"],
)  # fmt: skip
def test_what_is_none(rest: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-z]"):
        uri.parse(rest, NAMES)


def test_values_are_not_quoted() -> None:
    pasted = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I9"
    for rest in (f"a?{pasted}", f"a?{pasted}=x", f"a?field={pasted}&field={pasted}", f"a?field=%00{pasted}"):
        with pytest.raises(ValueError, match=r"^[a-z]") as caught:
            uri.parse(rest, NAMES)
        assert pasted[:12] not in str(caught.value)


@pytest.mark.parametrize("path", ["a//b", "/a", "a/", "a/../b", "./a", "..", ""])
def test_paths_that_servers_would_shorten(path: str) -> None:
    with pytest.raises(ValueError, match="single slashes"):
        uri.segments(path)


@pytest.mark.parametrize(
    ("name", "prefix", "is_allowed"),
    [
        ("vault:byok/a", "vault:", True),
        ("vault:byok/a", "vault:byok", True),
        ("vault:byok/a", "vault:byok/", True),
        ("vault:byok-2/a", "vault:byok", False),
        ("vault:byok/a?field=k", "vault:byok/a", True),
        ("vault:byok/ab?field=k", "vault:byok/a", False),
        ("vault:byok/a", "vault:byok/a/b", False),
        ("vault:byok/a", "transit:", False),
        ("s3://keys/a", "s3:", True),
        ("s3://keys/a", "s3://keys", True),
        ("s3://keys-2/a", "s3://keys", False),
        ("file:keys/a.key", "file:keys/", True),
        ("file:./keys//a.key", "file:keys/", True),
        ("file:keys/../other.key", "file:keys/", False),
        ("file:keys/../../other.key", "file:keys", False),
        ("file:keys.old/a.key", "file:keys", False),
        ("env:PAY", "env:PAY", True),
        ("env:PAYMENTS", "env:PAY", False),
        ("pkcs11:token=a;object=b", "pkcs11:token=a", True),
        ("pkcs11:token=ab;object=b", "pkcs11:token=a", False),
        # A boundary of one scheme is part of a name in another.
        ("pkcs11:token=a:b;object=c", "pkcs11:token=a", False),
        ("pkcs11:token=a/b;object=c", "pkcs11:token=a", False),
        ("pkcs11:token=a;object=b/c", "pkcs11:token=a;object=b", False),
        ("pkcs11:token=a;object=b:c", "pkcs11:token=a;object=b", False),
        ("vault:byok:2/a?field=k", "vault:byok", False),
        ("vault:byok;2/a?field=k", "vault:byok", False),
        ("vault:byok/a:b?field=k", "vault:byok/a", False),
        ("vault:byok/a?field=k/l", "vault:byok/a?field=k", False),
        ("vault:byok/a?field=k&version=2", "vault:byok/a?field=k", False),
        ("vault:byok/a?field=k", "vault:byok/a?field=k", True),
        ("vault:byok/a?field=k", "vault:byok/a?", True),
        ("s3://keys/a;b", "s3://keys/a", False),
        ("s3://keys/a:b", "s3://keys/a", False),
        ("file:keys;old/a.key", "file:keys", False),
        ("file:keys:old/a.key", "file:keys", False),
        ("file:keys?old/a.key", "file:keys", False),
        (
            "secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:a",
            "secretsmanager:arn:aws:secretsmanager:us-east-1",
            True,
        ),
        (
            "secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:ab",
            "secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:a",
            False,
        ),
        ("secretsmanager:byok/a?field=k", "secretsmanager:byok", True),
        ("exec:hsm.b", "exec:hsm", False),
        # The attributes of a pkcs11: URI have no order, and the same value can be written in several ways.
        ("pkcs11:object=b;token=a", "pkcs11:token=a", True),
        ("pkcs11:object=b;token=%61", "pkcs11:token=a;", True),
        ("pkcs11:object=b;token=a;serial=7", "pkcs11:serial=7;token=a", True),
        ("pkcs11:object=b;token=a", "pkcs11:token=a;serial=7", False),
        ("pkcs11:object=token%3Da;serial=1", "pkcs11:token=a", False),
    ],
)
def test_prefixes_match_on_boundaries(name: str, prefix: str, is_allowed: bool) -> None:
    assert allowed(name, [prefix]) is is_allowed
    assert allowed(name, ["env:NOTHING", prefix]) is is_allowed
    assert not allowed(name, [])


@pytest.mark.parametrize("command", ["validate", "plan", "run", "iam"])
@pytest.mark.parametrize(
    ("material", "prefixes"),
    [("env:PAY", "file:"), ("file:../up.key", "file:keys/"), ("file:{region}/one.key", "file:us-west-2/")],
)
def test_a_source_that_is_not_allowed_is_a_manifest_error(
    work: Workplace, command: str, material: str, prefixes: str
) -> None:
    add(work, material)
    work.write()
    result = work.call(command, "manifest.json", "--allow-source", prefixes)
    assert result.code == 3, result.stderr
    if ".." not in material:  # that one is refused for its path before
        assert "manifest.json" in result.stderr
        assert "--allow-source" in result.stderr
    assert not (work.folder / "report.json").exists()


def test_placeholders_are_replaced_before_the_match(work: Workplace) -> None:
    add(work, "file:{region}/{id}.key")
    work.write()
    assert work.call("validate", "manifest.json", "--allow-source", "file:us-east-1/").code == 0
    assert work.call("validate", "manifest.json", BULK_IMPORT_ALLOW_SOURCE="env:,file:us-east-1/one.key").code == 0
    assert work.call("validate", "manifest.json", BULK_IMPORT_ALLOW_SOURCE="env:").code == 3


@pytest.mark.parametrize(
    ("prefix", "code"), [("vault", 2), ("gopher:", 3), (":", 2), ("", 2), ("pkcs11:token", 3), ("pkcs11:slot=1", 3)]
)
def test_a_prefix_that_can_match_nothing(work: Workplace, prefix: str, code: int) -> None:
    add(work, "env:ONE")
    work.write()
    result = work.call("validate", "manifest.json", "--allow-source", prefix)
    assert result.code == code, result.stderr
    assert "--allow-source" in result.stderr


def test_the_schema_and_the_help_list_every_source(work: Workplace) -> None:
    from bulk_import.material.sources import KINDS  # noqa: PLC0415 - only here

    schema = json.loads(work.call("schema", "manifest").stdout)
    shown = json.dumps(schema, ensure_ascii=False)
    helped = work.call("run", "--help", COLUMNS="110").stdout.decode()
    for kind in KINDS.values():
        assert f"{kind.scheme}:" in shown
        assert kind.form.partition(":")[2] in shown
        assert f"{kind.scheme}:" in helped


def test_a_source_that_does_not_exist(work: Workplace, tmp_path: Path) -> None:
    add(work, "gopher:x")
    work.write()
    assert work.call("validate", "manifest.json").code == 3
