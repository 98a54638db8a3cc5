"""The fold: what a journal says of a run that was cut off at any place."""

from __future__ import annotations

import json
import tempfile
import zlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_import.errors import JournalError
from bulk_import.journal.writer import Journal
from bulk_import.model import Proof, Request, Status, Verification
from bulk_import.report.document import Document
from bulk_import.report.fold import Folded, fold
from tests.journal import journals
from tests.journal.journals import answered, ended, intent, lane_ended, pinned, resumed, run_ended, stopping


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def entries(folded: Folded) -> list[dict[str, Any]]:
    return [orjson.loads(entry) for entry in folded.entries()]


def only_entry(path: Path, *events: journals.Event) -> dict[str, Any]:
    [entry] = entries(fold(journals.make_run(path, 1, *events)))
    return entry


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], ("not_attempted", False, "Stopped", 0)),
        ([pinned(0)], ("not_attempted", False, "Stopped", 0)),
        ([stopping("max_failures")], ("not_attempted", False, "MaxFailures", 0)),
        ([pinned(0), intent(0)], ("failed", None, "OutcomeUnknown", 1)),
        ([pinned(0), intent(0), answered(0, "unknown")], ("failed", None, "OutcomeUnknown", 1)),
        ([pinned(0), intent(0), answered(0, "refused")], ("failed", False, "Interrupted", 1)),
        ([pinned(0), intent(0), answered(0, "refused"), intent(0, 2)], ("failed", None, "OutcomeUnknown", 2)),
        # a first request without a clear answer may still have taken effect, also if the second was answered
        ([pinned(0), intent(0), answered(0, "unknown"), intent(0, 2), answered(0, "refused")],
         ("failed", None, "OutcomeUnknown", 2)),
        ([pinned(0), intent(0), intent(0, 2), answered(0, "refused")], ("failed", None, "OutcomeUnknown", 2)),
        ([pinned(0), intent(0), answered(0)], ("failed", True, "NotVerified", 1)),
        ([pinned(0), intent(0), answered(0), intent(0, 2)], ("failed", True, "NotVerified", 2)),
        ([pinned(0), intent(0), resumed(), intent(0)], ("failed", None, "OutcomeUnknown", 2)),
        # what an `ended` said is not known any more once another import is on its way
        ([ended(0, Status.FAILED), resumed(), pinned(0)], ("failed", False, "AccessDeniedException", 1)),
        ([ended(0, Status.FAILED), resumed(), pinned(0), intent(0)], ("failed", None, "OutcomeUnknown", 1)),
        ([ended(0), resumed(), intent(0), answered(0)], ("failed", True, "NotVerified", 1)),
    ],
)  # fmt: skip
def test_a_target_without_an_end_says_what_is_known(
    path: Path, events: list[journals.Event], words: tuple[str, bool | None, str, int]
) -> None:
    entry = only_entry(path, *events)
    assert (entry["status"], entry["changed"], entry["error"]["code"], entry["attempts"]) == words
    assert entry["error"]["advice"]


def test_an_unfinished_entry_holds_the_facts_that_still_hold(path: Path) -> None:
    entry = only_entry(path, pinned(0), intent(0), answered(0, "refused"), stopping("SIGTERM"), run_ended())
    assert entry["key_arn"] == journals.arn(0)
    assert entry["key_state"] == "PendingImport"
    assert entry["valid_to"] == "2026-03-02T04:30:00Z"
    assert entry["wrapping_algorithm"] == "RSAES_OAEP_SHA_256"
    assert entry["request_ids"] == [{"operation": "ImportKeyMaterial", "request_id": "request-0"}]
    assert entry["started_at"].endswith("Z")
    assert "SIGTERM" in entry["error"]["message"]


def test_a_resumed_target_keeps_what_the_resume_found(path: Path) -> None:
    entry = only_entry(path, ended(0, Status.FAILED), resumed(), pinned(0), intent(0))
    assert entry["key_arn"] == journals.arn(0)


def test_what_was_found_before_an_import_says_nothing_of_the_key_after_it(path: Path) -> None:
    entry = only_entry(path, pinned(0), intent(0), answered(0))
    assert entry["key_arn"] == journals.arn(0)
    assert (entry["key_state"], entry["expiration_model"], entry["valid_to"]) == (None, None, None)
    assert entry["key_material_id"] == "a" * 64


def test_the_last_end_of_a_target_counts(path: Path) -> None:
    folded = fold(journals.make_run(path, 1, ended(0, Status.FAILED), resumed(), ended(0), run_ended()))
    assert entries(folded)[0]["status"] == "imported"
    assert (folded.summary.total, folded.summary.imported, folded.summary.failed) == (1, 1, 0)


def test_the_entry_of_a_very_long_verification_does_not_make_the_journal_unreadable(path: Path) -> None:
    """--verify-timeout and --read-interval allow for so many reads, and each has its request ID in the entry."""
    requests = tuple(Request("DescribeKey", f"{number:036d}") for number in range(50_000))
    entry = only_entry(path, ended(0, request_ids=requests), run_ended())
    assert len(entry["request_ids"]) == 50_000


def test_unproved_counts_the_well_ones_apart(path: Path) -> None:
    without = Verification(
        verified=True, reads=1, consecutive=1, duration_seconds=0, proof=Proof.NONE, round_trip=None, detail="x"
    )
    folded = fold(
        journals.make_run(
            path,
            4,
            ended(0),
            ended(1, Status.UNCHANGED, verification=without),
            ended(2, Status.UNCHANGED, verification=None),
            ended(3, Status.FAILED, verification=without),
            run_ended(),
        )
    )
    assert folded.summary.unproved == 2
    assert folded.summary.well == 3


def test_lanes_add_up_over_resumes_and_stand_in_order(path: Path) -> None:
    one, two = journals.ACCOUNTS
    folded = fold(
        journals.make_run(
            path,
            3,
            lane_ended(two, DescribeKey=2),
            lane_ended(one, DescribeKey=1),
            resumed(),
            lane_ended(two, DescribeKey=5, ImportKeyMaterial=1),
        )
    )
    assert [account for account, _ in folded.lanes] == [one, two]
    first, second = folded.lanes.values()
    assert (first.targets, second.targets) == (2, 1)
    assert second.calls == {"DescribeKey": 7, "ImportKeyMaterial": 1}
    assert second.duration_seconds == 3.0


@pytest.mark.parametrize(
    ("events", "outcome_code"),
    [
        ([ended(0), run_ended()], 0),
        ([ended(0)], None),  # killed before its end
        ([ended(0), run_ended(), resumed()], None),  # a resume takes the end back
        ([ended(0), stopping("SIGINT"), run_ended()], 0),  # nothing was left to stop
        ([stopping("SIGINT"), run_ended()], 130),
        ([stopping("SIGINT"), run_ended(), resumed(), ended(0), run_ended()], 0),
        ([stopping("deadline"), run_ended()], 7),
        ([ended(0, Status.FAILED, "InternalError"), run_ended()], 1),
        ([run_ended(failure={"code": "ValueError", "message": "m", "exit_code": 1})], 1),
        ([run_ended(failure={"code": "ClockSkew", "message": "m", "exit_code": 5})], 5),
        ([run_ended(failure={"code": "JournalError", "message": "m", "exit_code": 3})], 1),
        ([ended(0, Status.FAILED), run_ended()], 5),
    ],
)
def test_the_exit_code_follows_from_the_journal(
    path: Path, events: list[journals.Event], outcome_code: int | None
) -> None:
    assert Document.of(fold(journals.make_run(path, 1, *events))).head["run"]["exit_code"] == outcome_code


def test_the_time_between_a_kill_and_its_resume_is_left_out(path: Path) -> None:
    journals.make_run(path, 1, pinned(0), resumed(), ended(0), run_ended())
    seconds = [0, 0, 0, 5, 45, 50, 60]  # killed at 5, resumed at 45, ended at 60
    restamp(path, [journals.START + timedelta(seconds=offset) for offset in seconds])

    folded = fold(path)

    assert folded.duration_seconds == 20.0
    assert folded.resumes == [{"at": "2026-03-02T04:30:45Z", "from_seq": 1}]


def restamp(path: Path, instants: list[datetime]) -> None:
    """Gives a journal's lines other instants."""
    lines = []
    for line, at in zip(path.read_bytes().splitlines(), instants, strict=True):
        event = {**orjson.loads(line), "at": at}
        del event["crc"]
        body = orjson.dumps(event, option=orjson.OPT_UTC_Z)[:-1]
        lines.append(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([ended(0)], ":1: this version cannot read this event (the first event must be run_started)"),
        ([journals.started(), journals.started()], ":2: this version cannot read this event (a second run_started)"),
        ([journals.started(), ended(0)], ":2: this version cannot read this event (there is no target 0)"),
        ([journals.started(), journals.target(1)], "target 1 comes after target -1"),
        ([journals.started(), ("ended", {"index": 0, "result": {}})], ":2: this version cannot read"),
    ],
)
def test_a_journal_of_another_grammar_is_refused_with_its_line(
    path: Path, events: list[journals.Event], message: str
) -> None:
    with pytest.raises(JournalError) as caught:
        fold(journals.make(path, *events))
    assert message in caught.value.message


def test_a_journal_that_is_missing_or_empty_is_refused(path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be read: No such file"):
        fold(path)
    path.write_bytes(b"")
    with pytest.raises(JournalError, match="holds no run"):
        fold(path)


def test_a_journal_that_changes_between_the_passes_is_noticed(path: Path) -> None:
    folded = fold(journals.make_run(path, 2, ended(0), ended(1), run_ended()))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(JournalError, match="changed while it was read"):
        list(folded.entries())


TARGETS = 3
INDEX = st.integers(0, TARGETS - 1)
STATUS = st.sampled_from(Status)
EVENT = st.one_of(
    INDEX.map(pinned),
    INDEX.map(intent),
    st.builds(answered, INDEX, st.sampled_from(("ok", "refused", "unknown"))),
    st.builds(ended, INDEX, STATUS, st.sampled_from(("AccessDeniedException", "InternalError", "Stopped"))),
    st.builds(lane_ended, st.sampled_from(journals.ACCOUNTS)),
    st.sampled_from(("SIGINT", "SIGTERM", "deadline", "max_failures")).map(stopping),
    st.just(resumed()),
    st.builds(run_ended),
)


def last_words(lines: list[bytes]) -> dict[int, str]:
    """An independent reading: the status of each target whose last `ended` no later `intent` voids."""
    words: dict[int, str] = {}
    for event in map(json.loads, lines):
        if event["event"] == "ended":
            words[event["index"]] = event["result"]["status"]
        elif event["event"] == "intent":
            words.pop(event["index"], None)
    return words


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(EVENT, max_size=25), data=st.data())
def test_whatever_happened_and_wherever_it_was_cut(events: list[journals.Event], data: st.DataObject) -> None:
    """Every listed target has one entry, in order; the summary adds up; nothing is OK without its `ended`."""
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        path = journals.make_run(Path(folder) / "journal.jsonl", TARGETS, *events)
        whole = path.read_bytes()
        cut = data.draw(st.integers(whole.index(b"\n") + 1, len(whole)), label="cut")
        path.write_bytes(whole[:cut])
        lines = whole[:cut].split(b"\n")[:-1]

        folded = fold(path)
        found = entries(folded)

        listed = sum(b'"event":"target"' in line for line in lines)
        assert [entry["id"] for entry in found] == [f"key-{index}" for index in range(listed)]
        words = last_words(lines)
        for index, entry in enumerate(found):
            if index in words:
                assert entry["status"] == words[index]
            else:
                assert entry["status"] in ("failed", "not_attempted")
                assert entry["error"]["code"] in (
                    "Stopped",
                    "MaxFailures",
                    "Interrupted",
                    "NotVerified",
                    "OutcomeUnknown",
                )
        counted = [entry["status"] for entry in found]
        summary = folded.summary
        assert summary.total == listed == summary.well + summary.failed + summary.not_attempted
        assert all(getattr(summary, status.value) == counted.count(status.value) for status in Status)
        if Document.of(folded).head["run"]["exit_code"] == 0:
            assert summary.all_well

        with Journal.resume(path) as journal:  # and it can continue from there
            assert journal.seq == len(lines)


def _fast_folder() -> str | None:
    """Hundreds of fsyncs on a real disk are not what is tested here."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a private folder is made in it
