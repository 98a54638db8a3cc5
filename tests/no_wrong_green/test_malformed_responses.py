"""Responses that name no key, hold what is no text, or repeat their pages: each fails its own target and no other."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.network import Passing, Served
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.faults.support import imports
from tests.no_wrong_green.conftest import Run
from tests.no_wrong_green.test_wrong_key import AES, through
from tests.sandbox.helpers import NEVER, import_material
from tests.sandbox_client import Sandbox


@pytest.mark.parametrize("named", ["", "arn:aws:kms:us-east-1:111122223333:alias/one", "not-an-arn"])
def test_a_description_that_names_no_key(sandbox: Sandbox, work: Workplace, run: Run, named: str) -> None:
    key = sandbox.key(key_spec=AES, alias="alias/one")
    work.key("alias/one", materials.make(AES), name="key")

    def nameless(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if operation == "DescribeKey":
            answer["KeyMetadata"]["Arn"] = named
        return answer

    result = through(sandbox, work, run, nameless)
    assert (result.code, key["arn"] in imports(sandbox)) == (5, False)
    assert result.entries["key"]["error"]["code"] in ("WrongKey", "MalformedAnswer")


@pytest.mark.parametrize("named", ["", 7, ["OTHER"], {"KeyId": "OTHER"}], ids=str)
@pytest.mark.parametrize(
    ("operation", "spec"),
    [("GetParametersForImport", AES), ("ImportKeyMaterial", "HMAC_256"), ("GenerateMac", "HMAC_256"),
     ("GetPublicKey", "ECC_NIST_P256")],
)  # fmt: skip
def test_a_response_that_names_its_key_by_nothing_is_not_believed(
    sandbox: Sandbox, work: Workplace, run: Run, *, operation: str, spec: str, named: Any
) -> None:
    key, other = sandbox.key(key_spec=spec), sandbox.key(key_spec=spec)
    work.key(key["key_id"], materials.make(spec), name="key")
    instead = json.loads(json.dumps(named).replace("OTHER", other["arn"]))

    def nameless(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"KeyId": instead} if called == operation else answer

    result = through(sandbox, work, run, nameless, "--retry-timeout", "0")
    entry = result.entries["key"]
    assert (result.code, entry["status"]) == (5, "failed"), entry
    assert entry["error"]["code"] in ("WrongKey", "MalformedAnswer", "OutcomeUnknown"), entry
    assert entry["changed"] is not (key["arn"] not in imports(sandbox))


def test_rotations_without_the_name_of_their_key(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    material = materials.make(AES)
    key = sandbox.key(key_spec=AES, material={"hex": material.hex()})
    work.key(key["key_id"], material, name="key")

    def nameless(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        for entry in answer["Rotations"] if called == "ListKeyRotations" else ():
            del entry["KeyId"]
        return answer

    result = through(sandbox, work, run, nameless, "--retry-timeout", "0")
    assert (result.code, result.entries["key"]["error"]["code"]) == (5, "MalformedAnswer")


@pytest.mark.parametrize("value", [[], {}, True, -1])
@pytest.mark.parametrize("member", ["KeyMaterialId", "KeyMaterialState", "ImportState", "ExpirationModel", ""])
def test_rotations_with_what_is_no_text(
    sandbox: Sandbox, work: Workplace, run: Run, member: str, value: object
) -> None:
    """`member` empty: the entry itself. It fails its own target, and ends no run."""
    key = sandbox.key(key_spec=AES, material={"hex": materials.make(AES).hex()})
    (work.folder / "key.key").write_bytes(materials.make(AES))
    work.keys.append(
        {"id": "key", "account": ACCOUNT, "region": REGION, "key_id": key["key_id"],
         "materials": [{"name": "v1", "material": "file:key.key", "encoding": "raw"}]}
    )  # fmt: skip

    def alter(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        if called != "ListKeyRotations":
            return answer
        return {"Rotations": [entry | {member: value} if member else value for entry in answer["Rotations"]]}

    result = through(sandbox, work, run, alter, "--retry-timeout", "0")
    assert result.code == 5, result.stderr
    code = result.entries["key"]["error"]["code"]
    # What botocore itself cannot read is a response that was lost; a truth is text to it.
    assert code in ("MalformedAnswer", "ConnectionFailed"), result.entries["key"]["error"]


@pytest.mark.parametrize("pending", [False, True])
def test_rotations_whose_pages_repeat(sandbox: Sandbox, work: Workplace, run: Run, *, pending: bool) -> None:
    """Never a reason to advise that material be deleted."""
    material = materials.make(AES)
    key = sandbox.key(key_spec=AES, material={"hex": material.hex()})
    if pending:
        import_material(sandbox.client(), key["key_id"], materials.make(AES), ImportType="NEW_KEY_MATERIAL", **NEVER)
    work.key(key["key_id"], material, name="key")

    def repeated(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"Rotations": answer["Rotations"] * 2} if called == "ListKeyRotations" else answer

    result = through(sandbox, work, run, repeated, "--retry-timeout", "0")
    error = result.entries["key"]["error"]
    assert (result.code, error["code"]) == (5, "MalformedAnswer"), error
    assert "DeleteImportedKeyMaterial" not in error["advice"]


@pytest.mark.parametrize("operation", ["ListKeys", "ListAliases"])
@pytest.mark.parametrize("how", ["repeats", "has no next page", "has no name"])
def test_an_inventory_whose_pages_are_wrong(sandbox: Sandbox, work: Workplace, operation: str, how: str) -> None:
    """A page that comes twice hides the one that should have come."""
    for name in ("one", "two"):
        sandbox.key(key_spec=AES, alias=f"alias/{name}")

    def wrong(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        if called != operation:
            return answer
        [member] = answer.keys() & {"Keys", "Aliases"}
        if how == "repeats":
            return answer | {member: answer[member] * 2}
        if how == "has no next page":
            return answer | {"Truncated": True}
        return answer | {member: [{"TargetKeyId": "x"}, *answer[member]]}

    with Rewriter(sandbox.url, wrong) as proxy:
        work.url = proxy.url
        options = ("--account", ACCOUNT, "--region", REGION, "--role", "Importer", "--retry-timeout", "0")
        found = work.call("discover", *options)
    assert (found.code, "MalformedAnswer" in found.stderr) == (5, True), found.stderr
    assert b"keys: []" in found.stdout


@pytest.mark.parametrize("how", ["repeats", "has no next page"])
def test_tags_whose_pages_are_wrong(sandbox: Sandbox, work: Workplace, run: Run, how: str) -> None:
    key = sandbox.key(key_spec=AES, alias="alias/one", tags={"Team": "Payments"})
    material = materials.make(AES)
    work.key("alias/one", material, name="key", key_spec=AES, create={"tags": {"Team": "Payments"}})

    def wrong(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        if called != "ListResourceTags":
            return answer
        return answer | ({"Tags": answer["Tags"] * 2} if how == "repeats" else {"Truncated": True})

    result = through(sandbox, work, run, wrong, "--retry-timeout", "0")
    assert (result.code, result.entries["key"]["error"]["code"]) == (5, "MalformedAnswer")
    assert key["arn"] not in imports(sandbox)


@pytest.mark.parametrize("value", [[], {}])
@pytest.mark.parametrize("member", ["Origin", "KeyManager", "KeySpec"])
def test_a_description_with_what_is_no_text(
    sandbox: Sandbox, work: Workplace, run: Run, member: str, value: object
) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="key")

    def alter(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        return {"KeyMetadata": answer["KeyMetadata"] | {member: value}} if called == "DescribeKey" else answer

    result = through(sandbox, work, run, alter, "--retry-timeout", "0")
    assert (result.code, result.entries["key"]["error"]["code"]) == (5, "MalformedAnswer")


TIMES = ["2024-01-01", "0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59-12:00", 253402300800, 1e18, float("nan"), []]


@pytest.mark.parametrize("value", TIMES, ids=str)
@pytest.mark.parametrize("member", ["CreationDate", "ValidTo"])
def test_a_time_that_cannot_be_compared(
    sandbox: Sandbox, work: Workplace, run: Run, member: str, value: object
) -> None:
    """Without a zone, or in a year that no calendar has."""
    material = materials.make(AES)
    key = sandbox.key(key_spec=AES, material={"hex": material.hex()}, valid_to="2027-01-01T00:00:00Z")
    work.key(key["key_id"], material, name="key", valid_to="2027-01-01T00:00:00Z")
    good = sandbox.key(key_spec=AES)
    work.key(good["key_id"], materials.make(AES), name="good")

    def alter(called: str, answer: dict[str, Any]) -> dict[str, Any]:
        found = answer.get("KeyMetadata", {})
        return {"KeyMetadata": found | {member: value}} if found.get("Arn") == key["arn"] else answer

    result = through(sandbox, work, run, alter, "--retry-timeout", "0", "--verify-timeout", "1s")
    entries = result.entries
    assert (result.code, entries["key"]["status"]) == (4, "failed"), entries["key"]
    assert entries["good"]["status"] == "imported"
    assert entries["key"]["error"]["code"] == "ConnectionFailed"
    assert "could not be read" in entries["key"]["error"]["message"]


class _Expiration(Passing):
    """STS in front of the sandbox, whose sessions end then."""

    value = b""

    def altered(self, status: int, data: bytes) -> bytes:
        return re.sub(rb"(<Expiration>)[^<]*", rb"\g<1>" + self.value, data) if status == 200 else data


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59-12:00", "1e18", "nan"])
def test_a_session_that_ends_at_no_time(sandbox: Sandbox, work: Workplace, value: str) -> None:
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], materials.make("HMAC_256"), name="key")
    fields = {"behind": sandbox.url.removeprefix("http://"), "value": value.encode()}
    with Served(type("Handler", (_Expiration,), fields)) as sts:
        urls = {"AWS_ENDPOINT_URL": sandbox.url, "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{sts.port}"}
        result = work.run("--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL="", **urls)
    assert (result.code, result.entries["key"]["error"]["code"]) == (5, "ConnectionFailed"), result.stderr
    assert "could not be read" in result.entries["key"]["error"]["message"]
