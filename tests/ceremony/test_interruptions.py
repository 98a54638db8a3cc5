"""Killed, expired, half done: every step can be run again and then continues."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.ceremony.conftest import Ceremony, read
from tests.ceremony.test_attacks import alter, fingerprint
from tests.faults.forks import Kill
from tests.faults.support import events

# run_started, 2 targets, caller; for each target pinned, intent, answered, ended; lane_ended, run_ended.
EVENTS = 1 + 2 + 1 + 2 * 4 + 2


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_killed_prepare_is_continued(count: int, ceremony: Ceremony) -> None:
    """Killed while it waits for the parameters of target `count`: nothing is lost."""
    ceremony.keys("HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512")
    ceremony.sandbox.fault("hang", operation="GetParametersForImport", after=count, times=None, seconds=600)

    def kill(pid: int) -> None:
        while not ceremony.sandbox.faults()[0]["fired"]:
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)

    command = ["prepare", "manifest.json", "bundle.jsonl", "--quota", "GetParametersForImport=50"]
    online = ceremony.online
    killed = ceremony.forks.run(online.folder, online.environment(), command, meanwhile=kill)
    assert killed.code == -signal.SIGKILL
    ceremony.sandbox.post("faults/clear")
    prepared = ceremony.prepare()
    assert prepared.code == 0, prepared.stderr
    lines = read(online.folder / "bundle.jsonl")
    assert sorted(line["index"] for line in lines[1:]) == [0, 1, 2, 3]
    # What was in flight when it was killed is asked for again, and nothing else.
    assert len(ceremony.sandbox.calls(operation="GetParametersForImport")) <= 4 + (4 - count)
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    assert ceremony.submit(*ceremony.vouched(prepared, sealed)).code == 0


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
@pytest.mark.parametrize("seq", range(1, EVENTS + 1))
def test_a_submission_killed_at_each_event_is_resumed(seq: int, how: str, ceremony: Ceremony) -> None:
    ceremony.keys("SYMMETRIC_DEFAULT", "HMAC_256")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    vouched = ceremony.vouched(prepared, sealed)
    killed = ceremony.submit(*vouched, kill=Kill(seq, how))
    assert killed.code == -signal.SIGKILL, killed.stderr
    nothing_written = seq == 1 and how != "after"
    result = ceremony.submit(*vouched, *([] if nothing_written else ["--resume"]))
    assert result.code == 0, result.stderr
    assert {entry["status"] for entry in result.report["results"]} <= {"imported", "unchanged"}
    assert ceremony.states() == {"Enabled"}
    assert ceremony.imports() <= 2 + 1  # the one in flight may be sent again: the same material, the same token
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
    deadline = datetime.now(UTC) - NOW + timedelta(seconds=20)
    vouched = due(ceremony, k0=deadline)
    sealed = ceremony.seal(*vouched)
    assert sealed.code == 0, sealed.stderr
    while datetime.now(UTC) < NOW + deadline:
        time.sleep(0.1)
    submitted = ceremony.submit(*vouched, *ceremony.vouched(sealed))
    assert submitted.code == 5
    assert {entry["error"]["code"] for entry in submitted.report["results"]} == {"ParametersExpired"}
    assert ceremony.imports() == 0


def test_what_expires_within_the_hour_is_said_at_each_step(ceremony: Ceremony) -> None:
    ceremony.keys("SYMMETRIC_DEFAULT")
    ceremony.prepare()
    vouched = due(ceremony, k0=datetime.now(UTC) - NOW + timedelta(minutes=30))
    sealed = ceremony.seal(*vouched)
    submitted = ceremony.submit(*vouched, *ceremony.vouched(sealed))
    assert submitted.code == 0, submitted.stderr
    for step in (sealed, submitted):
        assert "Warning: " in step.stderr
        assert "expire" in step.stderr


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
