"""Answers of STS that hold no session, or one of another account, for a lane's role and for a source's."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.e2e import materials
from tests.e2e.conftest import work
from tests.e2e.network import Passing, Served
from tests.e2e.support import ACCOUNT, Workplace
from tests.sandbox_client import Sandbox
from tests.sources.support import add

__all__ = ["work"]
READER = f"arn:aws:iam::{ACCOUNT}:role/Reader"
Alter = Callable[[bytes], bytes]


class AlteredSts(Served):
    """Passes requests on; the answers of AssumeRole come altered."""

    def __init__(self, behind: str, alter: Alter) -> None:
        fields = {"behind": behind.removeprefix("http://"), "alter": staticmethod(alter)}
        super().__init__(type("Handler", (_Altered,), fields))
        self.url = f"http://127.0.0.1:{self.port}"


class _Altered(Passing):
    alter: Alter

    def altered(self, _status: int, data: bytes) -> bytes:
        return type(self).alter(data) if b"<AssumeRoleResult>" in data else data


def with_text(tag: str, text: str) -> Alter:
    return lambda data: re.sub(rf"<{tag}>.*?</{tag}>".encode(), f"<{tag}>{text}</{tag}>".encode(), data, flags=re.S)


def without(tag: str) -> Alter:
    return lambda data: re.sub(rf"<{tag}>.*?</{tag}>".encode(), b"", data, flags=re.S)


CASES: dict[str, tuple[Alter, str]] = {
    "no ARN": (without("Arn"), "MalformedAnswer"),
    "an ARN that is none": (with_text("Arn", "x"), "MalformedAnswer"),
    "no user": (without("AssumedRoleUser"), "MalformedAnswer"),
    "no credentials": (without("Credentials"), "MalformedAnswer"),
    "no secret key": (without("SecretAccessKey"), "MalformedAnswer"),
    "an empty key": (with_text("AccessKeyId", ""), "MalformedAnswer"),
    "no end": (without("Expiration"), "MalformedAnswer"),
    "an end in no time zone": (with_text("Expiration", "2099-01-01T00:00:00"), "ConnectionFailed"),
    "another account": (with_text("Arn", "arn:aws:sts::999988887777:assumed-role/Reader/x"), "WrongAccount"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("of", ["lane", "source"])
def test_a_session_that_is_none(sandbox: Sandbox, work: Workplace, of: str, case: str) -> None:
    alter, code = CASES[case]
    key = sandbox.key(key_spec="HMAC_256")["key_id"]
    material = materials.make("HMAC_256")
    if of == "source":
        sandbox.client("ssm").put_parameter(Name="one", Value=material.hex(), Type="SecureString")
        add(work, f"ssm:one?role={READER}", key, encoding="hex")
    else:
        work.key(key, material, name="one")

    def only(data: bytes) -> bytes:
        return alter(data) if (b"/Reader/" in data) == (of == "source") else data

    options = ("--allow-source", "ssm:", "--allow-source", "file:", "--allow-source-role", READER)
    with AlteredSts(sandbox.url, only) as sts:
        endpoints = {"AWS_ENDPOINT_URL": sandbox.url, "AWS_ENDPOINT_URL_STS": sts.url, "BULK_IMPORT_ENDPOINT_URL": ""}
        result = work.run(*options, "--retry-timeout", "1s", **endpoints)
    assert result.code == 5, result.stderr
    error = result.entries["one"]["error"]
    if of == "lane":
        assert error["code"] == code, error
    else:
        assert error["code"] == ("SourceDenied" if code == "WrongAccount" else "SourceUnavailable"), error
    assert sandbox.calls(operation="ImportKeyMaterial") == []
