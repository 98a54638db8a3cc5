"""The sandbox serves programs of this machine only, reads its seed's folder only, and ends with who started it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox_client import Sandbox


def ask(sandbox: Sandbox, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """A POST with these headers (`_` for `-`): status and body."""
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", path, b"{}", {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "10.0.0.1"},
        {"Host": "[::2]"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Host": "evil.example:80@127.0.0.1"},
        {"Host": "localhost, evil.example"},
        {"Host": "localhost#.evil.example"},
        {"Host": "0x7f000001"},
        {"Host": "localhost", "host": "evil.example"},
        {"Referer": "http://evil.example/"},
        {"Referer": "http://[/"},
        {"Origin": "http://["},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_pages_of_other_sites_get_nothing(sandbox: Sandbox, headers: dict[str, str]) -> None:
    sandbox.key()
    for path in ("/", "/_sandbox/reset", "/moto-api/reset", "/_sandbox/seed"):
        status, body = ask(sandbox, path, **headers)
        assert (status, "this sandbox answers" in body["message"]) == (403, True)
    assert len(sandbox.keys()) == 1
    assert sandbox.calls() == []


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "bucket.localhost", "a.s3.localhost"])
def test_every_name_of_loopback_is_answered(sandbox: Sandbox, name: str) -> None:
    port = sandbox.url.rsplit(":", 1)[1]
    assert ask(sandbox, "/_sandbox/faults/clear", Host=f"{name}:{port}") == (200, {})
    same = {"Origin": f"http://{name}:{port}", "Sec_Fetch_Site": "same-origin"}
    assert ask(sandbox, "/_sandbox/faults/clear", Host=f"{name}:{port}", **same) == (200, {})


def seed_with(file: str | Path) -> dict[str, Any]:
    keys = [{"key_spec": "HMAC_256", "material": {"file": str(file)}}]
    return {"accounts": {"111122223333": {"regions": {"us-east-1": {"keys": keys}}}}}


def test_a_seed_sent_to_a_running_sandbox_reads_no_other_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for folder in (tmp_path, home):
        (folder / "mac.key").write_bytes(bytes(32))
    (home / "link.key").symlink_to(tmp_path / "mac.key")
    (home / "seed.yaml").write_text("{}")
    with Sandbox("--seed", str(home / "seed.yaml")) as sandbox:
        for file in (tmp_path / "mac.key", "../mac.key", "link.key", "/dev/zero", "/proc/self/environ"):
            with pytest.raises(ValueError, match="is not below the seed file's folder"):
                sandbox.seed(seed_with(file))
        assert sandbox.keys() == []
        assert sandbox.seed(seed_with("mac.key"))
        assert sandbox.seed(seed_with(home / "mac.key"))


def test_a_sandbox_without_a_seed_file_reads_no_file(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "mac.key").write_bytes(bytes(32))
    with pytest.raises(ValueError, match="without a seed file"):
        sandbox.seed(seed_with(tmp_path / "mac.key"))


def test_a_seed_file_reads_no_other_folder_either(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "mac.key").write_bytes(bytes(32))
    seed = tmp_path / "home" / "seed.yaml"
    seed.write_text(json.dumps(seed_with("../mac.key")))
    done = subprocess.run(
        [sys.executable, "-m", "bulk_import.sandbox", "--seed", str(seed)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "../mac.key is not below the seed file's folder" in done.stderr


def test_an_unknown_region_in_a_seed_is_a_mistake_of_the_seed(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="No such Region: eu-nowhere-1"):
        sandbox.key(region="eu-nowhere-1")
    with pytest.raises(ValueError, match="No such Region: eu-nowhere-1"):
        sandbox.key(multi_region=True, replicas=["eu-nowhere-1"])


STARTER = """
import subprocess, sys, time
sandbox = subprocess.Popen([sys.executable, "-m", "bulk_import.sandbox", "--stop-with-stdin"], stdin=subprocess.PIPE)
print(sandbox.pid, flush=True)
time.sleep(600)
"""


def ended(pid: int, seconds: float = 100) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_a_sandbox_ends_with_the_killed_process_that_started_it() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout as lines:
        pid, url = int(lines.readline()), lines.readline()  # the URL: it is up
        assert url.startswith("http://127.0.0.1:")
        starter.kill()
        starter.wait()
        assert ended(pid)


def test_a_killed_demo_leaves_nothing_running(tmp_path: Path) -> None:
    """`make demo`, as the Makefile starts it, ended with SIGKILL in the middle of its first run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BULK_IMPORT_"))}
    program = f"import tests.demo as d, pathlib; d.FOLDER = pathlib.Path({str(tmp_path / 'demo')!r}); d.main()"
    demo = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    assert demo.stdout is not None
    with demo.stdout as lines:
        url = next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        connection.request("GET", "/_sandbox/health")
        pid = json.load(connection.getresponse())["pid"]
        connection.close()
        children = [int(child) for child in Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()]
        os.kill(demo.pid, signal.SIGKILL)
        demo.wait()
        assert pid in children
        assert ended(pid)


def test_things_of_another_account_are_refused(sandbox: Sandbox) -> None:
    """Secrets Manager, SSM and S3 answer by the account of the assumed role."""
    mine, other = "111122223333", "444455556666"
    secrets = sandbox.client("secretsmanager", account=mine)
    arn = secrets.create_secret(Name="byok/key", SecretBinary=bytes(32))["ARN"]
    assert secrets.get_secret_value(SecretId=arn)["SecretBinary"] == bytes(32)
    theirs = sandbox.client("secretsmanager", account=other)
    with pytest.raises(theirs.exceptions.ClientError, match="no resource-based policy allows the secretsmanager:Get"):
        theirs.get_secret_value(SecretId=arn)
    with pytest.raises(theirs.exceptions.ResourceNotFoundException):
        theirs.get_secret_value(SecretId="byok/key")

    ssm = sandbox.client("ssm", account=mine)
    ssm.put_parameter(Name="/byok/key", Value="AAAA", Type="SecureString")
    assert ssm.get_parameter(Name="/byok/key", WithDecryption=True)["Parameter"]["Value"] == "AAAA"
    there = sandbox.client("ssm", account=other)
    with pytest.raises(there.exceptions.ParameterNotFound):
        there.get_parameter(Name="/byok/key")
    with pytest.raises(there.exceptions.ClientError, match="AccessDenied"):
        there.get_parameter(Name=f"arn:aws:ssm:us-east-1:{mine}:parameter/byok/key")

    s3 = sandbox.client("s3", account=mine)
    s3.create_bucket(Bucket="byok-keys")
    s3.put_object(Bucket="byok-keys", Key="k.key", Body=bytes(32))
    strange = sandbox.client("s3", account=other)
    for call in ("get_object", "head_object", "delete_object"):
        with pytest.raises(strange.exceptions.ClientError, match=r"AccessDenied|Forbidden"):
            getattr(strange, call)(Bucket="byok-keys", Key="k.key")
    assert s3.get_object(Bucket="byok-keys", Key="k.key")["Body"].read() == bytes(32)
