"""`pkcs11:`: the PIN, the one login, and tokens and libraries that fail: only their own targets fail with them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.support import Result, Workplace, quick
from tests.faults.support import fired, wait_until
from tests.sandbox_client import Sandbox
from tests.sources.support import add
from tests.sources.test_pkcs11 import ALLOW
from tests.sources.tokens import PIN, SoftHsm, compiled

FILES = (*ALLOW, "--allow-source", "file:")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Not ended, whether or not somebody has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def codes(entries: dict[str, dict[str, object]]) -> dict[str, object]:
    return {name: entry["error"] and entry["error"]["code"] for name, entry in entries.items()}  # type: ignore[index]


def at_its_last_target(sandbox: Sandbox, work: Workplace, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    """A run that has imported the target before its last one, which gets no wrapping key before `sandbox.release`."""
    before, last = (entry["key_id"] for entry in work.keys[-2:])
    sandbox.hold("GetParametersForImport", key=last)
    process = work.start(*options, "--read-timeout", "100s", **environment)
    imported = partial(sandbox.calls, operation="ImportKeyMaterial")
    wait_until(lambda: fired(sandbox) == 1 and any(before in call["key"] for call in imported()), process)
    return process


def test_a_wrong_pin_is_tried_once_and_costs_its_own_token_only(
    sandbox: Sandbox, work: Workplace, softhsm: SoftHsm
) -> None:
    """Two tokens in one module; the PIN fits one of them."""
    softhsm.token("foreign", "9876")
    softhsm.mac("one")
    for number in range(5):
        key = sandbox.key(key_spec="HMAC_256")["key_id"]
        add(work, "pkcs11:token=foreign;object=one", key, name=f"foreign{number}")
    add(work, "pkcs11:token=byok;object=one", sandbox.key(key_spec="HMAC_256")["key_id"], name="right")
    work.key(sandbox.key()["key_id"], os.urandom(32), name="file")
    result = work.run(*FILES, **softhsm.environment(SOFTHSM2_DEBUG="1"))
    assert result.code == 4
    wanted = {f"foreign{number}": "SourceDenied" for number in range(5)} | {"right": None, "file": None}
    assert codes(result.entries) == wanted
    error = result.entries["foreign0"]["error"]
    assert "the PIN is wrong (CKR_PIN_INCORRECT" in error["message"]
    assert "each run tries once" in error["advice"]


def test_one_token_by_two_names_gets_one_login(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    softhsm.mac("twice")
    for number, name in enumerate(("token=byok", "token=byok;model=SoftHSM%20v2", "model=SoftHSM%20v2;token=byok")):
        key = sandbox.key(key_spec="HMAC_256")["key_id"]
        add(work, f"pkcs11:{name};object=twice", key, name=f"k{number}")
    process = at_its_last_target(sandbox, work, *ALLOW, **softhsm.environment())
    assert len(children(process.pid)) == 1
    sandbox.release()
    assert work.finish(process).code == 0


PINS = {
    "empty file": ("", None, "SourceDenied", "is empty; no login was attempted"),
    "two lines": ("1\n2\n", None, "SourceDenied", "has several lines; no login was attempted"),
    "by the environment": (None, PIN, None, ""),
    "a mark before it": ("\ufeff" + PIN, None, "SourceDenied", "no printable character; no login was attempted"),
    "a zero byte": (PIN + "\0", None, "SourceDenied", "no printable character; no login was attempted"),
    "Latin-1 by the environment": (None, "canary\udce9", "SourceDenied", "is no text of UTF-8"),
    "two lines by the environment": (None, PIN + "\n", "SourceDenied", "has several lines; no login was attempted"),
    "a wrong one by the environment": (None, "canary-wrong", "SourceDenied", "the PIN is wrong"),
}


@pytest.mark.parametrize("case", PINS)
def test_where_the_pin_comes_from(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm, case: str) -> None:
    content, variable, code, said = PINS[case]
    softhsm.mac(f"pin {case}")
    add(work, f"pkcs11:token=byok;object=pin%20{case.replace(' ', '%20')}", sandbox.key(key_spec="HMAC_256")["key_id"])
    environment = softhsm.environment()
    del environment["BULK_IMPORT_PKCS11_PIN_FILE"]
    if content is not None:
        (work.folder / "pin").write_text(content)
        (work.folder / "pin").chmod(0o644)
        environment["BULK_IMPORT_PKCS11_PIN_FILE"] = str(work.folder / "pin")
    else:
        environment["PKCS11_PIN"] = str(variable)
    result = work.run(*ALLOW, **environment)
    error = result.entries["one"]["error"]
    assert (error and error["code"]) == code, result.stderr
    assert said in (error or {"message": ""})["message"]
    assert result.stderr.count("can be read by other users") == (content is not None)
    assert "canary" not in result.stderr + (work.folder / "report.json").read_text()


def test_a_token_whose_process_cannot_be_started(sandbox: Sandbox, work: Workplace) -> None:
    """More tokens than this process may have pipes for: it costs the targets of those tokens only."""
    (work.folder / "hsm").mkdir()
    softhsm = SoftHsm(work.folder / "hsm")
    for number in range(14):
        softhsm.token(f"pipe{number}", PIN)
        key = sandbox.key(key_spec="HMAC_256")["key_id"]
        add(work, f"pkcs11:token=pipe{number};object=a", key, name=f"k{number}")
    work.key(sandbox.key()["key_id"], os.urandom(32), name="file")
    work.write()
    command = [
        "/bin/sh",
        "-c",
        'ulimit -n 36; exec "$0" "$@"',
        *work.command("run", "manifest.json", *quick(FILES), *FILES),
    ]
    done = subprocess.run(
        command, cwd=work.folder, env=work.environment(**softhsm.environment()), capture_output=True, timeout=100,
        check=False,
    )  # fmt: skip
    result = Result(done.returncode, done.stdout, done.stderr.decode(), work.folder)
    messages = " ".join((entry["error"] or {}).get("message", "") for entry in result.entries.values())
    assert "cannot be started: Too many open files (EMFILE)" in messages, result.stderr
    assert "InternalError" not in codes(result.entries).values()
    assert result.code in (4, 5)


def test_settings_that_are_missing_or_contradict(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    add(work, "pkcs11:token=byok;object=a")
    work.write()
    missing = work.call("plan", "manifest.json", *ALLOW)
    assert missing.code == 3
    for said in ("--pkcs11-module", "--pkcs11-pin-file", "PKCS11_PIN"):
        assert said in missing.stderr
    both = work.call("plan", "manifest.json", *ALLOW, **softhsm.environment(PKCS11_PIN=PIN))
    assert both.code == 3
    assert "PKCS11_PIN: is set in addition to --pkcs11-pin-file" in both.stderr
    assert PIN not in both.stderr
    assert sandbox.calls() == []


def test_a_token_that_is_missing(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    add(work, "pkcs11:token=elsewhere;object=a", sandbox.key(key_spec="HMAC_256")["key_id"], name="elsewhere")
    work.key(sandbox.key()["key_id"], os.urandom(32), name="file")
    result = work.run(*FILES, **softhsm.environment())
    assert codes(result.entries) == {"elsewhere": "MaterialNotFound", "file": None}
    error = result.entries["elsewhere"]["error"]
    assert re.search("the module has: .*byok", error["message"])


def test_a_token_process_that_is_killed_costs_its_targets_only(
    sandbox: Sandbox, work: Workplace, softhsm: SoftHsm
) -> None:
    softhsm.mac("killed")
    work.key(sandbox.key()["key_id"], os.urandom(32), name="good")
    for number in range(3):
        add(work, "pkcs11:token=byok;object=killed", sandbox.key(key_spec="HMAC_256")["key_id"], name=f"k{number}")
    process = at_its_last_target(sandbox, work, *FILES, **softhsm.environment())
    for child in children(process.pid):
        os.kill(child, signal.SIGKILL)
    sandbox.release()
    result = work.finish(process)
    assert result.code == 4, result.stderr
    assert result.entries["good"]["status"] == "imported"
    assert result.entries["k2"]["error"]["code"] == "SourceFailed"
    assert "has ended (by the signal SIGKILL)" in result.entries["k2"]["error"]["message"]


def test_no_token_process_outlives_a_killed_run(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    softhsm.mac("orphan")
    add(work, "pkcs11:token=byok;object=orphan", sandbox.key(key_spec="HMAC_256")["key_id"])
    process = work.start(*ALLOW, "--read-interval", "60s", **softhsm.environment())
    wait_until(lambda: bool(sandbox.calls(operation="ImportKeyMaterial")), process)
    [child] = children(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


ABORTS = "#include <stdlib.h>\n__attribute__((constructor)) static void at_load(void) { abort(); }\n"


LOOKS = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
__attribute__((constructor)) static void at_load(void) {
    struct rlimit core;
    FILE *file = fopen(getenv("LOOK"), "w");
    getrlimit(RLIMIT_CORE, &core);
    fprintf(file, "%d %d %d", prctl(PR_GET_DUMPABLE), (int)core.rlim_cur, (int)core.rlim_max);
    fclose(file);
}
"""


def test_a_crash_of_the_library_leaves_no_core_dump(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    """The process holds the PIN, and what a token in software holds. Its parent's mark does not outlive execve(2), and
    a crash handler (`|…` in core_pattern) ignores a limit of 0.
    """
    (work.folder / "looks.c").write_text(LOOKS)
    library = compiled(work.folder / "looks.c", work.folder / "looks.so")
    add(work, "pkcs11:token=byok;object=a", sandbox.key(key_spec="HMAC_256")["key_id"])
    look = work.folder / "look"
    work.run(*ALLOW, **softhsm.environment(BULK_IMPORT_PKCS11_MODULE=str(library), LOOK=str(look)))
    assert look.read_text() == "0 0 0"


def test_a_library_that_crashes_or_is_none(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    (work.folder / "aborts.c").write_text(ABORTS)
    library = compiled(work.folder / "aborts.c", work.folder / "aborts.so")
    (work.folder / "text.so").write_text("not a library")
    add(work, "pkcs11:token=byok;object=a", sandbox.key(key_spec="HMAC_256")["key_id"], name="hsm")
    work.key(sandbox.key()["key_id"], os.urandom(32), name="file")
    for module, said in (
        (library, "has ended (by the signal SIGABRT)"),
        (work.folder / "text.so", "cannot be loaded"),
        ("/lib/x86_64-linux-gnu/libm.so.6", "cannot be loaded"),
    ):
        result = work.run(*FILES, **softhsm.environment(BULK_IMPORT_PKCS11_MODULE=str(module)))
        assert result.code == 4, result.stderr
        error = result.entries["hsm"]["error"]
        assert (error["code"], said in error["message"]) == ("SourceFailed", True), error
        assert result.entries["file"]["error"] is None


def test_the_pin_appears_nowhere_and_the_child_gets_no_secret(
    sandbox: Sandbox, work: Workplace, softhsm: SoftHsm
) -> None:
    softhsm.mac("quiet")
    canaries = {"VAULT_TOKEN": "canary-vault", "CANARY": "canary-env", "DB_PASSWORD": "canary-db", "PKCS11_PIN": PIN}
    add(work, "env:CANARY", sandbox.key()["key_id"], name="env")
    for number in range(2):
        add(work, "pkcs11:token=byok;object=quiet", sandbox.key(key_spec="HMAC_256")["key_id"], name=f"k{number}")
    environment = softhsm.environment(**canaries)
    del environment["BULK_IMPORT_PKCS11_PIN_FILE"]
    process = at_its_last_target(sandbox, work, *ALLOW, "--allow-source", "env:", "--log-level", "debug", **environment)
    [child] = children(process.pid)
    seen = Path(f"/proc/{child}/environ").read_bytes() + Path(f"/proc/{child}/cmdline").read_bytes()
    sandbox.release()
    result = work.finish(process)
    assert b"SOFTHSM2_CONF" in seen
    for secret in (*canaries.values(), "pipeline"):  # the last: the caller's secret access key
        assert secret.encode() not in seen
    written = [path.read_bytes() for path in work.folder.iterdir() if path.is_file()]
    assert PIN.encode() not in b"".join([*written, result.stderr.encode(), result.stdout])
