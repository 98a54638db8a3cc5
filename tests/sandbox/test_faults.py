"""Each fault, how it is counted, and what it leaves behind."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)

from bulk_import.sandbox.kms.faults import Faults
from tests.sandbox.helpers import NEVER, OAEP, import_material, metadata, parameters, refused, seal
from tests.sandbox_client import Sandbox


def importing(sandbox: Sandbox, **config: Any) -> tuple[Any, str]:
    """A call of ImportKeyMaterial ready to be made, and the key's ARN."""
    kms, arn = sandbox.client(**config), sandbox.key()["arn"]
    given = parameters(sandbox.client(), arn, OAEP[1])
    sealed = seal(os.urandom(32), given["PublicKey"], OAEP[1])
    token = given["ImportToken"]
    return lambda: kms.import_key_material(KeyId=arn, ImportToken=token, EncryptedKeyMaterial=sealed, **NEVER), arn


def state(sandbox: Sandbox, arn: str) -> str:
    return str(metadata(sandbox.client(), arn)["KeyState"])


def test_an_error_of_choice(sandbox: Sandbox) -> None:
    call, arn = importing(sandbox)
    sandbox.fault("error", operation="ImportKeyMaterial", code="DependencyTimeoutException", message="slow", status=500)
    with refused("DependencyTimeoutException", 500) as refusal:
        call()
    assert refusal.message == "slow"
    assert state(sandbox, arn) == "PendingImport"
    call()
    assert state(sandbox, arn) == "Enabled"


def test_an_internal_error_before_and_after(sandbox: Sandbox) -> None:
    for effect, left in (("http500", "PendingImport"), ("act_then_http500", "Enabled")):
        call, arn = importing(sandbox)
        sandbox.fault(effect, operation="ImportKeyMaterial")
        with refused("KMSInternalException", 500):
            call()
        assert state(sandbox, arn) == left


@pytest.mark.parametrize(("effect", "left"), [("drop", "PendingImport"), ("act_then_drop", "Enabled")])
def test_a_connection_that_is_cut(sandbox: Sandbox, effect: str, left: str) -> None:
    call, arn = importing(sandbox)
    sandbox.fault(effect, operation="ImportKeyMaterial")
    with pytest.raises(ConnectionClosedError) as caught:
        call()
    assert "Connection was closed" in str(caught.value)
    assert state(sandbox, arn) == left
    [entry] = sandbox.calls(operation="ImportKeyMaterial")
    assert (entry["status"], entry["fault"]) == (0, effect)


def test_a_cut_is_a_reset(sandbox: Sandbox) -> None:
    sandbox.fault("drop")
    address = ("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1]))
    credential = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/kms/aws4_request"
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {credential}\r\nContent-Length: 2\r\n\r\n"
    with socket.create_connection(address, timeout=10) as peer:
        peer.sendall(head.encode() + b"{}")
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


@pytest.mark.parametrize("effect", ["become", "act_then_become"])
def test_a_key_scheduled_for_deletion_on_the_way(sandbox: Sandbox, effect: str) -> None:
    call, arn = importing(sandbox)
    sandbox.fault(effect, operation="ImportKeyMaterial", state="PendingDeletion")
    if effect == "become":
        with refused("KMSInvalidStateException"):
            call()
    else:
        call()
    assert state(sandbox, arn) == "PendingDeletion"


def test_a_token_that_ages_on_the_way(sandbox: Sandbox) -> None:
    call, _ = importing(sandbox)
    sandbox.fault("advance", operation="ImportKeyMaterial", seconds=24 * 3600)
    with refused("ExpiredImportTokenException"):
        call()
    with refused("ExpiredTokenException"):  # and the session with it
        call()


@pytest.mark.parametrize(
    ("effect", "code"), [("revoke", "UnrecognizedClientException"), ("act_then_expire", "ExpiredTokenException")]
)
def test_a_session_that_ends_on_the_way(sandbox: Sandbox, effect: str, code: str) -> None:
    sandbox.fault(effect, operation="GetParametersForImport")
    call, _ = importing(sandbox)
    with refused(code):
        call()


def test_half_an_answer(sandbox: Sandbox) -> None:
    call, arn = importing(sandbox)
    sandbox.fault("truncate", operation="ImportKeyMaterial")
    with pytest.raises((HTTPClientError, ConnectionClosedError)):
        call()
    assert state(sandbox, arn) == "Enabled"


def test_broken_json(sandbox: Sandbox) -> None:
    call, arn = importing(sandbox)
    sandbox.fault("malformed", operation="ImportKeyMaterial")
    assert "KeyId" not in call()  # botocore raises nothing
    assert state(sandbox, arn) == "Enabled"


@pytest.mark.parametrize(("effect", "left"), [("hang", "PendingImport"), ("act_then_delay", "Enabled")])
def test_no_answer_in_time(sandbox: Sandbox, effect: str, left: str) -> None:
    call, arn = importing(sandbox, read_timeout=2)
    sandbox.fault(effect, operation="ImportKeyMaterial", seconds=30)
    with pytest.raises(ReadTimeoutError):
        call()
    assert state(sandbox, arn) == left


def test_a_delayed_answer_comes(sandbox: Sandbox) -> None:
    call, arn = importing(sandbox)
    sandbox.fault("delay", operation="ImportKeyMaterial", seconds=0.05)
    call()
    assert state(sandbox, arn) == "Enabled"


def test_denied(sandbox: Sandbox) -> None:
    kms, arn = sandbox.client(), sandbox.key()["arn"]
    sandbox.fault("deny", operation="GetParametersForImport", account="111122223333", times=None)
    for _ in range(2):
        with refused("AccessDeniedException") as refusal:
            parameters(kms, arn, OAEP[1])
    assert refusal.message == (
        "User: arn:aws:sts::111122223333:assumed-role/Tester/independent-client is not authorized to perform: "
        f"kms:GetParametersForImport on resource: {arn} because no identity-based policy allows the "
        "kms:GetParametersForImport action"
    )
    other = sandbox.key(account="444455556666")["arn"]
    parameters(sandbox.client(account="444455556666"), other, OAEP[1])


def test_denied_by_sts(sandbox: Sandbox) -> None:
    arn = "arn:aws:iam::111122223333:role/R"
    sandbox.fault("deny", operation="AssumeRole", key=arn)
    sts = sandbox.client("sts", None)
    with refused("AccessDenied", 403):
        sts.assume_role(RoleArn=arn, RoleSessionName="name")
    sts.assume_role(RoleArn=arn, RoleSessionName="name")


def test_counting(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key, other = sandbox.key(alias="alias/one"), sandbox.key()
    sandbox.fault("http500", operation="DescribeKey", key=key["arn"], after=1, times=2)
    outcomes = ""
    for _ in range(5):
        metadata(kms, other["key_id"])
        try:
            metadata(kms, "alias/one")
            outcomes += "."
        except kms.exceptions.KMSInternalException:
            outcomes += "x"
    assert outcomes == ".xx.."
    [rule] = sandbox.faults()
    assert (rule["matched"], rule["fired"]) == (5, 2)


def test_a_rule_that_makes_no_sense(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="unknown effect"):
        sandbox.fault("explode")
    with pytest.raises(ValueError, match="operatoin"):
        sandbox.fault("drop", operatoin="ImportKeyMaterial")


def test_reset_lets_hanging_calls_go(sandbox: Sandbox) -> None:
    call, _ = importing(sandbox, read_timeout=2)
    sandbox.fault("hang", operation="ImportKeyMaterial", seconds=3600)
    with pytest.raises(ReadTimeoutError):
        call()
    sandbox.reset()
    import_material(sandbox.client(), sandbox.key()["arn"], os.urandom(32))


def waiting(sandbox: Sandbox, rule: int, call: Callable[[], Any]) -> threading.Thread:
    """A thread with the call, which waits because of the rule."""
    thread = threading.Thread(target=call)
    thread.start()
    while not next(each["fired"] for each in sandbox.faults() if each["id"] == rule):
        assert thread.is_alive()
    return thread


def test_one_rule_is_removed_and_the_other_stays(sandbox: Sandbox) -> None:
    kms, arns = sandbox.client(), [sandbox.key()["arn"] for _ in range(2)]
    first, second = (sandbox.hold("DescribeKey", key=arn) for arn in arns)
    threads = [
        waiting(sandbox, rule, partial(metadata, kms, arn)) for rule, arn in zip((first, second), arns, strict=True)
    ]
    sandbox.release(second)
    threads[1].join()
    assert [rule["id"] for rule in sandbox.faults()] == [first]
    assert threads[0].is_alive()
    sandbox.release()
    threads[0].join()
    assert sandbox.faults() == []


def test_a_call_that_is_chosen_when_its_rule_is_removed_does_not_wait() -> None:
    """A test removes the rule as soon as it has counted the call, which may not have begun to wait."""
    faults = Faults()
    faults.add(effect="delay", seconds=3600)
    chosen = faults.choose("DescribeKey", "111122223333", "us-east-1", frozenset())
    faults.clear()
    faults.add(effect="delay", seconds=3600)
    assert chosen is not None
    assert chosen.removed.wait(0)


@pytest.mark.parametrize("how", ["delay", "act_then_delay"])
def test_a_call_that_a_reset_lets_go_does_nothing_to_what_comes_later(sandbox: Sandbox, how: str) -> None:
    rule = sandbox.hold("CreateKey") if how == "delay" else sandbox.fault(how, operation="CreateKey", seconds=600)
    kms, seen = sandbox.client(), []

    def create() -> None:
        with pytest.raises(ConnectionClosedError):
            kms.create_key(Origin="EXTERNAL")
        seen.append("closed")

    thread = waiting(sandbox, rule, create)
    sandbox.reset()
    thread.join()
    assert (seen, sandbox.keys(), sandbox.calls(operation="CreateKey")) == (["closed"], [], [])
