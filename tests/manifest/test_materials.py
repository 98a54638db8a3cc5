"""`materials`: several key materials of one key, and every mistake in them at its place."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bulk_import.model import Expect, Expiry
from bulk_import.settings import Settings
from tests.manifest.support import problems, read

HEAD = """\
version: 1
defaults: {role: Importer, encoding: raw, valid_for: 90d}
keys:
  - id: one
    account: "111122223333"
    region: us-east-1
    key_id: alias/one
"""


def with_materials(*entries: str, also: str = "") -> str:
    lines = "".join(f"      - {entry}\n" for entry in entries)
    return f"{HEAD}{also}    materials:\n{lines}"


def test_entries_inherit_and_have_their_own() -> None:
    old = '{name: 2025, material: "file:{id}-1.key", valid_to: never}'
    new = "{name: 2026, material: env:NEW, encoding: base64, expect: {kcv: 08D7B4}, renew_before: 10d}"
    (target,) = read(with_materials(old, new)).targets
    first, second = target.materials
    assert (first.name, first.material, first.encoding, first.expiry) == ("2025", "file:one-1.key", "raw", Expiry())
    assert (second.encoding, second.expect) == ("base64", Expect(kcv="08d7b4"))
    assert second.expiry == Expiry(valid_for=timedelta(days=90), renew_before=timedelta(days=10))
    assert [part.material for part in target.parts] == ["file:one-1.key", "env:NEW"]


def test_the_nearest_of_material_and_materials_replaces_the_other() -> None:
    listed = "materials: [{name: a, material: file:a.key}]"
    plain = HEAD.replace("role: Importer", f"role: Importer, {listed}")
    assert read(f"{plain}    material: file:own.key\n").targets[0].materials == ()
    inherited = read(plain).targets[0]
    assert [entry.material for entry in inherited.materials] == ["file:a.key"]
    reverse = with_materials("{name: b, material: file:b.key}").replace(
        "role: Importer", "role: Importer, material: file:x"
    )
    assert [entry.name for entry in read(reverse).targets[0].materials] == ["b"]


A = "{name: a, material: file:a.key}"
WRONG = [
    ((A, "{name: a, material: file:b.key}"), "", "keys[0].materials[1].name", "is also that of materials[0]"),
    ((A, "{name: b, material: file:b.key, encodin: hex}"), "", "keys[0].materials[1].encodin", "unknown field"),
    ((A, "{name: b}"), "", "keys[0].materials[1].material", "is missing"),
    (("{material: file:a.key}",), "", "keys[0].materials[0].name", "is missing"),
    (("{name: 'a{id}', material: file:a.key}",), "", "keys[0].materials[0].name", "is not the name of a material"),
    (("{name: a, material: 'file:{no}'}",), "", "keys[0].materials[0].material", "unknown placeholder"),
    (("{name: a, material: file:../a}",), "", "keys[0].materials[0].material", "leaves the manifest's folder"),
    (("{name: a, material: file:a, valid_to: never, valid_for: 9d}",), "", "keys[0].materials[0].valid_for", "cannot"),
    (("{name: a, material: file:a, renew_before: 90d}",), "", "keys[0].materials[0].renew_before", "not smaller"),
    (("{name: a, material: file:a, expect: {}}",), "", "keys[0].materials[0].expect", "exactly one"),
    (("{name: a, material: file:a, key_material_id: ab}",), "", "keys[0].materials[0].key_material_id", "ID"),
    (
        (A, "{name: b, material: 'file:{region}'}"),
        "    replicas: [eu-west-1]\n",
        "keys[0].materials[1].material",
        "same",
    ),
    ((A,), "    key_spec: HMAC_256\n", "keys[0].materials", "KMS rotates only SYMMETRIC_DEFAULT"),
    ((A,), "    material: file:b.key\n", "keys[0].materials", "cannot be combined with material"),
    ((A,), "    expect: {kcv: 08d7b4}\n", "keys[0].expect", "cannot be combined with materials"),
    ((A,), f"    key_material_id: {'a' * 64}\n", "keys[0].key_material_id", "cannot be combined with materials"),
]


@pytest.mark.parametrize(("entries", "also", "field", "message"), WRONG)
def test_a_mistake_is_reported_at_its_place(entries: tuple[str, ...], also: str, field: str, message: str) -> None:
    found = problems(with_materials(*entries, also=also))
    assert [problem.field for problem in found] == [field]
    assert message in found[0].message
    assert found[0].line >= 8


def test_only_in_yaml_and_json() -> None:
    line = '{"id":"a","account":"111122223333","region":"us-east-1","key_id":"alias/a","role":"R","materials":[]}'
    filled = line.replace("[]", '[{"name":"a","material":"file:a"}]')
    assert "JSON Lines or CSV" in problems(filled, "jsonl")[0].message
    assert "is unknown" in problems("id,account,region,key_id,role,material,materials\n", "csv")[0].message


def test_each_source_must_be_allowed() -> None:
    from bulk_import.material.checks import manifest_checks  # noqa: PLC0415 - this package reads no material

    checks = manifest_checks(Settings(allow_source=["file:allowed/"]))
    text = with_materials("{name: a, material: file:allowed/a}", "{name: b, material: file:other/b}")
    (found,) = problems(text, checks=checks)
    assert (found.field, found.line) == ("keys[0].materials[1].material", 10)
