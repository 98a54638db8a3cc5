"""`exec:`: real commands, through the real command line."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bulk_import.shown import HIDDEN
from tests.e2e import materials
from tests.e2e.support import REGION, Result, Workplace, quick
from tests.e2e.test_canary import forms, search
from tests.sandbox_client import Sandbox
from tests.sources import components
from tests.sources.support import add

ALLOW = ("--allow-source", "exec:", "--config", "settings.toml")


def define(work: Workplace, name: str, argv: list[str], **fields: object) -> None:
    """Adds [exec.name] to the settings file. A list of strings is JSON and TOML alike."""
    lines = [f"[exec.{name}]", f"argv = {json.dumps(argv)}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    with (work.folder / "settings.toml").open("a") as file:
        file.write("\n".join(lines) + "\n")


@pytest.mark.parametrize("spec", ["SYMMETRIC_DEFAULT", "HMAC_384", "ECC_NIST_P256", "RSA_2048"])
def test_what_a_command_prints_is_imported(sandbox: Sandbox, work: Workplace, spec: str) -> None:
    material = materials.make(spec)
    (work.folder / "printed").write_bytes(material)
    define(work, "hsm", ["/bin/cat", "printed"])
    key = sandbox.key(key_spec=spec, key_usage=materials.usage(spec))
    add(work, "exec:hsm", key["key_id"])
    result = work.run(*ALLOW)
    assert result.code == 0, result.stderr
    assert result.entries["one"]["status"] == "imported"
    assert materials.held_by(sandbox.client(), key["key_id"], spec, material)


@pytest.mark.parametrize("where", ["settings", "manifest"])
def test_the_encoding_of_the_settings_or_of_the_manifest(sandbox: Sandbox, work: Workplace, where: str) -> None:
    material = materials.make("HMAC_256")
    text = base64.b64encode(material).decode()
    define(work, "hsm", ["/bin/echo", text], **({"encoding": "base64"} if where == "settings" else {"encoding": "hex"}))
    key = sandbox.key(key_spec="HMAC_256")
    add(work, "exec:hsm", key["key_id"], **({"encoding": "base64"} if where == "manifest" else {}))
    result = work.run(*ALLOW)
    assert result.code == 0, result.stderr
    assert result.entries["one"]["verification"]["proof"] == "hmac"


def test_text_without_an_encoding_is_refused(sandbox: Sandbox, work: Workplace) -> None:
    define(work, "hsm", ["/bin/echo", materials.make("HMAC_256").hex()])
    add(work, "exec:hsm", sandbox.key(key_spec="HMAC_256")["key_id"])
    result = work.run(*ALLOW)
    assert result.code == 5
    assert result.entries["one"]["error"]["code"] == "AmbiguousEncoding"
    assert sandbox.calls(operation="GetParametersForImport") == []


def test_placeholders_are_replaced_inside_arguments_and_no_shell_sees_them(sandbox: Sandbox, work: Workplace) -> None:
    for name in ("one", "two"):
        (work.folder / f"{name} {REGION} 111122223333 aws ;$HOME.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
        add(work, "exec:hsm", sandbox.key()["key_id"], name=name)
    define(work, "hsm", ["/bin/cat", "{id} {region} {account} {partition} ;$HOME.key"])
    result = work.run(*ALLOW)
    assert result.code == 0, result.stderr


COUNT = 'echo run >> count; sleep 1; cat "$1"'


def test_targets_that_overlap_share_one_run_of_the_command(sandbox: Sandbox, work: Workplace) -> None:
    (work.folder / "printed").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    define(work, "hsm", ["/bin/sh", "-c", COUNT, "sh", "printed"])
    for index, region in enumerate(("us-east-1", "eu-west-1", "eu-west-2", "eu-west-3")):
        add(work, "exec:hsm", sandbox.key(region=region)["key_id"], name=f"k{index}", region=region)
    result = work.run(*ALLOW)
    assert result.code == 0, result.stderr
    assert (work.folder / "count").read_text().count("run") < 4
    assert len(sandbox.calls(operation="ImportKeyMaterial")) == 4


def test_one_target_runs_the_command_once_even_if_it_needs_a_second_token(sandbox: Sandbox, work: Workplace) -> None:
    (work.folder / "printed").write_bytes(materials.make("HMAC_256"))
    define(work, "hsm", ["/bin/sh", "-c", COUNT, "sh", "printed"])
    key = sandbox.key(key_spec="HMAC_256")
    sandbox.fault("error", operation="ImportKeyMaterial", code="InvalidImportTokenException", times=1)
    add(work, "exec:hsm", key["key_id"])
    result = work.run(*ALLOW)
    assert result.code == 0, result.stderr
    assert len(sandbox.calls(operation="GetParametersForImport")) == 2
    assert (work.folder / "count").read_text() == "run\n"


def test_the_environment_of_the_command(sandbox: Sandbox, work: Workplace) -> None:
    define(work, "hsm", ["/bin/sh", "-c", "env > seen; cat printed"], env=["NEEDED"])
    (work.folder / "printed").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    add(work, "exec:hsm", sandbox.key()["key_id"])
    result = work.run(*ALLOW, NEEDED="this", OTHER="not this", LANG="C.UTF-8", CANARY="secret")
    assert result.code == 0, result.stderr
    seen = {line.partition("=")[0] for line in (work.folder / "seen").read_text().splitlines()}
    assert seen - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "LANG", "NEEDED"} | ({"HOME"} & os.environ.keys())


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"])
def test_no_command_gets_aws_credentials(work: Workplace, variable: str) -> None:
    define(work, "hsm", ["/bin/true"], env=[variable])
    add(work, "exec:hsm")
    work.write()
    result = work.call("validate", "manifest.json", *ALLOW)
    assert result.code == 3
    assert variable in result.stderr


def test_no_command_gets_what_an_env_source_holds(work: Workplace) -> None:
    define(work, "hsm", ["/bin/true"], env=["CANARY"])
    add(work, "exec:hsm")
    add(work, "env:CANARY", "alias/two", name="two")
    work.write()
    result = work.call("validate", "manifest.json", *ALLOW, "--allow-source", "env:")
    assert result.code == 3
    assert "CANARY" in result.stderr


LEAK = 'printf %s "$0" >&2; printf "\\033[31m\\007 line\\n" >&2; printf %s "$0"; exit 3'
FAILURES = {
    "exit": (["/bin/sh", "-c", "echo token is locked >&2; exit 7"], {}, "SourceFailed", "exit code 7: token is locked"),
    "signal": (["/bin/sh", "-c", "kill -SEGV $$"], {}, "SourceFailed", "signal 11"),
    "missing": (["/no/such/command"], {}, "SourceFailed", "No such file"),
    "folder": (["/usr"], {}, "SourceFailed", "Permission denied"),
    "slow": (["/bin/sleep", "60"], {"timeout": "300ms"}, "SourceFailed", "within 0.3 s"),
    "much": (["/usr/bin/head", "-c", "200000", "/dev/urandom"], {}, "SourceFailed", "more than 65536"),
    "endless": (["/usr/bin/yes"], {}, "SourceFailed", "more than 65536"),
    "empty": (["/bin/true"], {}, "MaterialWrongLength", "nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_a_command_that_fails(sandbox: Sandbox, work: Workplace, case: str) -> None:
    argv, fields, code, said = FAILURES[case]
    define(work, "hsm", argv, **fields)
    add(work, "exec:hsm", sandbox.key()["key_id"])
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="good")
    result = work.run(*ALLOW, "--allow-source", "file:")
    assert result.code == 4, result.stderr
    assert result.entries["good"]["status"] == "imported"
    error = result.entries["one"]["error"]
    assert error["code"] == code
    assert said in error["message"]
    assert error["advice"]


@pytest.mark.parametrize("form", [lambda m: m.hex(), lambda m: base64.b64encode(m).decode()])
def test_stderr_is_cleaned_of_what_could_be_the_key(sandbox: Sandbox, work: Workplace, form) -> None:
    material = materials.make("HMAC_256")
    define(work, "hsm", ["/bin/sh", "-c", LEAK, form(material)])
    add(work, "exec:hsm", sandbox.key(key_spec="HMAC_256")["key_id"])
    result = work.run(*ALLOW, "--log-level", "debug")
    assert result.code == 5
    message = result.entries["one"]["error"]["message"]
    assert "exit code 3" in message
    assert "line" in message
    assert message.isprintable()
    assert search(work.folder, result, forms(material), leave_out={"settings.toml"}) == []


KEY = hashlib.sha256(b"a key").digest()
BASE64 = base64.b64encode(KEY).decode()
AS_TEXT = "".join(chr(byte) if 32 < byte < 127 else "." for byte in KEY)
WRITTEN = {
    "bytes": KEY,
    "bytes as Latin-1": KEY.decode("latin-1"),
    "UTF-16": KEY.hex().encode("utf-16"),
    "UTF-32": BASE64.encode("utf-32"),
    "hex by bytes": KEY.hex(" "),
    "hex by digits": " ".join(KEY.hex()),
    "hex in wide digits": "".join(chr(ord(digit) + 0xFEE0) for digit in KEY.hex()),
    "a dump": "\n".join(f"{at:08x}  {KEY[at : at + 16].hex(' ')}  |{AS_TEXT[at : at + 16]}|" for at in (0, 16)),
    "base64 in short lines": "\n".join(BASE64[at : at + 16] for at in range(0, 44, 16)),
    "base64 in short words": " ".join(BASE64[at : at + 6] for at in range(0, 44, 6)),
    "base32 in words": " ".join(re.findall(".{8}", base64.b32encode(KEY).decode())),
    "base85": base64.b85encode(KEY).decode(),
    "ascii85": base64.a85encode(KEY).decode(),
    "decimal numbers": str([*KEY]),
    "octal numbers": " ".join(f"{byte:03o}" for byte in KEY),
    "Python": repr(KEY),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_words_of_stderr_are_shown_and_nothing_of_a_key(sandbox: Sandbox, work: Workplace, form: str) -> None:
    """A command that fails before it prints the key: only its stderr has it, in a form that this program never uses."""
    written = WRITTEN[form]
    (work.folder / "written").write_bytes(written if isinstance(written, bytes) else written.encode())
    define(
        work,
        "hsm",
        ["/bin/sh", "-c", "(echo Cannot open slot 3:; cat written; echo; echo it is locked) >&2; exit 3"],
    )
    add(work, "exec:hsm", sandbox.key(key_spec="HMAC_256")["key_id"])
    result = work.run(*ALLOW)
    assert result.code == 5
    said = result.entries["one"]["error"]["message"].partition("ended with exit code 3: ")[2]
    assert said.startswith("Cannot open slot <not shown>"), said
    assert not [word for word in said.replace(HIDDEN, "").split() if word not in "Cannot open slot it is locked"], said


def test_stderr_without_a_key_is_shown_as_it_is(sandbox: Sandbox, work: Workplace) -> None:
    said = "C_Login: rv = CKR_PIN_LOCKED (0xa4), slot 7 of 10.0.0.12:9004; Schlüssel „payments“ fehlt"
    define(work, "hsm", ["/bin/sh", "-c", f"echo '{said}' >&2; exit 3"])
    add(work, "exec:hsm", sandbox.key(key_spec="HMAC_256")["key_id"])
    assert work.run(*ALLOW).entries["one"]["error"]["message"].endswith(f"exit code 3: {said}")


# A command of sudo, for somebody who is not root: here the program is root without CAP_KILL, and the command is nobody.
ELSE = "echo $$ > pid; exec setpriv --reuid=65534 --clear-groups sh -c '{}'"


@pytest.mark.parametrize("does", ["exec sleep 300", "exec sleep 300 >&- 2>&-", "exec yes"])
def test_a_command_of_another_user_that_cannot_be_killed(sandbox: Sandbox, work: Workplace, does: str) -> None:
    """It fails its own target, and neither an error of the system nor the wait for its end stops the run."""
    components.need("setpriv")
    define(work, "hsm", ["/bin/sh", "-c", ELSE.format(does)], timeout="3s")
    add(work, "exec:hsm", sandbox.key()["key_id"])
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="good")
    work.write()
    command = work.command("run", "manifest.json", "--read-interval", "10ms", *ALLOW, "--allow-source", "file:")
    without = ["setpriv", "--inh-caps=-kill", "--bounding-set=-kill"]
    try:
        done = subprocess.run(
            [*without, *command], cwd=work.folder, env=work.environment(), capture_output=True, timeout=100, check=False
        )
        left = running(int((work.folder / "pid").read_text()))
    finally:
        os.kill(int((work.folder / "pid").read_text()), signal.SIGKILL) if "sleep" in does else None
    result = Result(done.returncode, done.stdout, done.stderr.decode(), work.folder)
    assert result.code == 4, result.stderr
    assert left == ("sleep" in does)
    assert result.entries["good"]["status"] == "imported"
    assert result.entries["one"]["error"]["code"] == "SourceFailed"


def test_too_many_open_files_pass(sandbox: Sandbox, work: Workplace) -> None:
    """What is not started for want of a pipe is started when other commands have ended; the message says the limit."""
    (work.folder / "printed").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    for number in range(12):
        define(work, f"hsm{number}", ["/bin/sh", "-c", "sleep 0.2; cat printed"])
        region = ("us-east-1", "eu-west-1", "eu-west-2", "eu-west-3")[number % 4]
        key = sandbox.key(region=region)["key_id"]
        add(work, f"exec:hsm{number}", key, name=f"k{number}", region=region)
    work.write()
    for limit, more in ((25, "1s"), (32, "60s")):
        options = (*ALLOW, "--retry-timeout", more)
        command = [
            "/bin/sh",
            "-c",
            f'ulimit -n {limit}; exec "$0" "$@"',
            *work.command("run", "manifest.json", *quick(options)),
        ]
        done = subprocess.run(
            [*command, *options], cwd=work.folder, env=work.environment(), capture_output=True, timeout=100, check=False
        )
        result = Result(done.returncode, done.stdout, done.stderr.decode(), work.folder)
        errors = [entry["error"] for entry in result.entries.values() if entry["error"]]
        assert all("(EMFILE)" in error["message"] and "ulimit -n" in error["advice"] for error in errors)
        assert bool(errors) == (limit == 25), result.stderr


def test_the_process_group_is_killed_at_the_timeout_and_at_the_end(sandbox: Sandbox, work: Workplace) -> None:
    """A command that leaves a child behind, which would hold its output open."""
    script = 'sleep 50 & echo $! > "$1.pid"; [ "$1" = slow ] && wait; cat printed'
    (work.folder / "printed").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    define(work, "slow", ["/bin/sh", "-c", script, "sh", "slow"], timeout="3s")
    define(work, "quick", ["/bin/sh", "-c", script.replace("&", ">/dev/null 2>&1 &", 1), "sh", "quick"])
    add(work, "exec:slow", sandbox.key()["key_id"], name="slow")
    add(work, "exec:quick", sandbox.key()["key_id"], name="quick")
    result = work.run(*ALLOW)
    statuses = {name: entry["status"] for name, entry in result.entries.items()}
    assert statuses == {"slow": "failed", "quick": "imported"}, {n: e["error"] for n, e in result.entries.items()}
    for name in ("slow", "quick"):
        assert not running(int((work.folder / f"{name}.pid").read_text()))


def running(pid: int) -> bool:
    """A killed orphan stays a zombie until the container's init looks at it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_stop_kills_the_command(sandbox: Sandbox, work: Workplace) -> None:
    define(work, "hsm", ["/bin/sh", "-c", "echo $$ > pid; sleep 60"], timeout="60s")
    add(work, "exec:hsm", sandbox.key()["key_id"])
    process = work.start(*ALLOW)
    while not (work.folder / "pid").exists() or not (work.folder / "pid").read_text():
        time.sleep(0.02)
    result = work.finish(process, signal.SIGTERM)
    assert result.code == 143, result.stderr
    assert not running(int((work.folder / "pid").read_text()))


@pytest.mark.parametrize("command", ["validate", "plan", "run", "iam"])
def test_a_command_that_is_not_defined_is_a_manifest_error(work: Workplace, command: str) -> None:
    define(work, "other", ["/bin/true"])
    add(work, "exec:hsm")
    work.write()
    result = work.call(command, "manifest.json", *ALLOW)
    assert result.code == 3
    assert "exec:hsm is not defined" in result.stderr
    assert "other" in result.stderr


WRONG = {
    "no argv": ({"timeout": "3s"}, "argv"),
    "empty argv": ({"argv": []}, "argv"),
    "a shell line": ({"argv": "cat key"}, "argv"),
    "an unknown field": ({"argv": ["/bin/true"], "shell": True}, "shell"),
    "an unknown placeholder": ({"argv": ["/bin/echo", "{key}"]}, "{key}"),
    "a time that is none": ({"argv": ["/bin/true"], "timeout": "soon"}, "timeout"),
    "an encoding that is none": ({"argv": ["/bin/true"], "encoding": "rot13"}, "encoding"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_definition_that_is_wrong(work: Workplace, case: str) -> None:
    fields, said = WRONG[case]
    lines = ["[exec.hsm]", *(f"{name} = {json.dumps(value)}" for name, value in fields.items())]
    (work.folder / "settings.toml").write_text("\n".join(lines))
    add(work, "exec:hsm")
    work.write()
    result = work.call("validate", "manifest.json", *ALLOW)
    assert result.code == 3, result.stderr
    assert said in result.stderr


def test_commands_come_from_the_file_alone(work: Workplace) -> None:
    add(work, "exec:hsm")
    work.write()
    result = work.call(
        "validate", "manifest.json", "--allow-source", "exec:", BULK_IMPORT_EXEC='{"hsm": {"argv": ["/bin/true"]}}'
    )
    assert result.code == 3
    assert "BULK_IMPORT_EXEC" in result.stderr


def test_validate_reads_it(work: Workplace) -> None:
    (work.folder / "printed").write_bytes(b"\xff" * 31)
    define(work, "hsm", ["/bin/cat", "printed"])
    add(work, "exec:hsm", key_spec="SYMMETRIC_DEFAULT")
    work.write()
    assert work.call("validate", "manifest.json", *ALLOW).code == 0
    result = work.call("validate", "manifest.json", "--material", *ALLOW)
    assert result.code == 3
    assert "this has 31" in result.stderr
