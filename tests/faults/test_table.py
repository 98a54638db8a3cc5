"""The faults that a run survives, or ends from with the truth: each through the real command line."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import orjson
import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Workplace, quick
from tests.faults.support import (
    add_targets,
    assert_all_imported,
    assert_holds,
    assert_truthful,
    events,
    fired,
    has_event,
    imports,
    wait_until,
)
from tests.sandbox_client import Sandbox

OPERATIONS = ("DescribeKey", "GetParametersForImport", "ImportKeyMaterial", "GenerateMac")
# Effect → the options without which it would take its real time, and the calls that it spoils.
ONCE = {
    "http500": (),
    "act_then_http500": (),
    "drop": (),
    "act_then_drop": (),
    "truncate": (),
    "malformed": (),
    "act_then_delay": ("--read-timeout", "4s"),
    "hang": ("--read-timeout", "4s"),
}


@pytest.mark.parametrize("effect", ONCE)
def test_a_call_that_breaks_once(sandbox: Sandbox, work: Workplace, effect: str) -> None:
    """Each operation for a key of its own; for a fifth key a read of the verification. No import is done twice."""
    keys = add_targets(sandbox, work, 5, specs=("HMAC_256",))
    for key, operation in zip(keys, OPERATIONS, strict=False):
        sandbox.fault(effect, operation=operation, key=key["key_id"], seconds=300)
    sandbox.fault(effect, operation="DescribeKey", key=keys[4]["key_id"], after=2, seconds=300)
    result = work.run(*ONCE[effect])
    assert [rule["fired"] for rule in sandbox.faults()] == [1] * 5
    sandbox.post("faults/clear")  # an answer that is still held back is in no log
    while len(imports(sandbox)) < 5:
        assert result.code == 0, result.stderr
    assert_all_imported(sandbox, work, result)
    # The token of an import that got no answer is not sent again, for it may be spent; after an answer it serves again.
    attempts = {name: entry["attempts"] for name, entry in result.entries.items()}
    assert attempts == {"k0": 1, "k1": 1, "k2": 1 if imports_told_by_a_read(effect) else 2, "k3": 1, "k4": 1}


@pytest.mark.parametrize("operation", ["GetCallerIdentity", "AssumeRole"])
@pytest.mark.parametrize("effect", [*ONCE, "throttled"])
def test_a_call_to_sts_that_breaks_once(sandbox: Sandbox, work: Workplace, effect: str, operation: str) -> None:
    add_targets(sandbox, work, 2)
    if effect == "throttled":
        sandbox.fault("error", code="Throttling", message="Rate exceeded", operation=operation, times=3)
    else:
        sandbox.fault(effect, operation=operation, seconds=300)
    result = work.run(*ONCE.get(effect, ()))
    assert [rule["fired"] for rule in sandbox.faults()] == [3 if effect == "throttled" else 1]
    sandbox.post("faults/clear")
    assert_all_imported(sandbox, work, result)


def imports_told_by_a_read(effect: str) -> bool:
    return effect.startswith("act_then_") or effect in ("truncate", "malformed")


@pytest.mark.parametrize(
    "rule",
    [
        {"effect": "error", "code": "ThrottlingException", "message": "Rate exceeded"},
        {"effect": "http500"},
        {"effect": "drop"},
    ],
    ids=lambda rule: rule.get("code", rule["effect"]),
)
def test_a_storm(sandbox: Sandbox, work: Workplace, rule: dict[str, str]) -> None:
    add_targets(sandbox, work, 3)
    for operation in ("DescribeKey", "GetParametersForImport", "ImportKeyMaterial", "GenerateMac", "GetPublicKey"):
        sandbox.fault(**rule, operation=operation, times=4)
    result = work.run()
    assert_all_imported(sandbox, work, result)
    if "code" in rule:
        [lane] = result.report["lanes"]
        assert lane["throttled"] == dict.fromkeys(lane["throttled"], 4)
        assert len(lane["throttled"]) == 5


def test_a_storm_without_an_end_is_told(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 2)
    sandbox.fault("error", code="ThrottlingException", operation="ImportKeyMaterial", times=None)
    result = work.run("--retry-timeout", "1s")
    assert result.code == 5
    for entry in result.entries.values():
        assert (entry["status"], entry["changed"], entry["error"]["code"]) == ("failed", False, "ThrottlingException")
    assert_truthful(sandbox, result)


def test_a_500_after_the_deed_whose_effect_no_read_shows(sandbox: Sandbox, work: Workplace) -> None:
    """Then a refusal of the next try says nothing of the first: it must not be reported as unchanged."""
    [key] = add_targets(sandbox, work, 1)
    pattern = ",".join(["stale"] * 50)
    sandbox.post("stale_reads", account=ACCOUNT, region=REGION, key=key["key_id"], pattern=pattern)
    sandbox.fault("act_then_http500", operation="ImportKeyMaterial")
    sandbox.fault("deny", operation="ImportKeyMaterial", times=None)
    result = work.run()
    entry = result.entries["k0"]
    assert (result.code, entry["status"], entry["changed"]) == (5, "failed", None)
    assert entry["error"]["code"] == "OutcomeUnknown"


def test_slow_answers(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 3)
    sandbox.fault("delay", times=None, seconds=0.3)
    assert_all_imported(sandbox, work, work.run())


def test_nobody_answers_any_more(sandbox: Sandbox, work: Workplace) -> None:
    """A half-open network: connections are taken, and nothing ever comes back."""
    add_targets(sandbox, work, 2)
    sandbox.fault("hang", operation="DescribeKey", times=None, seconds=300)
    result = work.run("--read-timeout", "2s", "--retry-timeout", "1s")
    assert result.code == 5
    assert {entry["error"]["code"] for entry in result.report["results"]} == {"ConnectionFailed"}
    assert_truthful(sandbox, result)


def test_an_unreadable_200_for_an_import_that_kms_refused(sandbox: Sandbox, work: Workplace) -> None:
    """The token is too old by KMS's clock, and the answer that says so arrives as a 200 that says nothing.

    Such an answer is no acceptance: a read must show the effect, else the import is sent again.
    """
    add_targets(sandbox, work, 1, specs=("HMAC_256",))
    sandbox.fault("act_then_advance", operation="GetParametersForImport", seconds=25 * 3600)
    sandbox.fault("malformed", operation="ImportKeyMaterial")
    result = work.run("--verify-timeout", "5s")
    assert_all_imported(sandbox, work, result)
    answers = [event["outcome"] for event in events(work) if event["event"] == "answered"]
    assert answers == ["refused", "unknown", "ok"]  # the first by its session, which has aged with the token


def test_a_token_that_expires_while_it_waits(sandbox: Sandbox, work: Workplace) -> None:
    """So do the sessions: a day passes between the token and its use."""
    add_targets(sandbox, work, 2)
    sandbox.fault("act_then_advance", operation="GetParametersForImport", seconds=25 * 3600)
    result = work.run()
    assert_all_imported(sandbox, work, result)
    refused = Counter(call["code"] for call in sandbox.calls(operation="ImportKeyMaterial"))
    assert refused["ExpiredImportTokenException"] >= 1


@pytest.mark.parametrize("turn", ["expire", "revoke", "act_then_expire", "act_then_revoke"])
@pytest.mark.parametrize("operation", ["GetParametersForImport", "ImportKeyMaterial"])
def test_sessions_that_end_in_the_middle(sandbox: Sandbox, work: Workplace, turn: str, operation: str) -> None:
    add_targets(sandbox, work, 3)
    sandbox.fault(turn, operation=operation)
    result = work.run()
    assert_all_imported(sandbox, work, result)
    assert len(sandbox.calls(operation="AssumeRole", status=200)) == 2


def test_a_role_that_is_taken_away_in_the_middle(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 4, specs=("HMAC_256",))
    sandbox.fault("revoke", operation="GetParametersForImport", after=2)
    sandbox.fault("deny", operation="AssumeRole", after=1, times=None)
    result = work.run("--quota", "GetParametersForImport=1")
    assert result.code in (4, 5)
    assert "AccessDenied" in {entry["error"]["code"] for entry in result.report["results"] if entry["error"]}
    assert_truthful(sandbox, result)
    sandbox.post("faults/clear")
    assert_all_well_after_a_resume(sandbox, work, "--quota", "GetParametersForImport=1")


def assert_all_well_after_a_resume(sandbox: Sandbox, work: Workplace, *options: str) -> None:
    result = work.run("--resume", *options)
    assert result.code == 0, result.stderr
    assert_truthful(sandbox, result)
    assert_holds(sandbox, work)
    assert max(imports(sandbox).values()) == 1


def test_the_callers_own_credentials_die_in_the_middle(sandbox: Sandbox, work: Workplace) -> None:
    """One error for the run, at once, and not one for each target after minutes of asking."""
    add_targets(sandbox, work, 3, specs=("HMAC_256",))
    for account in ("222233334444", "333344445555"):
        add_targets(sandbox, work, 2, specs=("HMAC_256",), account=account)
    dead = {"code": "ExpiredToken", "message": "The security token included in the request is expired", "status": 403}
    sandbox.fault("error", operation="AssumeRole", after=1, times=None, **dead)
    result = work.run("--retry-timeout", "300s")
    assert result.code == 5
    assert result.report["run"]["error"]["code"] == "ExpiredToken"
    assert "ExpiredToken" not in {entry["error"]["code"] for entry in result.report["results"] if entry["error"]}
    assert_truthful(sandbox, result)
    sandbox.post("faults/clear")
    assert_all_well_after_a_resume(sandbox, work)


def test_a_clock_that_is_wrong_from_the_start(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 2)
    sandbox.post("clock", skew=1000)
    result = work.run()
    assert (result.code, result.stderr.count("ClockSkew: ")) == (5, 1)
    assert result.report["run"]["error"]["code"] == "ClockSkew"
    assert not sandbox.calls(service="kms", operation="DescribeKey")


@pytest.mark.parametrize("after", [2, 8, 14])
def test_a_clock_that_goes_wrong_in_the_middle(sandbox: Sandbox, work: Workplace, after: int) -> None:
    add_targets(sandbox, work, 6, specs=("HMAC_256",))
    message = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)"
    sandbox.fault("error", code="InvalidSignatureException", message=message, after=after, times=None)
    result = work.run()
    assert (result.code, result.stderr.count("ClockSkew: ")) == (5, 1)
    assert result.report["run"]["error"]["code"] == "ClockSkew"
    codes = {entry["error"]["code"] for entry in result.report["results"] if entry["error"]}
    assert codes <= {"Stopped", "NotVerified", "Interrupted"}
    assert_truthful(sandbox, result)
    sandbox.post("faults/clear")
    assert_all_well_after_a_resume(sandbox, work)


def test_reads_that_flap(sandbox: Sandbox, work: Workplace) -> None:
    """Each good read but the last three is followed by a stale one; every such one restarts the count."""
    for key in add_targets(sandbox, work, 3):
        pattern = "good,stale,good,good,stale,stale,good,stale,good,good,good"
        sandbox.post("stale_reads", account=ACCOUNT, region=REGION, key=key["key_id"], pattern=pattern)
    result = work.run()
    assert_all_imported(sandbox, work, result)
    symmetric = result.entries["k1"]["verification"]
    assert (symmetric["consecutive"], symmetric["reads"]) == (3, 11)


def test_hosts_that_lag_behind(sandbox: Sandbox, work: Workplace) -> None:
    sandbox.post("lag", seconds=0.4, share=0.5, seed=4)
    add_targets(sandbox, work, 6)
    result = work.run("--consistency-timeout", "5s")
    sandbox.post("lag", seconds=0)  # for the client of this test
    assert_all_imported(sandbox, work, result)


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion"])
@pytest.mark.parametrize("when", ["become", "act_then_become"])
@pytest.mark.parametrize("operation", ["GetParametersForImport", "ImportKeyMaterial"])
def test_a_key_that_somebody_turns_in_the_middle(
    sandbox: Sandbox, work: Workplace, state: str, when: str, operation: str
) -> None:
    keys = add_targets(sandbox, work, 2, specs=("HMAC_256",))
    sandbox.fault(when, operation=operation, key=keys[0]["key_id"], state=state)
    result = work.run("--verify-timeout", "5s")
    turned = result.entries["k0"]
    assert (result.code, turned["status"], result.entries["k1"]["status"]) == (4, "failed", "imported")
    assert turned["error"]["code"] in ("KeyStateChanged", "KMSInvalidStateException", "VerificationTimeout")
    assert_truthful(sandbox, result)
    # Nothing here enables a key, or takes it back from its deletion.
    assert {key["state"] for key in sandbox.keys(key_id=keys[0]["key_id"])} <= {state, "PendingImport"}


def full_disk(limit: int) -> None:
    """For the process to be started: no file may grow beyond `limit` bytes. Python ignores SIGXFSZ: write(2) fails."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("limit", [0, 600, 3000, 5000, 9000])
def test_a_disk_that_fills_up(sandbox: Sandbox, work: Workplace, limit: int) -> None:
    add_targets(sandbox, work, 6, specs=("HMAC_256",))
    work.write()
    process = subprocess.Popen(
        work.command("run", "manifest.json", *quick(())), cwd=work.folder, env=work.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: full_disk(limit),  # noqa: PLW1509 - one system call; this process has no other threads
    )  # fmt: skip
    result = work.finish(process)
    assert result.code in (1, 3), result.stderr
    assert "journal" in result.stderr
    assert "File too large" in result.stderr  # the cause, not only what follows from it
    known = {event["index"] for event in events(work) if event["event"] == "intent"}
    arns = {event["key_arn"]: event["index"] for event in events(work) if event["event"] == "pinned"}
    # No import without its intent on disk, and no call after the journal failed but those that were on their way.
    assert {arns[arn] for arn in imports(sandbox)} <= known
    if events(work):
        assert_all_well_after_a_resume(sandbox, work)


def test_a_report_on_a_full_device(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 1)
    result = work.run("--report", "/dev/full", "--journal", "j.jsonl")
    assert result.code == 6
    [report] = work.folder.glob("report.*.json")
    assert str(report) in result.stderr
    assert json.loads(report.read_bytes())["run"]["exit_code"] == 6


@pytest.mark.parametrize("where", ["/sys/kernel/report.json", "/proc/no-such/report.json", "manifest.json/report.json"])
def test_a_report_folder_that_takes_no_files(sandbox: Sandbox, work: Workplace, where: str) -> None:
    add_targets(sandbox, work, 1)
    result = work.run("--report", where, "--journal", "j.jsonl")
    assert result.code == 6
    assert [json.loads(path.read_bytes())["run"]["exit_code"] for path in work.folder.glob("report.*.json")] == [6]


def test_a_second_run_with_the_same_journal_is_refused(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 2)
    sandbox.fault("delay", operation="GetParametersForImport", seconds=300)
    one = work.start()
    wait_until(lambda: fired(sandbox) == 1, one)
    for options in ((), ("--resume",)):
        other = work.run(*options)
        assert (other.code, "in use by another run" in other.stderr) == (3, True), other.stderr
    sandbox.post("faults/clear")
    result = work.finish(one)
    assert_all_imported(sandbox, work, result)
    run_id = result.report["run"]["run_id"]
    assert all(f"run/{run_id} " in call["user_agent"] for call in sandbox.calls(operation="GetCallerIdentity"))


@pytest.mark.parametrize("effect", ["refused", "drop", "hang", "truncate", "malformed", "http500"])
def test_a_report_target_that_is_unreachable(sandbox: Sandbox, work: Workplace, effect: str) -> None:
    """Then the report is next to the journal, and that is said; where it was asked for there is none."""
    add_targets(sandbox, work, 1)
    sandbox.post("faults", [{"effect": effect, "operation": operation, "times": None, "seconds": 300}
                            for operation in ("GET", "HEAD", "PUT")] if effect != "refused" else [])  # fmt: skip
    s3 = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9" if effect == "refused" else sandbox.url}
    where = {"AWS_ENDPOINT_URL_KMS": sandbox.url, "AWS_ENDPOINT_URL_STS": sandbox.url, "BULK_IMPORT_ENDPOINT_URL": ""}
    options = ("--report", "s3://artefacts/r.json", "--retry-timeout", "1s", "--read-timeout", "4s")
    result = work.run(*options, **s3, **where)
    assert result.code == 6, result.stderr
    [report] = work.folder.glob("report.*.json")
    assert str(report) in result.stderr
    told = json.loads(report.read_bytes())
    assert (told["run"]["exit_code"], told["summary"]["imported"]) == (6, 1)
    assert_holds(sandbox, work)


def test_kms_that_is_not_there(sandbox: Sandbox, work: Workplace) -> None:
    """No one listens: nothing was ever sent, and that is known."""
    add_targets(sandbox, work, 2)
    result = work.run("--retry-timeout", "1s", AWS_ENDPOINT_URL_KMS="http://127.0.0.1:9",
                      AWS_ENDPOINT_URL_STS=sandbox.url, BULK_IMPORT_ENDPOINT_URL="")  # fmt: skip
    assert result.code == 5
    assert {entry["changed"] for entry in result.report["results"]} == {False}
    assert {entry["error"]["code"] for entry in result.report["results"]} == {"ConnectionFailed"}


@pytest.mark.parametrize("options", [(), ("--resume",)])
def test_a_second_run_while_the_first_writes_its_report_is_refused(
    sandbox: Sandbox, work: Workplace, options: tuple[str, ...]
) -> None:
    """The report is read from the journal, so the journal is not free before the report is there."""
    add_targets(sandbox, work, 2)
    os.mkfifo(work.folder / "out")  # takes the report when somebody reads it
    one = work.start("--report", "out", "--journal", "j.jsonl")
    wait_until(lambda: has_event(work, "run_ended", name="j.jsonl"), one)
    other = work.run("--journal", "j.jsonl", *options)
    assert (other.code, "in use by another run" in other.stderr) == (3, True), other.stderr
    report = orjson.loads((work.folder / "out").read_bytes())
    result = work.finish(one)
    assert (result.code, report["run"]["exit_code"], report["summary"]["imported"]) == (0, 0, 2), result.stderr


def test_two_runs_of_one_manifest_at_once(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 6)
    two = [work.start("--report", f"{name}.json") for name in ("a", "b")]
    results = [work.finish(process) for process in two]
    assert [result.code for result in results] == [0, 0], [result.stderr for result in results]
    for name in ("a", "b"):
        report = orjson.loads(Path(work.folder / f"{name}.json").read_bytes())
        assert {entry["status"] for entry in report["results"]} <= {"imported", "reimported", "unchanged"}
    assert_holds(sandbox, work)
    assert max(imports(sandbox).values()) <= 2


def test_a_kill_while_another_resumes(sandbox: Sandbox, work: Workplace) -> None:
    """Two resumes of one journal at once: one works, the other is refused."""
    add_targets(sandbox, work, 3)
    sandbox.fault("hang", operation="ImportKeyMaterial", after=1, seconds=300)
    process = work.start()
    wait_until(lambda: fired(sandbox) == 1, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    sandbox.post("faults/clear")
    two = [work.start("--resume") for _ in range(2)]
    codes = sorted(work.finish(process).code for process in two)
    assert codes in ([0, 3], [0, 0])  # by which was faster: the other finds it in use, or finished
    assert_holds(sandbox, work)


def test_keys_are_claimed_in_the_manifests_order(sandbox: Sandbox, work: Workplace) -> None:
    """In every order of responses, with every failure in between: of two targets on one key, the later is refused."""
    for name in ("a", "b"):  # as wanted: reads run further ahead
        material = materials.make("HMAC_256")
        key = sandbox.key(key_spec="HMAC_256", material={"hex": material.hex()})
        work.key(key["key_id"], material, name=name)
    sandbox.key(key_spec="HMAC_256", aliases=["alias/slow", "alias/quick"])
    for name in ("slow", "nobody", "quick"):
        work.key(f"alias/{name}", materials.make("HMAC_256"), name=name)
    sandbox.fault("delay", operation="DescribeKey", key="alias/slow", seconds=1)
    entries = work.run().entries
    codes = {name: entry["error"] and entry["error"]["code"] for name, entry in entries.items()}
    assert codes == {"a": None, "b": None, "slow": None, "nobody": "NotFoundException", "quick": "DuplicateKey"}


def test_a_plan_with_a_clock_that_goes_wrong(sandbox: Sandbox, work: Workplace) -> None:
    """No plan with targets left out: one error."""
    add_targets(sandbox, work, 4)
    message = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)"
    sandbox.fault("error", code="InvalidSignatureException", message=message, after=3, times=None)
    work.write()
    result = work.call("plan", "manifest.json")
    assert (result.code, result.stdout, result.stderr.count("ClockSkew: ")) == (5, b"", 1)


@pytest.mark.parametrize("renewals", [5, 6])
def test_a_role_that_cannot_be_renewed_right_before_an_import(sandbox: Sandbox, work: Workplace, renewals: int) -> None:
    """The session is due at every call, and is denied to the import: before its permit, or when it is to be signed.

    Nothing was sent, and it is reported so.
    """
    add_targets(sandbox, work, 1, specs=("HMAC_256",))
    sandbox.advance(-3400)  # sessions last 200 seconds by the client's clock, and are due for renewal from the start
    sandbox.fault("deny", operation="AssumeRole", after=renewals, times=None)
    result = work.run()
    entry = result.entries["k0"]
    operations = [call["operation"] for call in sandbox.calls()]
    assert "GetParametersForImport" in operations, result.stderr
    assert "ImportKeyMaterial" not in operations
    assert (entry["status"], entry["changed"], entry["attempts"]) == ("failed", False, 0), entry
    assert entry["error"]["code"] == "AccessDenied"


@pytest.mark.parametrize("renewals", [2, 3])
def test_the_callers_own_credentials_cannot_be_renewed_any_more(
    sandbox: Sandbox, work: Workplace, renewals: int
) -> None:
    """A credential process that fails: before the first permit of KMS, or when its first call is to be signed."""
    caller = sandbox.client("sts", None).get_caller_identity()["Account"]
    add_targets(sandbox, work, 1, specs=("HMAC_256",), account=caller)
    work.defaults["role"] = None
    script, config = work.folder / "process.py", work.folder / "aws-config"
    script.write_text(
        "import datetime, json, pathlib, sys\n"
        "count = pathlib.Path(__file__).with_name('count')\n"
        "with count.open('a') as file: file.write('x')\n"
        f"if len(count.read_text()) > {renewals}: sys.exit('the vault is sealed')\n"
        "soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'AKIAPIPELINE00000000', 'SecretAccessKey': 'pipeline',"
        " 'SessionToken': '', 'Expiration': soon.isoformat()}))\n"
    )
    config.write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")
    result = work.run(AWS_CONFIG_FILE=str(config), AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert (result.code, result.report["run"]["outcome"]) == (5, "failed"), result.stderr
    assert result.report["run"]["error"]["code"] == "CallerCredentialsInvalid", result.stderr
    assert "Run the profile's credential_process by hand" in result.stderr
    assert sandbox.calls(operation="DescribeKey") == []
