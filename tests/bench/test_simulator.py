"""The benchmark's simulator, seen by an independent client (boto3): a wrong simulator would flatter or wrong us."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.buckets import Bucket, Quotas
from tests.bench.simulated_kms import Kms, WrappingKeys
from tests.bench.simulator import Latency, Simulator, start
from tests.bench.workload import lanes_of

ACCOUNT, OTHER, REGION = "111122223333", "444455556666", "eu-west-1"
OAEP = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextlib.contextmanager
def serving(simulator: Simulator) -> Iterator[str]:
    """The simulator on a thread of its own; its URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(start(simulator))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for transport in tuple(simulator.connections):
            transport.abort()
        loop.run_until_complete(server.wait_closed())
        loop.run_until_complete(asyncio.sleep(0))  # lets what was aborted close
        loop.close()


def client(url: str, service: str, account: str | None = ACCOUNT, region: str = REGION) -> Any:
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=f"ASIA{account}BNCH" if account else "AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="s" * 40,
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(clock: Clock) -> Simulator:
    return Simulator(Kms(clock=clock, hmac_material=b"m" * 32), Quotas(), clock=clock)


@pytest.fixture
def url(simulator: Simulator) -> Iterator[str]:
    with serving(simulator) as address:
        yield address


@pytest.fixture
def kms(url: str) -> Iterator[Any]:
    with contextlib.closing(client(url, "kms")) as kms:
        yield kms


def fetch(url: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, data) as answer:  # noqa: S310 - our own loopback URL
        body: bytes = answer.read()
    return body


def code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def imported(kms: Any, alias: str, material: bytes = b"k" * 32) -> dict[str, Any]:
    arn = kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"]
    parameters = kms.get_parameters_for_import(KeyId=arn, **OAEP)
    public = serialization.load_der_public_key(parameters["PublicKey"])
    assert isinstance(public, rsa.RSAPublicKey)
    sealed = public.encrypt(material, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    answer: dict[str, Any] = kms.import_key_material(
        KeyId=arn,
        ImportToken=parameters["ImportToken"],
        EncryptedKeyMaterial=sealed,
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )
    return answer


def test_a_key_comes_alive_by_import(kms: Any) -> None:
    before = kms.describe_key(KeyId="alias/k00042")["KeyMetadata"]
    assert (before["KeyState"], before["Enabled"], before["Origin"]) == ("PendingImport", False, "EXTERNAL")
    assert before["Arn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{before['KeyId']}"
    answer = imported(kms, "alias/k00042")
    after = kms.describe_key(KeyId=before["KeyId"])["KeyMetadata"]
    assert (after["KeyState"], after["ExpirationModel"]) == ("Enabled", "KEY_MATERIAL_DOES_NOT_EXPIRE")
    assert after["CurrentKeyMaterialId"] == answer["KeyMaterialId"]
    rotation = kms.list_key_rotations(KeyId=before["Arn"], IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"][0]
    assert rotation["KeyMaterialId"] == answer["KeyMaterialId"]
    assert kms.describe_key(KeyId="alias/k00043")["KeyMetadata"]["KeyState"] == "PendingImport"


def test_an_hmac_key_has_no_material_id_and_proves_its_material(kms: Any) -> None:
    assert "KeyMaterialId" not in imported(kms, "alias/h00001")
    key = kms.describe_key(KeyId="alias/h00001")["KeyMetadata"]
    assert (key["KeySpec"], key["MacAlgorithms"]) == ("HMAC_256", ["HMAC_SHA_256"])
    mac = kms.generate_mac(KeyId=key["Arn"], Message=b"hello", MacAlgorithm="HMAC_SHA_256")["Mac"]
    assert mac == hmac.digest(b"m" * 32, b"hello", "sha256")


def test_a_token_serves_its_own_key_only(kms: Any) -> None:
    first, second = (kms.describe_key(KeyId=f"alias/k0000{n}")["KeyMetadata"]["Arn"] for n in (1, 2))
    token = kms.get_parameters_for_import(KeyId=first, **OAEP)["ImportToken"]
    with pytest.raises(ClientError) as refused:
        kms.import_key_material(
            KeyId=second,
            ImportToken=token,
            EncryptedKeyMaterial=b"x",
            ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
        )
    assert code(refused) == "InvalidImportTokenException"


def test_import_operations_take_no_alias_and_no_other_account(kms: Any, clock: Clock) -> None:
    for key_id in ("alias/k00001", f"arn:aws:kms:{REGION}:{OTHER}:key/0000006b-0000-4000-8000-000000000001", "nope"):
        with pytest.raises(ClientError) as refused:
            kms.get_parameters_for_import(KeyId=key_id, **OAEP)
        assert code(refused) == "NotFoundException"
        clock.now += 1


def test_the_throttle_is_as_aws_sends_it(kms: Any, clock: Clock) -> None:
    arn = kms.describe_key(KeyId="alias/k00001")["KeyMetadata"]["Arn"]
    kms.get_parameters_for_import(KeyId=arn, **OAEP)
    clock.now += 0.999
    with pytest.raises(ClientError) as refused:
        kms.get_parameters_for_import(KeyId=arn, **OAEP)
    response = refused.value.response
    assert code(refused) == "ThrottlingException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"
    assert response["ResponseMetadata"]["RequestId"]
    clock.now += 0.0011
    kms.get_parameters_for_import(KeyId=arn, **OAEP)


def test_each_account_and_region_has_its_own_quota(url: str) -> None:
    for account, region in lanes_of(4, regions=2):
        with contextlib.closing(client(url, "kms", account, region)) as kms:
            arn = kms.describe_key(KeyId="alias/k00001")["KeyMetadata"]["Arn"]
            assert arn.startswith(f"arn:aws:kms:{region}:{account}:key/")
            kms.get_parameters_for_import(KeyId=arn, **OAEP)


def test_assume_role_gives_credentials_of_the_role_s_account(url: str) -> None:
    with contextlib.closing(client(url, "sts", None)) as sts:
        assert sts.get_caller_identity()["Account"] == "000000000000"
        answer = sts.assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/path/Importer", RoleSessionName="me")
    role = answer["Credentials"]
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{OTHER}:assumed-role/Importer/me"
    session = boto3.Session(role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"], REGION)
    with contextlib.closing(session.client("kms", endpoint_url=url)) as kms:
        assert kms.describe_key(KeyId="alias/k00001")["KeyMetadata"]["AWSAccountId"] == OTHER


def test_stats_tell_calls_throttles_and_arrivals(kms: Any, url: str, clock: Clock) -> None:
    imported(kms, "alias/k00001")
    clock.now += 0.5
    with pytest.raises(ClientError):
        imported(kms, "alias/k00002")
    stats = json.loads(fetch(f"{url}/stats"))
    lane = f"{ACCOUNT}/{REGION}"
    assert stats["calls"][lane] == {"DescribeKey": 2, "GetParametersForImport": 2, "ImportKeyMaterial": 1}
    assert stats["throttles"][lane] == {"GetParametersForImport": 1}
    assert stats["parameters_arrivals"][lane] == [1000.0, 1000.5]
    assert (stats["total_calls"], stats["total_throttles"]) == (5, 1)
    fetch(f"{url}/reset", data=b"")
    assert kms.describe_key(KeyId="alias/k00001")["KeyMetadata"]["KeyState"] == "PendingImport"


def test_unwrapping_refuses_garbage_and_other_material(clock: Clock) -> None:
    simulator = Simulator(Kms(clock=clock, wrapping=WrappingKeys(real=True)), Quotas(enforced=False), clock=clock)
    with serving(simulator) as url, contextlib.closing(client(url, "kms")) as kms:
        first = imported(kms, "alias/k00001", b"a" * 32)
        assert imported(kms, "alias/k00001", b"a" * 32)["KeyMaterialId"] == first["KeyMaterialId"]
        with pytest.raises(ClientError) as refused:
            imported(kms, "alias/k00001", b"b" * 32)
        assert code(refused) == "IncorrectKeyMaterialException"
        token = kms.get_parameters_for_import(KeyId=first["KeyId"], **OAEP)["ImportToken"]
        with pytest.raises(ClientError) as refused:
            kms.import_key_material(
                KeyId=first["KeyId"],
                ImportToken=token,
                EncryptedKeyMaterial=b"x" * 256,
                ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
            )
        assert code(refused) == "InvalidCiphertextException"


def test_lag_shows_the_key_before_the_import_to_some_reads_only(kms: Any, simulator: Simulator, clock: Clock) -> None:
    simulator.kms.lag = 2
    imported(kms, "alias/k00001")
    seen = {kms.describe_key(KeyId="alias/k00001")["KeyMetadata"]["KeyState"] for _ in range(40)}
    assert seen == {"PendingImport", "Enabled"}
    clock.now += 2
    seen = {kms.describe_key(KeyId="alias/k00001")["KeyMetadata"]["KeyState"] for _ in range(40)}
    assert seen == {"Enabled"}


def test_latency_has_the_median_and_the_tail_that_were_asked_for() -> None:
    latency = Latency(0.020, 0.060)
    draws = sorted(latency.draw() for _ in range(20_000))
    assert draws[10_000] == pytest.approx(0.020, rel=0.03)
    assert draws[19_800] == pytest.approx(0.060, rel=0.06)


@given(
    rate=st.sampled_from([0.1, 0.25, 1.0, 1.5, 15.0]),
    gaps=st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=200),
)
def test_no_window_lets_in_more_than_its_bucket(rate: float, gaps: list[float]) -> None:
    bucket, now, admitted = Bucket(rate, 0), 0.0, []
    for gap in gaps:
        now += gap
        if bucket.take(now):
            admitted.append(now)
    for first, start_ in enumerate(admitted):
        for count, end in enumerate(admitted[first:], 1):
            assert count <= max(1.0, rate) + (end - start_) * rate + 1e-6


@pytest.mark.parametrize("rate", [0.1, 1.0, 15.0])
def test_who_keeps_to_the_rate_is_never_throttled(rate: float) -> None:
    bucket = Bucket(rate, 0)
    assert all(bucket.take(n / rate) for n in range(1000))


def test_another_principal_takes_its_share() -> None:
    scope = (ACCOUNT, REGION, "GetParametersForImport")
    quotas = Quotas(others={scope: 0.75})
    assert sum(quotas.admit(*scope, now=float(second)) for second in range(1001)) == 251
    assert all(quotas.admit(ACCOUNT, "us-east-1", scope[2], now=float(second)) for second in range(100))
