"""`status`: every key compared with the manifest, by the real command line; nothing is ever changed."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from bulk_import import api
from bulk_import.api import SCHEMAS
from bulk_import.errors import ReportNotWritten
from bulk_import.settings import load as load_settings
from tests.e2e import materials
from tests.e2e.support import Result, Workplace, quick
from tests.iam.gatekeeper import Gatekeeper
from tests.sandbox_client import Sandbox

READS_ONLY = {
    "DescribeKey", "ListKeyRotations", "ListResourceTags", "GenerateMac", "GetPublicKey", "AssumeRole",
    "GetCallerIdentity",
}  # fmt: skip


def status(work: Workplace, *options: str, **environment: str) -> Result:
    work.write()
    return work.call("status", "manifest.json", *quick(options), *options, **environment)


def found(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout)
    jsonschema.validate(document, SCHEMAS["status"]())
    counts = {name: count for name, count in document["summary"].items() if name != "total"}
    assert sum(counts.values()) == document["summary"]["total"] == len(document["targets"])
    assert document["run"]["exit_code"] == result.code
    return document


def by_id(result: Result) -> dict[str, dict[str, Any]]:
    return {target["id"]: target for target in found(result)["targets"]}


def ahead(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def hmac_key(sandbox: Sandbox, work: Workplace, name: str, *, holds: bytes | None = None, **fields: Any) -> None:
    """A key that holds material, and its target."""
    material = materials.make("HMAC_256")
    valid_to = fields.get("valid_to")
    seeded = {"valid_to": valid_to} if valid_to else {}
    key = sandbox.key(key_spec="HMAC_256", material={"hex": (holds or material).hex()}, **seeded)
    work.key(key["key_id"], material, name=name, **fields)


def every_state(sandbox: Sandbox, work: Workplace) -> None:
    """One key in each state."""
    hmac_key(sandbox, work, "good")
    hmac_key(sandbox, work, "soon", valid_to=ahead(10))
    hmac_key(sandbox, work, "other", holds=materials.make("HMAC_256"))
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], materials.make("HMAC_256"), name="void")
    work.key("alias/nobody", materials.make("HMAC_256"), name="gone")
    hmac_key(sandbox, work, "lost")
    (work.folder / "lost.key").unlink()


def test_every_state_of_a_key(sandbox: Sandbox, work: Workplace) -> None:
    every_state(sandbox, work)
    deleted = sandbox.key(key_spec="HMAC_256", state="PendingDeletion")
    work.key(deleted["key_id"], materials.make("HMAC_256"), name="deleted")
    changed = sandbox.key(key_spec="HMAC_256", description="Somebody's", tags={"Team": "x"}, alias="alias/changed")
    work.key(
        "alias/changed", materials.make("HMAC_256"), name="changed", key_spec="HMAC_256",
        create={"description": "Payments", "tags": {"Team": "x", "Cost": "7"}},
    )  # fmt: skip
    sandbox.client().describe_key(KeyId=changed["key_id"])
    work.key(sandbox.key(origin="AWS_KMS")["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="not-external")
    result = status(work, "--format", "json")
    assert result.code == 11, result.stderr
    targets = by_id(result)
    assert {name: target["state"] for name, target in targets.items()} == {
        "good": "as_wanted", "soon": "expiring", "other": "drift", "void": "empty", "gone": "missing",
        "lost": "unreadable", "deleted": "drift", "changed": "empty", "not-external": "drift",
    }  # fmt: skip
    good, soon, other = targets["good"], targets["soon"], targets["other"]
    assert (good["material"], good["proof"], good["key_state"], good["days_left"]) == (
        "compared",
        "hmac",
        "Enabled",
        None,
    )
    assert soon["days_left"] == 9
    assert (other["material"], other["proof"], other["error"]["code"]) == ("compared", "none", "MaterialMismatch")
    assert [one["field"] for one in other["drift"]] == ["material"]
    assert targets["lost"]["error"]["code"] == "MaterialNotFound"
    assert targets["lost"]["key_arn"]
    assert [one["field"] for one in targets["deleted"]["drift"]] == ["key_state"]
    assert sorted(targets["changed"]["drift"], key=lambda one: one["field"]) == [
        {"field": "description", "wanted": "Payments", "found": "Somebody's"},
        {"field": "tags.Cost", "wanted": "7", "found": None},
    ]
    assert [one["field"] for one in targets["not-external"]["drift"]] == ["origin"]
    assert {call["operation"] for call in sandbox.calls()} <= READS_ONLY | {"CreateKey"}
    assert "Not AWS" in result.stderr.splitlines()[0]
    assert "Not AWS" in result.stderr.splitlines()[-1]
    assert not (work.folder / "report.json").exists()
    assert not list(work.folder.glob("*.journal"))


EXPIRY = {
    "as it was imported": ({"valid_to": 40}, 40, "as_wanted", []),
    "within 30 days": ({"valid_to": 29}, 29, "expiring", []),
    "another instant": ({"valid_to": 41}, 40, "drift", ["valid_to"]),
    "it expires": ({}, 40, "drift", ["valid_to"]),
    "it never expires": ({"valid_to": 40}, None, "drift", ["valid_to"]),
    "a third is left": ({"valid_for": "90d"}, 31, "as_wanted", []),
    "less than a third is left": ({"valid_for": "90d"}, 29, "expiring", []),
    "renew_before": ({"valid_for": "90d", "renew_before": "60d"}, 59, "expiring", []),
    "longer than wanted": ({"valid_for": "90d"}, 120, "drift", ["valid_to"]),
}


def test_expiry(sandbox: Sandbox, work: Workplace) -> None:
    instants = {days: ahead(days) for days in (29, 31, 40, 41, 59, 120)}
    for name, (wanted, held, _, _) in EXPIRY.items():
        material = materials.make("HMAC_256")
        seeded = {"valid_to": instants[held]} if held else {}
        key = sandbox.key(key_spec="HMAC_256", material={"hex": material.hex()}, **seeded)
        fields = {field: instants[value] if field == "valid_to" else value for field, value in wanted.items()}
        work.key(key["key_id"], material, name=name.replace(" ", "-"), **fields)
    result = status(work, "--format", "json")
    targets = by_id(result)
    for name, (_, _, state, fields) in EXPIRY.items():
        target = targets[name.replace(" ", "-")]
        assert (target["state"], [one["field"] for one in target["drift"]]) == (state, fields), name
    result = status(work, "--format", "json", "--within", "5d")
    assert {target["state"] for target in by_id(result).values()} == {"as_wanted", "drift"}


@pytest.mark.parametrize(
    ("what", "code"), [("good", 0), ("expiring", 11), ("expiring and unreadable", 11), ("one unreadable", 4),
                       ("all unreadable", 5)],
)  # fmt: skip
def test_exit_codes(sandbox: Sandbox, work: Workplace, what: str, code: int) -> None:
    if what in ("good", "one unreadable", "expiring and unreadable"):
        hmac_key(sandbox, work, "good")
    if "expiring" in what:
        hmac_key(sandbox, work, "soon", valid_to=ahead(3))
    if "unreadable" in what:
        hmac_key(sandbox, work, "denied")
        work.keys[-1]["region"] = "eu-west-1"
        work.keys[-1]["key_id"] = sandbox.key(region="eu-west-1", key_spec="HMAC_256")["key_id"]
        sandbox.fault("error", operation="DescribeKey", code="AccessDeniedException", region="eu-west-1", times=None)
    result = status(work, "--format", "json")
    assert (result.code, found(result)["run"]["exit_code"]) == (code, code), result.stderr


def test_a_key_that_expired_is_empty(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="short", valid_for="2h")
    assert work.run().code == 0
    assert status(work, "--within", "1h").code == 0
    assert status(work, "--within", "3h").code == 11
    sandbox.advance(3 * 3600)
    result = status(work, "--within", "1h", "--format", "json")
    assert (result.code, by_id(result)["short"]["state"]) == (11, "empty")


def test_symmetric_material_is_compared_by_what_a_report_proved(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key()
    work.key(key["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="payments")
    assert work.run().code == 0
    entry = work.run().entries["payments"]
    (work.folder / "payments.key").rename(work.folder / "moved.key")
    unknown = by_id(status(work, "--format", "json"))["payments"]  # its source is not even opened
    assert (unknown["state"], unknown["material"], unknown["proof"]) == ("as_wanted", "not_compared", "none")
    assert [one["key_material_id"] for one in unknown["materials"]] == [entry["key_material_id"]]
    (work.folder / "moved.key").rename(work.folder / "payments.key")
    first = next(work.folder.glob("report.*.json"))
    known = by_id(status(work, "--format", "json", "--known", str(first)))["payments"]
    assert (known["state"], known["material"], known["proof"]) == ("as_wanted", "compared", "material_id")
    (work.folder / "payments.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    other = status(work, "--format", "json", "--known", str(first))
    assert other.code == 11
    assert by_id(other)["payments"]["error"]["code"] == "MaterialMismatch"
    work.keys[-1]["key_material_id"] = entry["key_material_id"]
    named = by_id(status(work, "--format", "json"))["payments"]
    assert (named["state"], named["material"], named["proof"]) == ("as_wanted", "not_compared", "material_id")
    work.keys[-1]["key_material_id"] = "0" * 64
    wrong = by_id(status(work, "--format", "json"))["payments"]
    assert (wrong["state"], wrong["drift"][0]["field"]) == ("drift", "key_material_id")


def test_a_stale_read_is_no_status(sandbox: Sandbox, work: Workplace) -> None:
    """One host still shows the key before its import: N reads must agree."""
    key = sandbox.key(key_spec="HMAC_256")
    material = materials.make("HMAC_256")
    work.key(key["key_id"], material, name="payments")
    assert work.run().code == 0
    sandbox.post(
        "stale_reads",
        account="111122223333",
        region="us-east-1",
        key=key["key_id"],
        pattern="stale,good,stale,good,good",
    )
    result = status(work, "--format", "json")
    assert by_id(result)["payments"]["state"] == "as_wanted"
    assert len(sandbox.calls(operation="DescribeKey")) >= 6


def test_a_fleet_takes_one_window_of_reads(sandbox: Sandbox, work: Workplace) -> None:
    for number in range(20):
        hmac_key(sandbox, work, f"key-{number}")
    result = status(work, "--format", "json", "--read-interval", "700ms")
    assert result.code == 0, result.stderr
    assert found(result)["run"]["duration_seconds"] < 20 * 2 * 0.7 / 2  # far below one window per key
    assert len(sandbox.calls(operation="DescribeKey")) == 60


def test_prove_none_opens_no_source(sandbox: Sandbox, work: Workplace) -> None:
    hmac_key(sandbox, work, "payments")
    (work.folder / "payments.key").unlink()
    result = status(work, "--format", "json", "--prove", "none")
    target = by_id(result)["payments"]
    assert (result.code, target["state"], target["material"]) == (0, "as_wanted", "not_compared")


def test_the_renderings(sandbox: Sandbox, work: Workplace) -> None:
    every_state(sandbox, work)
    work.keys[0]["id"] = "good"
    places = {"html": "s.html", "junit": "s.xml", "markdown": "s.md", "github": "s.txt", "csv": "s.csv"}
    options = [text for name, place in places.items() for text in ("--render", f"{name}={place}")]
    result = status(work, *options)
    assert result.code == 11, result.stderr
    table = result.stdout.decode()
    assert " ".join(table.splitlines()[0].split()) == "STATE ID ACCOUNT REGION KEY STATE EXPIRES MATERIAL DETAIL"
    assert "5 of 6 keys need attention: 1 drift, 1 missing, 1 empty, 1 unreadable, 1 expiring." in table
    text = {name: (work.folder / place).read_text("utf-8-sig") for name, place in places.items()}
    assert all("Not AWS" in text[name] for name in ("html", "markdown", "github"))
    for said in ("Expiry calendar", "Drift", "MATERIAL MISMATCH", ahead(10)[:10]):
        assert said in text["html"], said
    suites = ElementTree.fromstring(text["junit"].encode())  # noqa: S314 - our own
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("6", "4", "1")
    assert "| drift | other |" in text["markdown"]
    assert text["github"].count("::error ") == 4
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(text["csv"]))}
    assert rows["soon"]["state"] == "expiring"
    assert rows["other"]["error_code"] == "MaterialMismatch"
    again = status(work, *options, "--format", "junit")  # older renderings are replaced
    assert again.code == 11, again.stderr
    assert again.stdout.startswith(b"<?xml")


def test_text_of_a_key_cannot_act_in_any_rendering(sandbox: Sandbox, work: Workplace) -> None:
    hostile = "</td><script>alert(1)</script> `x` | ::error::x\n=HYPERLINK(1)"
    sandbox.key(alias="alias/payments", description=hostile, material={"hex": "11" * 32})
    work.key("alias/payments", b"\x11" * 32, name="payments", key_spec="SYMMETRIC_DEFAULT",
             create={"description": "Payments"})  # fmt: skip
    for form in ("table", "html", "markdown", "github", "csv", "junit", "json"):
        result = status(work, "--format", form)
        assert result.code == 11, result.stderr
        text = result.stdout.decode("utf-8-sig")
        assert "<script>" not in text.replace("\\u003c", "<") or form in ("table", "json", "github", "csv"), form
        assert "\n=HYPER" not in text
        assert "\n::error::x" not in text


@pytest.mark.parametrize("fault", ["the manifest", "another output", "a folder", "no folder", "a known report"])
def test_a_rendering_never_takes_the_place_of_an_input(sandbox: Sandbox, work: Workplace, fault: str) -> None:
    hmac_key(sandbox, work, "payments")
    assert work.run().code == 0
    before = (work.folder / "report.json").read_bytes()
    options = {
        "the manifest": ["--render", "csv=manifest.json"],
        "another output": ["--render", "csv=x.txt", "--render", "html=x.txt"],
        "a folder": ["--render", f"html={work.folder}"],
        "no folder": ["--render", "html=nowhere/status.html"],
        "a known report": ["--render", "csv=report.json", "--known", "report.json"],
    }[fault]
    calls = len(sandbox.calls())
    result = status(work, *options)
    assert result.code == 3, result.stderr
    assert len(sandbox.calls()) == calls
    assert (work.folder / "report.json").read_bytes() == before


def test_an_older_page_is_no_result_of_a_check_that_never_began(sandbox: Sandbox, work: Workplace) -> None:
    hmac_key(sandbox, work, "payments")
    assert status(work, "--render", "html=status.html").code == 0
    (work.folder / "manifest.json").write_text("version: 1\nkeys: []\n")
    result = work.call("status", "manifest.json", "--render", "html=status.html")
    assert result.code == 3
    assert not (work.folder / "status.html").exists()


def test_a_rendering_that_cannot_be_written(sandbox: Sandbox, work: Workplace) -> None:
    hmac_key(sandbox, work, "payments")
    result = status(work, "--format", "json", "--render", "html=/dev/full")
    assert result.code == 6, result.stderr
    assert found(result)["run"]["exit_code"] == 6
    assert "The rendering html could not be written" in result.stderr


def test_a_shard_and_a_selection(sandbox: Sandbox, work: Workplace) -> None:
    hmac_key(sandbox, work, "one")
    hmac_key(sandbox, work, "two")
    chosen = found(status(work, "--format", "json", "--only-id", "two"))
    assert [target["id"] for target in chosen["targets"]] == ["two"]
    assert chosen["run"]["selection"]["ids"] == ["two"]
    empty = status(work, "--format", "json", "--shard", "2/2")
    assert (empty.code, found(empty)["summary"]["total"]) == (0, 0)
    assert b"Shard 2/2 has no target." in status(work, "--shard", "2/2").stdout


def test_a_role_that_cannot_be_assumed(sandbox: Sandbox, work: Workplace) -> None:
    hmac_key(sandbox, work, "payments")
    sandbox.fault("error", operation="AssumeRole", code="AccessDenied", times=None)
    result = status(work, "--format", "json")
    assert result.code == 5, result.stderr
    target = by_id(result)["payments"]
    assert (target["state"], target["error"]["operation"]) == ("unreadable", "AssumeRole")


def test_the_policies_for_it_allow_exactly_its_reads(sandbox: Sandbox, work: Workplace) -> None:
    hmac_key(sandbox, work, "mac", key_spec="HMAC_256")
    sandbox.key(alias="alias/payments", material={"hex": "11" * 32}, tags={"Team": "x"})
    work.key("alias/payments", b"\x11" * 32, name="made", key_spec="SYMMETRIC_DEFAULT", create={"tags": {"Team": "x"}})
    work.key("alias/nobody", b"\x11" * 32, name="missing", key_spec="SYMMETRIC_DEFAULT", create={})
    work.write()
    printed = json.loads(work.call("iam", "manifest.json", "--command", "status").stdout)
    policies = {section["account"]: section["permissions_policies"] for section in printed["accounts"]}
    with Gatekeeper(sandbox, policies) as gate:
        result = status(work, "--format", "json", BULK_IMPORT_ENDPOINT_URL=gate.url)
    assert {name: one["state"] for name, one in by_id(result).items()} == {
        "mac": "as_wanted", "made": "as_wanted", "missing": "missing",
    }  # fmt: skip
    allowed = {
        action
        for document in policies["111122223333"]
        for statement in document["Statement"]
        for action in statement["Action"]
    }
    assert allowed == {request.action for request, _ in gate.asked} == {
        "kms:DescribeKey", "kms:ListKeyRotations", "kms:ListResourceTags", "kms:GenerateMac",
    }  # fmt: skip


def test_no_key_material_in_any_output(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    material = materials.make("HMAC_256")
    key = sandbox.key(key_spec="HMAC_256", material={"hex": material.hex()})
    work.key(key["key_id"], material, name="payments")
    result = status(work, "--format", "json", "--render", "html=page.html", "--log-level", "debug")
    everything = result.stdout + result.stderr.encode() + (tmp_path / "page.html").read_bytes()
    assert material.hex().encode() not in everything
    assert material not in everything


def test_several_materials_are_compared_one_by_one(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key()
    for name in ("v1", "v2"):
        (work.folder / f"{name}.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    work.key(key["key_id"], b"", name="payments", key_spec="SYMMETRIC_DEFAULT")
    del work.keys[-1]["material"], work.keys[-1]["encoding"]
    entries = [{"name": name, "material": f"file:{name}.key", "encoding": "raw"} for name in ("v1", "v2")]
    work.keys[-1]["materials"] = entries
    before = by_id(status(work, "--format", "json"))["payments"]
    assert before["state"] == "empty"
    first = work.run()
    assert first.code == 0, first.stderr
    target = by_id(status(work, "--format", "json"))["payments"]
    assert (target["state"], target["material"]) == ("as_wanted", "not_compared")
    assert [(one["name"], one["state"]) for one in target["materials"]] == [("v1", "NON_CURRENT"), ("v2", "CURRENT")]
    known = by_id(status(work, "--format", "json", "--known", "report.json"))["payments"]
    assert (known["material"], known["proof"]) == ("compared", "material_id")
    work.keys[-1]["materials"] = [*entries, {"name": "v3", "material": "file:v1.key", "encoding": "raw"}]
    wanted = status(work, "--format", "json")
    fields = [(one["field"], one["found"]) for one in by_id(wanted)["payments"]["drift"]]
    assert (wanted.code, fields) == (11, [("materials.v2.state", "CURRENT"), ("materials.v3", None)])


def test_a_rendering_that_s3_does_not_take_leaves_the_others(sandbox: Sandbox, work: Workplace) -> None:
    """Neither does one that has a defect: a document that lacks a part stands for it."""
    hmac_key(sandbox, work, "payments")
    first = ("--render", "csv=s3://nowhere-at-all/a.csv", "--render", "junit=j.xml", "--render", "html=h.html")
    denied = status(work, *first, "--format", "json")
    assert (denied.code, "rendering csv could not be written" in denied.stderr) == (6, True), denied.stderr
    document = json.loads(denied.stdout)
    assert (work.folder / "j.xml").exists()
    assert (work.folder / "h.html").exists()
    del document["summary"]
    forms = ("csv", "junit", "html", "markdown", "github")
    settings = load_settings({"render": [f"{form}={work.folder / form}" for form in forms]})
    with pytest.raises(ReportNotWritten) as raised:
        asyncio.run(api.write_status(document, settings))
    lost = {form for form in forms if f"The rendering {form} could not be made (KeyError)" in raised.value.message}
    assert lost
    assert {form for form in forms if (work.folder / form).exists()} == set(forms) - lost != set()
