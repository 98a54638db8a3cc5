"""The short way of a KMS call: signed as botocore signs, and answered as the long way is."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import aioboto3
import botocore.auth
import pytest
from aiobotocore.credentials import AioCredentials
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from bulk_import.aws.wire.clients import Clients
from bulk_import.aws.wire.credentials import SigningAs
from bulk_import.settings import load
from tests.sandbox_client import Sandbox

REGION = "us-east-1"
ACCOUNT = "111122223333"
NOW = datetime(2026, 11, 24, 23, 59, 59, 999_999, tzinfo=UTC)


def botocores(url: str, headers: dict[str, str], body: bytes, credentials: Any, *, of: tuple[datetime, str]) -> str:
    """The Authorization header that botocore's own signer makes of the same request."""
    request = AWSRequest("POST", url, headers=headers, data=body)
    with patch("botocore.auth.get_current_datetime", return_value=of[0]):
        botocore.auth.SigV4Auth(credentials, "kms", of[1]).add_auth(request)
    return str(request.headers["Authorization"])


class Listener:
    """A server that keeps what it is sent, and answers nothing of use. `elsewhere`: where it sends everyone to."""

    def __init__(self, elsewhere: str = "") -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(307 if elsewhere else 200)
                if elsewhere:
                    self.send_header("Location", elsewhere)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.stop()


async def test_what_arrives_bears_the_signature_of_what_arrives(listener: Listener) -> None:
    credentials = AioCredentials("AKIDEXAMPLE", "the secret", "the token")
    async with Clients(load({"endpoint_url": listener.url}), "run-1") as clients:
        kms = await clients.kms(REGION)
        with SigningAs(credentials):
            for client in (kms.reads, kms.writes):
                await client.describe_key(KeyId="alias/näme")
    assert len(listener.heard) == 2
    for headers, body in listener.heard:
        assert headers["x-amz-target"] == "TrentService.DescribeKey"
        assert headers["content-type"] == "application/x-amz-json-1.1"
        assert headers["host"] == urlsplit(listener.url).netloc
        assert headers["user-agent"].startswith("bulk-import/")
        names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        assert {"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} <= set(names)
        assert headers["authorization"] == await as_signed(listener.url, headers, body, credentials)


async def as_signed(
    url: str, headers: dict[str, str], body: bytes, credentials: AioCredentials, of: str = REGION
) -> str:
    """The Authorization header that botocore's own signer makes of a request that arrived."""
    names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    covered = {name: headers[name] for name in names if name not in ("host", "x-amz-date", "x-amz-security-token")}
    then = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return botocores(url, covered, body, await credentials.get_frozen_credentials(), of=(then, of))


async def test_each_session_day_and_region_has_a_key_of_its_own(listener: Listener) -> None:
    """What a signature is made with is kept between calls: it must never be another session's, day's or Region's."""
    sessions = [
        AioCredentials("AKIDEXAMPLE", "the secret", "the token"),
        AioCredentials("AKIDEXAMPLE", "a new secret", "a new token"),
        AioCredentials("AKIDOTHER", "the secret"),
    ]
    days = [NOW, NOW + timedelta(seconds=1), NOW - timedelta(days=1)]
    regions = [REGION, "eu-central-1"]
    sent = []
    async with Clients(load({"endpoint_url": listener.url + "/some/path/"}), "run-1") as clients:
        for credentials, now, region in [*itertools.product(sessions, days, regions)] * 2:
            kms = await clients.kms(region)
            with SigningAs(credentials), patch("botocore.auth.get_current_datetime", return_value=now):
                await kms.reads.describe_key(KeyId="k")
            sent.append((credentials, region))
    signatures = set()
    for (credentials, region), (headers, body) in zip(sent, listener.heard, strict=True):
        assert ("x-amz-security-token" in headers) == bool(credentials.token)
        found = headers["authorization"]
        assert found == await as_signed(listener.url + "/some/path/", headers, body, credentials, region)
        signatures.add(found)
    assert len(signatures) == len(sessions) * len(days) * len(regions)


async def test_nothing_is_sent_on_to_where_an_answer_points(listener: Listener) -> None:
    redirecting = Listener(elsewhere=listener.url)
    try:
        async with Clients(load({"endpoint_url": redirecting.url}), "run-1") as clients:
            kms = await clients.kms(REGION)
            with SigningAs(AioCredentials("AKIDEXAMPLE", "the secret")), pytest.raises(ClientError) as refused:
                await kms.writes.import_key_material(KeyId="k", ImportToken=b"t", EncryptedKeyMaterial=b"e")
    finally:
        redirecting.stop()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 307
    assert (len(redirecting.heard), len(listener.heard)) == (1, 0)


async def told(client: Any, operation: str, request: dict[str, Any]) -> Any:
    """An answer without what differs from call to call, or the exception's class and what it says."""
    try:
        answer = await getattr(client, operation)(**request)
    except ClientError as error:
        meta = error.response["ResponseMetadata"]
        return type(error).__name__, error.response["Error"], meta["HTTPStatusCode"], bool(meta["RequestId"])
    assert answer["ResponseMetadata"].pop("RequestId")
    return answer | {"ResponseMetadata": answer["ResponseMetadata"]["HTTPStatusCode"]}


async def test_the_short_way_answers_what_the_long_way_answers(sandbox: Sandbox) -> None:
    aes, mac = sandbox.key(), sandbox.key(key_spec="HMAC_256", material={"hex": "07" * 32})
    ecc = sandbox.key(key_spec="ECC_NIST_P256")
    expiring = sandbox.key(material={"hex": "09" * 32}, valid_to="2027-03-01T00:00:00Z")
    keys = sandbox.credentials(ACCOUNT)
    wrapping = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_4096"}
    cases: list[tuple[str, dict[str, Any]]] = [
        *(("describe_key", {"KeyId": key["key_id"]}) for key in (aes, mac, ecc, expiring)),
        ("list_key_rotations", {"KeyId": expiring["key_id"], "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}),
        ("generate_mac", {"KeyId": mac["key_id"], "Message": b"m\xff", "MacAlgorithm": "HMAC_SHA_256"}),
        ("get_public_key", {"KeyId": ecc["key_id"]}),
        ("get_parameters_for_import", {"KeyId": "alias/nothing", **wrapping}),
        ("import_key_material", {"KeyId": aes["key_id"], "ImportToken": b"t", "EncryptedKeyMaterial": b"e",
                                 "ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": NOW}),
    ]  # fmt: skip
    session = aioboto3.Session(**keys)
    async with (
        session.client("kms", region_name=REGION, endpoint_url=sandbox.url) as long_way,
        Clients(load({"endpoint_url": sandbox.url}), "run-1") as clients,
    ):
        kms = await clients.kms(REGION)
        with SigningAs(AioCredentials(*keys.values())):
            for operation, request in cases:
                short = await told(kms.reads, operation, request)
                assert short == await told(long_way, operation, request), operation
            answer = await kms.writes.get_parameters_for_import(KeyId=aes["key_id"], **wrapping)
    assert answer["ParametersValidTo"].utcoffset().total_seconds() == 0
    assert isinstance(answer["PublicKey"], bytes)


async def test_a_server_that_fails_fails_both_ways_alike(sandbox: Sandbox) -> None:
    key = sandbox.key()
    sandbox.fault("http500", operation="DescribeKey", times=2)
    keys = sandbox.credentials(ACCOUNT)
    retries = {"total_max_attempts": 1}
    session = aioboto3.Session(**keys)
    async with (
        session.client(
            "kms", region_name=REGION, endpoint_url=sandbox.url, config=botocore.config.Config(retries=retries)
        ) as long_way,
        Clients(load({"endpoint_url": sandbox.url}), "run-1") as clients,
    ):
        kms = await clients.kms(REGION)
        with SigningAs(AioCredentials(*keys.values())):
            short = await told(kms.reads, "describe_key", {"KeyId": key["key_id"]})
        assert short == await told(long_way, "describe_key", {"KeyId": key["key_id"]})
        assert short[0] == "KMSInternalException"
        assert short[2] == 500
