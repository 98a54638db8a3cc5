"""Killed, expired, half done: every step can be run again and then continues."""

from __future__ import annotations

import shutil
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bulk_import.words import as_utc
from tests.ceremony.conftest import QUICK, Ceremony, read
from tests.ceremony.test_attacks import alter, fingerprint
from tests.e2e.rewriter import Rewriter
from tests.faults.forks import Kill
from tests.faults.support import events

# run_started, 2 targets, caller; for each target pinned, intent, answered, ended; lane_ended, run_ended.
EVENTS = 1 + 2 + 1 + 2 * 4 + 2


@pytest.mark.parametrize("rest", [1, 40, -1])
def test_a_torn_last_line_of_a_bundle_is_cut_off(rest: int, ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_224", "HMAC_256")
    ceremony.prepare()
    path = ceremony.online.folder / "bundle.jsonl"
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + last[:rest])
    prepared = ceremony.prepare()
    assert prepared.code == 0, prepared.stderr
    assert [line["kind"] for line in read(path)] == ["bundle", "prepared", "prepared"]


@pytest.mark.parametrize("how", ["before", "torn", "after"])
def test_a_prepare_killed_at_each_line_is_continued(how: str, ceremony: Ceremony) -> None:
    """One target as wanted, one blocked, two prepared: the head and four lines."""
    keys = ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256", "HMAC_512")
    ceremony.online.keys = [*ceremony.vault.keys, {**ceremony.vault.keys[0], "id": "none", "key_id": "alias/none"}]
    ceremony.online.write()
    filled = ("run", "manifest.json", *QUICK, "--only-id", "k2")
    shutil.copy(ceremony.vault.folder / "k2.key", ceremony.online.folder)
    assert ceremony.call(ceremony.online, *filled).code == 0
    bundle = ceremony.online.folder / "bundle.jsonl"
    for number in range(1, 6):
        bundle.unlink(missing_ok=True)
        (ceremony.vault.folder / "sealed.jsonl").unlink(missing_ok=True)
        asked = len(ceremony.sandbox.calls(operation="GetParametersForImport"))
        killed = ceremony.prepare(kill=Kill(number, how, "lines"))
        assert killed.code == -signal.SIGKILL, killed.stderr
        prepared = ceremony.prepare()
        assert (prepared.code, "2 targets prepared, 1 as wanted already, 1 blocked" in prepared.stderr) == (4, True)
        lines = read(bundle)
        assert {line["id"]: line["kind"] for line in lines[1:]} == {
            "k0": "prepared", "k1": "prepared", "k2": "unchanged", "none": "blocked",
        }  # fmt: skip
        # Nothing is lost: only what was not yet on disk is asked for again.
        again = len(ceremony.sandbox.calls(operation="GetParametersForImport")) - asked
        assert again <= 2 + 2
        assert ceremony.imports() == 1  # that of the run above
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    assert ceremony.submit(*ceremony.vouched(prepared, sealed)).code == 4  # the blocked one
    assert ceremony.held(keys)


@pytest.mark.parametrize("how", ["before", "torn", "after"])
def test_a_seal_killed_at_each_line_is_continued_or_refused(how: str, ceremony: Ceremony) -> None:
    """A line that is torn belongs to a file that nobody has read aloud: it is named, and the file is made again."""
    keys = ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    prepared = ceremony.prepare()
    file = ceremony.vault.folder / "sealed.jsonl"
    for number in (1, 2, 3):
        file.unlink(missing_ok=True)
        assert ceremony.seal(*ceremony.vouched(prepared), kill=Kill(number, how, "lines")).code == -signal.SIGKILL
        sealed = ceremony.seal(*ceremony.vouched(prepared))
        assert sealed.code == 0, sealed.stderr
        assert [line["kind"] for line in read(file)] == ["sealed", "key", "key"]
    assert ceremony.submit(*ceremony.vouched(prepared, sealed)).code == 0
    assert ceremony.held(keys)


@pytest.mark.parametrize("how", ["before", "torn", "after"])
@pytest.mark.parametrize("part", [0, 1])
def test_a_submission_killed_at_each_event_is_resumed(part: int, how: str, ceremony: Ceremony) -> None:
    """One ceremony for all: after each, both keys lose their material, and the same files fill them again."""
    keys = ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    vouched = ceremony.vouched(prepared, sealed)
    kms, imports = ceremony.sandbox.client(), 0
    for seq in range(1 + part, EVENTS + 1, 2):
        killed = ceremony.submit(*vouched, kill=Kill(seq, how))
        assert killed.code == -signal.SIGKILL, (seq, killed.stderr)
        nothing_written = seq == 1 and how != "after"
        result = ceremony.submit(*vouched, *([] if nothing_written else ["--resume"]))
        assert result.code == 0, (seq, result.stderr)
        assert {entry["status"] for entry in result.report["results"]} <= {"imported", "unchanged"}, seq
        assert ceremony.held(keys), seq
        before, imports = imports, ceremony.imports()
        # The one in flight may be sent again: the same material, the same token.
        assert 2 <= imports - before <= 2 + 1, seq
        for key in keys:
            kms.delete_imported_key_material(KeyId=key["key_id"])
        for path in ceremony.online.folder.glob("report*"):
            path.unlink()
    assert len(ceremony.sandbox.calls(operation="GetParametersForImport")) == 2


def test_the_number_of_events_is_right(ceremony: Ceremony) -> None:
    """What the range above rests on."""
    ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    assert ceremony.submit(*ceremony.vouched(prepared, sealed)).code == 0
    assert len(events(ceremony.online)) == EVENTS


def test_a_resume_with_other_sealed_files_is_refused(ceremony: Ceremony) -> None:
    ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    other = ceremony.seal(*ceremony.vouched(prepared), sealed="other.jsonl")
    vouched = ceremony.vouched(prepared, sealed, other)
    assert ceremony.submit(*vouched, kill=Kill(6, "after")).code == -signal.SIGKILL
    result = ceremony.submit(*vouched, "--resume", sealed=["other.jsonl"])
    assert result.code == 3
    assert "another ceremony" in result.stderr


def due(ceremony: Ceremony, **deadlines: timedelta) -> list[str]:
    """Sets the deadlines of the bundle's targets by id, from now; returns what vouches for it then."""
    for work in (ceremony.online, ceremony.vault):
        alter(
            work.folder / "bundle.jsonl",
            lambda lines: [
                line.update(deadline=f"{NOW + deadlines[line['id']]:%Y-%m-%dT%H:%M:%SZ}")
                for line in lines
                if line.get("id") in deadlines
            ],
        )
    return list(fingerprint(ceremony.online.folder / "bundle.jsonl"))


NOW = datetime.now(UTC)


def test_what_has_expired_is_refused_and_what_has_not_goes_on(ceremony: Ceremony) -> None:
    ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    ceremony.prepare()
    vouched = due(ceremony, k0=timedelta(hours=-1))
    sealed = ceremony.seal(*vouched)
    assert sealed.code == 4
    assert "ParametersExpired: Its import parameters expired at 2" in sealed.stderr
    submitted = ceremony.submit(*vouched, *ceremony.vouched(sealed))
    assert submitted.code == 4
    assert [entry["status"] for entry in submitted.report["results"]] == ["failed", "imported"]
    again = ceremony.prepare()
    assert again.code == 3
    assert "its import parameters expire at 2" in again.stderr


def test_what_expired_after_it_was_sealed_is_not_imported(ceremony: Ceremony) -> None:
    ceremony.keys("SYMMETRIC_DEFAULT")
    ceremony.prepare()
    for seconds in (3, 20, 60):  # the time in which it must be sealed: a busy machine may need more
        deadline = datetime.now(UTC) - NOW + timedelta(seconds=seconds)
        vouched = due(ceremony, k0=deadline)
        (ceremony.vault.folder / "sealed.jsonl").unlink(missing_ok=True)
        sealed = ceremony.seal(*vouched)
        if sealed.code == 0:
            break
    assert sealed.code == 0, sealed.stderr
    while datetime.now(UTC) < NOW + deadline:
        time.sleep(0.1)
    submitted = ceremony.submit(*vouched, *ceremony.vouched(sealed))
    assert submitted.code == 5
    assert {entry["error"]["code"] for entry in submitted.report["results"]} == {"ParametersExpired"}
    assert ceremony.imports() == 0


def test_what_expires_within_the_hour_is_said_at_each_step(ceremony: Ceremony) -> None:
    """With --quiet too. In front of `prepare`, somebody gives out parameters for half an hour instead of 24 hours."""

    def sooner(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        soon = {"ParametersValidTo": time.time() + 1800}
        return answer | (soon if operation == "GetParametersForImport" else {})

    ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    with Rewriter(ceremony.sandbox.url, sooner) as kms:
        prepared = ceremony.prepare("--quiet", BULK_IMPORT_ENDPOINT_URL=kms.url)
    bundle = fingerprint(ceremony.online.folder / "bundle.jsonl")
    sealed = ceremony.seal(*bundle, "--quiet")
    submitted = ceremony.submit(*bundle, *fingerprint(ceremony.online.folder / "sealed.jsonl"), "--quiet")
    assert submitted.code == 0, submitted.stderr
    assert "Warning: the import parameters of 2 targets expire within the hour." in prepared.stderr
    assert "Warning: the import parameters of 2 sealed targets expire within the hour." in sealed.stderr
    assert "Warning: k0 in 111122223333/us-east-1: its import parameters expire at 2" in submitted.stderr
    assert "Warning: k1 in 111122223333/us-east-1: its import parameters expire at 2" in submitted.stderr


def test_each_step_says_until_when_it_is_good(ceremony: Ceremony) -> None:
    ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    submitted = ceremony.submit(*ceremony.vouched(prepared, sealed))
    lines = read(ceremony.online.folder / "bundle.jsonl")[1:]
    first, last = (as_utc(moment) for moment in sorted(datetime.fromisoformat(line["deadline"]) for line in lines))
    assert f"Submit the first before {first}, the last before {last}." in prepared.stderr
    assert f"Submit it before {first}" in sealed.stderr
    assert f"Import parameters expire from {first} to {last}." in submitted.stderr
    assert "Warning" not in prepared.stderr + sealed.stderr + submitted.stderr


def test_a_part_that_was_submitted_is_not_imported_again(ceremony: Ceremony) -> None:
    ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    vouched = ceremony.vouched(prepared, sealed)
    ceremony.sandbox.fault("deny", operation="ImportKeyMaterial", after=1, times=None)
    first = ceremony.submit(*vouched)
    assert first.code == 4
    ceremony.sandbox.post("faults/clear")
    second = ceremony.submit(*vouched)
    assert second.code == 0, second.stderr
    assert sorted(entry["status"] for entry in second.report["results"]) == ["imported", "unchanged"]


def test_a_lost_response_is_answered_by_the_same_set(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    ceremony.sandbox.fault("drop", operation="ImportKeyMaterial", times=1)
    result = ceremony.submit(*ceremony.vouched(prepared, sealed))
    assert result.code == 0, result.stderr
    assert len(ceremony.sandbox.calls(operation="GetParametersForImport")) == 1


def test_a_target_that_was_blocked_is_prepared_by_a_later_call(ceremony: Ceremony) -> None:
    ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    ceremony.sandbox.fault("deny", operation="GetParametersForImport", times=1)
    first = ceremony.prepare()
    assert (first.code, "1 target prepared, 0 as wanted already, 1 blocked" in first.stderr) == (4, True)
    second = ceremony.prepare()
    assert (second.code, "2 targets prepared, 0 as wanted already, 0 blocked" in second.stderr) == (0, True)
    sealed = ceremony.seal(*ceremony.vouched(second))
    assert ceremony.submit(*ceremony.vouched(second, sealed)).code == 0
