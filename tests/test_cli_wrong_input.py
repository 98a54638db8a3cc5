"""Wrong input through the real command line: the right exit code, the place, what to do; no traceback, no call."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bulk_import.cli import COMMANDS, main

A, B = "111122223333", "444455556666"
GOOD = f"""\
version: 1
defaults: {{role: Importer}}
keys:
  - id: one
    account: "{A}"
    region: us-east-1
    key_id: alias/one
    material: file:one.key
"""  # its key's fields are on lines 4 to 8; what is added is on line 9
CSV = "id,account,region,key_id,material,role\n"
ROW = f"one,{A},us-east-1,alias/one,file:one.key,Importer\n"


class Outside(socketserver.ThreadingTCPServer):
    """All that is not this machine, as the program sees it: a proxy that counts who calls and answers no one."""

    daemon_threads = True
    calls = 0


class _Count(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Outside)
        self.server.calls += 1
        self.request.close()


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    with Outside(("127.0.0.1", 0), _Count) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def env(outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Credentials that no one knows, no configuration of this machine's, and the counting proxy before the world."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "BULK_IMPORT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    proxy = f"http://127.0.0.1:{outside.server_address[1]}"
    ours = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "HTTP_PROXY": proxy,
        "HTTPS_PROXY": proxy,
    }
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return {**os.environ}


@dataclass(frozen=True)
class Case:
    """`says`: what stderr must hold: file, line, field or option, and what to do."""

    name: str
    argv: str
    says: tuple[str, ...]
    code: int = 3
    files: dict[str, str | bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    stdin: str = ""

    @property
    def arguments(self) -> list[str]:
        return ["" if word == "''" else word for word in self.argv.split()]


def manifest(name: str, *says: str, text: str | bytes, file: str = "m.yaml", argv: str = "validate {}") -> Case:
    return Case(name, argv.format(file), (file, *says), files={file: text})


def yaml(name: str, old: str, new: str, *says: str) -> Case:
    """The good manifest with one thing changed."""
    assert old in GOOD
    return manifest(name, *says, text=GOOD.replace(old, new))


def more(name: str, line: str, *says: str) -> Case:
    """The good manifest with a ninth line."""
    return manifest(name, *says, text=f"{GOOD}    {line}\n")


def option(name: str, argv: str, *says: str, code: int = 2, **others: dict[str, str]) -> Case:
    """The good manifest and wrong options."""
    return Case(name, argv, says, code, files={"m.yaml": GOOD}, **others)


def variable(name: str, value: str, *says: str) -> Case:
    return option(f"{name}={value}", "validate m.yaml", name, *says, code=3, env={name: value})


def config(name: str, text: str | bytes, *says: str) -> Case:
    files: dict[str, str | bytes] = {"m.yaml": GOOD, "c.toml": text}
    return Case(name, "validate m.yaml --config c.toml", ("c.toml", *says), files=files)


MANIFESTS = [
    Case("missing file", "validate none.yaml", ("none.yaml", "does not exist", "Check the path")),
    Case("missing file, for run", "run none.yaml", ("none.yaml", "does not exist")),
    Case("missing file, for plan", "plan none.yaml", ("none.yaml", "does not exist")),
    Case("a folder", "validate .yaml", (".yaml", "Name it .yaml"), files={".yaml": GOOD}),
    Case("a folder", "validate d.yaml", ("d.yaml", "is a folder", "Name one file"), files={"d.yaml/x": ""}),
    Case("no extension", "validate keys", ("keys", "--manifest-format"), files={"keys": GOOD}),
    Case("S3 without a key", "validate s3://bucket", ("s3://bucket", "does not name an object", "bucket/key")),
    Case(
        "S3 without a bucket", "validate s3:///keys.yaml", ("s3:///keys.yaml", "not a bucket name", "s3://bucket/key")
    ),
    Case("another store", "validate gs://bucket/keys.yaml", ("gs://bucket/keys.yaml", "cannot be read", "Fetch")),
    Case("empty stdin", "validate -", ("stdin", "is empty", "`version`"), stdin=""),
    Case("bad stdin", "validate -", ("stdin:9", "keys[0].colour", "unknown field"), stdin=GOOD + "    colour: red\n"),
    manifest("empty", "is empty", "at least `version`", text=""),
    manifest("blank", "is empty", text=" \n\n"),
    manifest("not UTF-8", "m.yaml:9", "is not UTF-8", "Save it as UTF-8", text=GOOD.encode() + b"# \xff\n"),
    manifest("UTF-16", "UTF-16", "Save it as UTF-8", text=GOOD.encode("utf-16")),
    manifest("cut off", "m.json:2", "cut off", text='{"version": 1,\n "keys": [', file="m.json"),
    manifest("not YAML", "m.yaml:9", "not YAML", text=GOOD + '    encoding: "raw'),
    manifest("nested", "m.yaml:1", "deep", text="[" * 100_000),
    manifest("no keys", "m.yaml:2", "keys", "is empty", "List at least one key", text="version: 1\nkeys: []\n"),
    manifest("a list", "m.yaml:1", "is not a mapping", text="- version: 1\n"),
    manifest("twice", "m.yaml:9", "keys[1].id", "already there", text=GOOD + GOOD[GOOD.index("  - id") :]),
    more("typing error", "key_sepc: RSA_2048", "m.yaml:9", "keys[0].key_sepc", "Did you mean key_spec?"),
    more("tag", "encoding: !!str raw", "m.yaml:9", "tags"),
    more("key spec", "key_spec: SM2", "m.yaml:9", "keys[0].key_spec", "not in this version"),
    more("wrapping", "wrapping_algorithm: RSAES_PKCS1_V1_5", "m.yaml:9", "keys[0].wrapping_algorithm"),
    more("past", "valid_to: 2020-01-01T00:00:00Z", "m.yaml:9", "keys[0].valid_to", "in the past"),
    more("no offset", "valid_to: 2027-01-01T00:00:00", "m.yaml:9", "keys[0].valid_to", "has no offset"),
    more("duration", "valid_for: 90", "m.yaml:9", "keys[0].valid_for", "90d"),
    more("two expiries", "valid_for: 9d\n    valid_to: never", "m.yaml:9", "keys[0].valid_for", "valid_to"),
    more("check value", "expect: {kcv: 08d7b}", "m.yaml:9", "keys[0].expect.kcv", "6 hex digits"),
    yaml("spreadsheet", f'"{A}"', "1.1E+11", "m.yaml:5", "keys[0].account", "1.1E+11"),
    yaml("short account", f'"{A}"', "11122223333", "m.yaml:5", "keys[0].account", "011122223333"),
    yaml("Region", "us-east-1", "us-esat-1", "m.yaml:6", "keys[0].region", "Did you mean us-east-1?"),
    yaml("AWS managed", "alias/one", "alias/aws/s3", "m.yaml:7", "keys[0].key_id", "AWS managed key"),
    yaml("other account", "alias/one", f"arn:aws:kms:us-east-1:{B}:alias/a", "m.yaml:7", "keys[0].key_id", B),
    yaml("outside", "file:one.key", "file:../one.key", "m.yaml:8", "keys[0].material", "leaves the manifest's folder"),
    yaml("scheme", "file:one.key", "flie:one.key", "m.yaml:8", "keys[0].material", "Did you mean file?"),
    yaml("placeholder", "file:one.key", "'file:{acount}'", "m.yaml:8", "keys[0].material", "Did you mean account?"),
    yaml("role", "Importer", "'a b'", "m.yaml:2", "defaults.role"),
    yaml("no role", "{role: Importer}", "{}", "m.yaml:5", A, "--role"),
    yaml("version", "version: 1", "version: 2", "m.yaml:1", "version", "is not 1"),
    manifest("CSV header", "m.csv:1", "rol", "Did you mean role?", text=CSV.replace("role", "rol") + ROW, file="m.csv"),
    manifest("CSV row", "m.csv:3", "has 2 cells", text=CSV + ROW + "two,x\n", file="m.csv"),
    manifest("CSV account", "m.csv:2", "account", "spreadsheet", text=CSV + ROW.replace(A, "1.11E+11"), file="m.csv"),
    manifest("JSON Lines", "m.jsonl:2", "not a JSON object", text="\n[]\n", file="m.jsonl"),
]

OPTIONS = [
    option("typing error in a command", "valdate m.yaml", "`valdate`", "Did you mean `validate`?"),
    option("no command at all like it", "frobnicate m.yaml", "`frobnicate`", "The commands are validate, plan, run"),
    option("no manifest", "validate", "MANIFEST"),
    option("two manifests", "validate m.yaml m.yaml", "m.yaml"),
    option("unknown option", "run m.yaml --qota 1", "--qota"),
    option("option of another command", "validate m.yaml --reads 3", "--reads"),
    option("option without value", "run m.yaml --reads", "--reads"),
    option("--region", "run m.yaml --region us-east-1", "--sts-region", "--only-region"),
    option("--region=", "plan m.yaml --region=us-east-1", "--sts-region", "--only-region"),
    option("a command after --", "-- run", "The command comes first"),
    option("--reads x", "run m.yaml --reads x", "--reads", "integer"),
    option("--reads 0", "run m.yaml --reads 0", "--reads", "greater than or equal to 1"),
    option("--prove maybe", "run m.yaml --prove maybe", "--prove", "'auto', 'changed', 'all' or 'none'"),
    option("a proof that is not made", "run m.yaml --prove none --require-proof", "--require-proof", "--prove none"),
    option("--shard x", "run m.yaml --shard x", "--shard", "write I/N"),
    option("--shard 3/2", "run m.yaml --shard 3/2", "--shard", "write I/N"),
    option("--shard 0/2", "run m.yaml --shard 0/2", "--shard", "write I/N"),
    option("--quota unknown", "run m.yaml --quota Dscribe=1", "--quota", "Dscribe", "DescribeKey", code=3),
    option("--quota no rate", "run m.yaml --quota DescribeKey", "--quota", "NAME=VALUE"),
    option("--quota 0", "run m.yaml --quota DescribeKey=0", "--quota", "DescribeKey", "above 0"),
    option("--label", "run m.yaml --label team", "--label", "NAME=VALUE"),
    option("--deadline soon", "run m.yaml --deadline soon", "--deadline", "2s, 10m"),
    option("--max-targets 0", "validate m.yaml --max-targets 0", "--max-targets"),
    option("--log-format xml", "validate m.yaml --log-format xml", "--log-format", "'text' or 'json'"),
    option("--log-level", "validate m.yaml --log-level loud", "--log-level", "'debug'"),
    option("--format of a plan", "plan m.yaml --format xml", "--format", "'table', 'json'"),
    option("--format of a run", "run m.yaml --format json", "--format has no effect", "--dry-run", "--report -"),
    option("--checkpoint-interval", "run m.yaml --checkpoint-interval 1m", "has no effect", "--checkpoint s3://"),
    option("--s3-sse", "run m.yaml --s3-sse AES256", "--s3-sse has no effect", "nothing goes to S3"),
    option("--s3-sse-kms-key-id", "run m.yaml --s3-sse-kms-key-id alias/a", "has no effect", "nothing goes to S3"),
    option("--s3-sse afterwards", "report m.yaml --s3-sse AES256", "--s3-sse has no effect", "--output s3://"),
    option("--deadline of a dry run", "run m.yaml --dry-run --deadline 1h", "--deadline has no effect", "--dry-run"),
    option("an empty option", "run m.yaml --report ''", "--report", "is empty", "omit it"),
    option("an empty endpoint", "run m.yaml --endpoint-url ''", "--endpoint-url", "is empty"),
    option("schema of what", "schema keys", "There is no schema of keys", "manifest, report, plan"),
    option("report of a manifest", "report m.yaml", "m.yaml:1", "is not JSON", "Name a report or a journal", code=3),
    option("schema of nothing", "schema", "manifest"),
    option("--port", "sandbox --port 65536", "--port", "65535"),
    option("--only-id", "validate m.yaml --only-id two", "--only-id", "two", code=3),
    option("--only-account", f"validate m.yaml --only-account {B}", "--only-account", B, code=3),
    option("--only-region", "run m.yaml --only-region eu-west-1", "--only-region", "eu-west-1", code=3),
    option("--allow-account", f"run m.yaml --allow-account {B}", "m.yaml:5", "--allow-account", A, code=3),
    option("--role", "validate m.yaml --role a,b;c", "--role", "Write a name", code=3),
    option("--material-root", "run m.yaml --material-root none", "--material-root", "none", "existing folder", code=3),
    option("--manifest-format", "run m.yaml --manifest-format toml", "--manifest-format", "'yaml'"),
    option("--profile", "run m.yaml --profile none", "--profile", "'none' is not configured", code=3),
    option("http", "run m.yaml --endpoint-url http://kms.example.com", "--endpoint-url", "https://", code=3),
    option("http by Region", "plan m.yaml --endpoint-url http://{region}.example.com", "--endpoint-url", code=3),
    option("http, another's loopback", "run m.yaml --endpoint-url http://127.0.0.1.example.com", "https://", code=3),
    option("ftp", "run m.yaml --endpoint-url ftp://127.0.0.1/", "--endpoint-url", "https://", code=3),
    option("not a URL", "run m.yaml --endpoint-url kms", "endpoint", "kms", code=3),
    option("unknown placeholder", "run m.yaml --endpoint-url http://127.0.0.1:9/{regoin}", "{regoin}", code=3),
    option("--sts-region", "run m.yaml --sts-region Frankfurt!", "--sts-region", "eu-central-1"),
    option("--config missing", "validate m.yaml --config none.toml", "none.toml", "cannot be read", code=3),
    option("--config a folder", "validate m.yaml --config .", "cannot be read", code=3),
    option("the journal's folder", "run m.yaml --report none/report.json", "none/report.journal.jsonl", code=3),
    *[option(name, f"{name} m.yaml", "Missing argument") for name in ("prepare", "seal", "submit")],
    option("--yes, of a command to come", "run m.yaml --yes", "--yes"),
    variable("BULK_IMPORT_REGION", "us-east-1", "environment", "is not a setting"),
    variable("BULK_IMPORT_ONLY_REGIONS", "us-east-1", "Did you mean BULK_IMPORT_ONLY_REGION?"),
    variable("BULK_IMPORT_YES", "1", "is not a setting"),
    variable("BULK_IMPORT_READS", "x", "environment", "integer"),
    variable("BULK_IMPORT_QUIET", "perhaps", "environment", "boolean"),
    option(
        "--config by variable", "validate m.yaml", "none.toml", "cannot be read", code=3,
        env={"BULK_IMPORT_CONFIG": "none.toml"},
    ),
    option(
        "http by variable", "run m.yaml", "https://", "AWS_ENDPOINT_URL", code=3,
        env={"AWS_ENDPOINT_URL_KMS": "http://kms.example.com"},
    ),
    option(
        "profile by variable", "run m.yaml", "'none' is not configured", "AWS_PROFILE", code=3,
        env={"AWS_PROFILE": "none"},
    ),
    config("not TOML", "reads = \n", "c.toml:1", "is not TOML"),
    config("TOML not UTF-8", b"\xff", "is not UTF-8", "Save it as UTF-8"),
    config("unknown key", "quiet = true\nreeds = 3\n", "c.toml:2", "reeds", "Did you mean reads?"),
    config("wrong value", "# one\nreads = 'x'\n", "c.toml:2", "reads", "integer"),
    Case(
        "too many targets", "run m.yaml --max-targets 1", ("m.yaml", "2 targets", "--max-targets", "raise the limit"),
        files={"m.yaml": GOOD.replace("region: us-east-1", "regions: [us-east-1, eu-west-1]")},
    ),
    Case(
        "material missing", "validate m.yaml --material", ("m.yaml:4", "material of one", "one.key"),
        files={"m.yaml": GOOD},
    ),
    Case(
        "material of a wrong length", "validate m.yaml --material", ("m.yaml:4", "material of one", "32"),
        files={"m.yaml": GOOD + "    key_spec: SYMMETRIC_DEFAULT\n    encoding: raw\n", "one.key": b"\x01" * 31},
    ),
    Case(
        "broken AWS configuration", "run m.yaml", ("broken",), env={"AWS_CONFIG_FILE": "broken"},
        files={"m.yaml": GOOD, "broken": "[default\n"},
    ),
]  # fmt: skip
CASES = MANIFESTS + OPTIONS
# Through a process of its own, as a pipeline starts it.
AS_PROCESS = [
    case
    for case in CASES
    if case.name
    in {
        "missing file", "bad stdin", "typing error", "spreadsheet", "--region", "http", "--quota unknown", "--reads x",
        "BULK_IMPORT_REGION=us-east-1", "unknown key", "status", "unknown option", "typing error in a command",
        "a proof that is not made",
    }
]  # fmt: skip


def prepare(case: Case, folder: Path) -> None:
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def check(case: Case, code: int, out: str, err: str) -> None:
    assert code == case.code, err
    assert out == ""  # stdout carries the result only
    assert "Traceback" not in err
    assert "Internal error" not in err
    for part in case.says:
        assert part in err, err


def bulk_import(*argv: str, env: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bulk_import", *argv]
    return subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_there_are_many() -> None:
    assert len(CASES) >= 45
    assert len(AS_PROCESS) >= 10


@pytest.fixture
def start(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[Case], tuple[int, str, str]]:
    """Runs a case through `main`: exit code, stdout, stderr."""

    def run(case: Case) -> tuple[int, str, str]:
        prepare(case, tmp_path)
        for name, value in case.env.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "stdin").write_text(case.stdin)
        with (tmp_path / "stdin").open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            return main(case.arguments), *capfd.readouterr()

    return run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_wrong_input(
    case: Case, start: Callable[[Case], tuple[int, str, str]], outside: Outside, tmp_path: Path
) -> None:
    called = outside.calls
    check(case, *start(case))
    assert outside.calls == called  # exit codes 2 and 3: no one was asked anything
    assert not list(tmp_path.glob("report*"))  # and nothing was begun


@pytest.mark.parametrize("case", AS_PROCESS, ids=lambda case: case.name)
def test_wrong_input_as_a_process(case: Case, env: dict[str, str], tmp_path: Path) -> None:
    prepare(case, tmp_path)
    done = bulk_import(*case.arguments, env=env | case.env, stdin=case.stdin)
    check(case, done.returncode, done.stdout, done.stderr)


def test_a_call_would_have_been_counted(
    env: dict[str, str], outside: Outside, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The tests above rest on this: what does go out, goes to the counting proxy."""
    (tmp_path / "m.yaml").write_text(GOOD)
    called = outside.calls
    assert main(["run", "m.yaml", "--endpoint-url", "https://kms.example.com", "--retry-timeout", "0"]) == 5
    assert outside.calls > called
    assert "Traceback" not in capfd.readouterr().err


def test_every_mistake_is_told_at_once(env: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = GOOD.replace("us-east-1", "us-esat-1").replace("alias/one", "alias/aws/one") + "    colour: red\n"
    (tmp_path / "m.yaml").write_text(wrong)
    assert main(["validate", "m.yaml"]) == 3
    places = [line.split(" ")[0] for line in capfd.readouterr().err.splitlines()]
    assert places == ["m.yaml:6:", "m.yaml:7:", "m.yaml:9:"]


def test_the_good_manifest_is_good(env: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.yaml").write_text(GOOD)
    assert main(["validate", "m.yaml"]) == 0
    assert "m.yaml: valid" in capfd.readouterr().err


def test_no_argument_at_all_shows_the_help(env: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = "".join(capfd.readouterr())
    assert all(name in shown for name in COMMANDS)


# --- a terminal that is not there


def test_stdout_that_nobody_reads(env: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nowhere:
        command = [sys.executable, "-m", "bulk_import", "schema", "report"]
        done = subprocess.run(command, env=env, stdout=nowhere, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == b""


def test_stdout_on_a_full_disk(env: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "bulk_import", "schema", "report"]
        done = subprocess.run(command, env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "stdout cannot be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("argv", "redirection", "code"),
    [("schema report", ">&-", 1), ("--help", ">&-", 1), ("validate m.yaml", ">&-", 0), ("validate m.yaml", "2>&-", 0),
     ("validate none.yaml", "2>&-", 3), ("validate none.yaml", ">&- 2>&-", 3), ("validate -", "<&-", 3),
     ("validate m.yaml", "<&- >&- 2>&-", 0)],
)  # fmt: skip
def test_closed_streams(argv: str, redirection: str, code: int, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(GOOD)
    shell = f"exec {sys.executable} -m bulk_import {argv} {redirection}"
    done = subprocess.run(["sh", "-c", shell], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Internal error" not in done.stderr


# --- an extra that is not installed

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from bulk_import.cli import main
sys.exit(main({argv!r}))
"""


@pytest.fixture
def without(env: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(module: str, *argv: str) -> subprocess.CompletedProcess[str]:
        script = BLOCKED.format(module=module, argv=list(argv))
        return subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.mark.parametrize("module", ["moto", "flask", "flask_cors"])
def test_sandbox_without_its_extra(module: str, without: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = without(module, "sandbox")
    assert done.returncode == 2
    assert module in done.stderr
    assert "pip install 'kms-bulk-import[sandbox]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_rest_needs_no_extra(without: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(GOOD)
    assert without("moto", "validate", "m.yaml").returncode == 0
    assert without("moto", "--help").returncode == 0
    assert without("moto", "sandbox", "--help").returncode == 0
