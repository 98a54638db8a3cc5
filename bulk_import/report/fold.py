"""A journal, folded: first its events into a small state, then its targets' entries one after another.

Two passes, so that 100,000 targets cost 17 bytes each and not their results: the first keeps the offset of each
target's `ended` line, the second reads those lines in manifest order. What the events mean is in events.py.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from bulk_import.errors import ExitCode, JournalError, Problem
from bulk_import.journal import events
from bulk_import.journal.entry import plain
from bulk_import.journal.reader import NEWER, READABLE, JournalReader, parse
from bulk_import.model import Status
from bulk_import.model.run import Selected, SessionScope, StopReason, Summary, widest
from bulk_import.report import mark
from bulk_import.report.summary import Ending
from bulk_import.report.unfinished import InFlight, not_read_again, unfinished_outcome

Event = dict[str, Any]

_NONE: Final = -1  # no `ended` line


@dataclass(slots=True)
class LaneFacts:
    """What adds up to a lane's entry in the report."""

    targets: int = 0
    duration_seconds: float | None = None  # None: the lane did not end
    calls: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    quota: dict[str, float] = field(default_factory=dict)
    effective_rate: dict[str, float] = field(default_factory=dict)
    session_policy: SessionScope | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """All of a run but the targets' entries, which `entries` reads when they are wanted."""

    journal: Path
    sha256: str  # of the journal's file as it was read
    started: Event  # run_started
    caller: Event  # the event; empty: the run did not come so far
    finished_at: str | None
    duration_seconds: float  # at work, the time between a kill and its resume left out
    failure: dict[str, Any] | None  # that ended the whole run
    resumes: list[dict[str, Any]]
    summary: Summary
    ending: Ending
    lanes: dict[tuple[str, str], LaneFacts]  # in order of first appearance
    _listed: array[int]
    _ended: array[int]
    _unfinished: dict[int, InFlight]
    _results: bytearray

    def entries(self) -> Iterator[bytes]:
        """Every selected target's entry as JSON, in manifest order. Raises JournalError if the file has changed."""
        stopped_code, why = _stop(self.ending, self.failure)
        try:
            with self.journal.open("rb") as stream:
                for index, ended in enumerate(self._ended):
                    stream.seek(self._listed[index] if ended == _NONE else ended)
                    event = parse(stream.readline())
                    if event is None or event.get("index") != index:
                        raise self._problem("the journal changed while it was read.", "Wait for its run's end.")
                    if ended == _NONE:
                        known = self._unfinished.get(index)
                        outcome = unfinished_outcome(event, known, stopped_code=stopped_code, why=why)
                        yield orjson.dumps(outcome, plain, orjson.OPT_PASSTHROUGH_DATETIME)
                    elif self._results[index] & mark.UNREAD:
                        yield orjson.dumps(not_read_again(event["result"], why=why))
                    else:
                        yield orjson.dumps(event["result"])
        except OSError as error:
            raise self._problem(f"the journal cannot be read: {error.strerror}.", READABLE) from error

    def _problem(self, message: str, advice: str) -> JournalError:
        return JournalError([Problem(str(self.journal), 0, "", message, advice)])


def fold(journal: Path) -> Folded:
    """Reads the whole journal once. Raises JournalError where it is missing, damaged or not one."""
    reader = JournalReader(journal)
    state = _State(reader)
    for offset, event in reader:
        state.apply(offset, event)
    return state.folded()


class _State:
    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._started: Event = {}
        self._caller: Event = {}
        self._finished_at: str | None = None
        self._failure: dict[str, Any] | None = None
        self._stopped_by: list[StopReason] = []
        self._resumes: list[dict[str, Any]] = []
        self._lanes: dict[tuple[str, str], LaneFacts] = {}
        self._listed = array("q")  # offsets of `target` lines, by index
        self._ended = array("q")  # offsets of `ended` lines, by index
        self._results = bytearray()  # by index
        self._unfinished: dict[int, InFlight] = {}
        self._last_at = ""
        self._idle = 0.0  # seconds between a kill and its resume
        self._offset = 0  # of the event at hand
        self._apply: dict[str, Callable[[Event], None]] = {
            "run_started": self._on_run_started,
            "target": self._on_target,
            "caller": self._on_caller,
            "lane": self._on_lane,
            "pinned": self._on_pinned,
            "intent": self._on_intent,
            "answered": self._on_answered,
            "ended": self._on_ended,
            "lane_ended": self._on_lane_ended,
            "wrapping_key": _ignore,  # for the next run, which removes it
            "stopping": self._on_stopping,
            "run_ended": self._on_run_ended,
            "confirmed": self._on_confirmed,
            "resumed": self._on_resumed,
        }

    def apply(self, offset: int, event: Event) -> None:
        self._offset = offset
        try:
            events.check(event["event"], event)
            if not self._started and event["event"] != "run_started":
                raise ValueError("the first event must be run_started")
            self._apply[event["event"]](event)
            events.moment(event["at"])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self._reader.problem(f"this version cannot read this event ({error}).", NEWER) from None
        self._last_at = event["at"]

    def folded(self) -> Folded:
        if not self._started:
            raise self._reader.problem("the journal holds no run.", "Run again: nothing was begun.")
        failure_exit = self._failure["exit_code"] if self._failure else None
        summary, flags = self._count()
        return Folded(
            journal=self._reader.path,
            sha256=self._reader.sha256,
            started=self._started,
            caller=self._caller,
            finished_at=self._finished_at,
            duration_seconds=round(max(0.0, self._elapsed()), 3),
            failure=self._failure,
            resumes=self._resumes,
            summary=summary,
            ending=Ending(
                finished=self._finished_at is not None,
                stopped_by=tuple(self._stopped_by),
                work_left=bool(flags & mark.CUT_SHORT),
                internal_error=bool(flags & mark.INTERNAL) or failure_exit not in (None, ExitCode.NONE_WELL),
                caller_error=failure_exit == ExitCode.NONE_WELL,
                empty_shard=self._started["shard"] is not None and not self._listed,
            ),
            lanes=self._lanes,
            _listed=self._listed,
            _ended=self._ended,
            _unfinished=self._unfinished,
            _results=self._results,
        )

    def _on_run_started(self, event: Event) -> None:
        if self._started:
            raise ValueError("a second run_started")
        events.moment(event["started_at"])
        Selected(**event["selection"])
        self._started = event

    def _on_target(self, event: Event) -> None:
        index = event["index"]
        if index == len(self._listed):
            self._listed.append(self._offset)
            self._ended.append(_NONE)
            self._results.append(0)
            self._lane(event).targets += 1
        elif 0 <= index < len(self._listed):
            self._listed[index] = self._offset  # a resume of a run that was killed while it listed its targets
        else:
            raise ValueError(f"target {index} comes after target {len(self._listed) - 1}")

    def _on_caller(self, event: Event) -> None:
        self._caller = event

    def _on_lane(self, event: Event) -> None:
        self._lane(event).quota = event["quota"]

    def _on_pinned(self, event: Event) -> None:
        self._index(event)
        self._open(event).pinned = event

    def _on_intent(self, event: Event) -> None:
        index = self._index(event)
        known = self._open(event)
        known.changed_before = known.changed_before or bool(
            self._ended[index] != _NONE and self._results[index] & mark.CHANGED
        )
        self._ended[index] = _NONE
        known.on_intent(event)

    def _on_answered(self, event: Event) -> None:
        if self._ended[self._index(event)] == _NONE:
            self._open(event).on_answered(event)

    def _on_ended(self, event: Event) -> None:
        index, result = self._index(event), event["result"]
        self._results[index] = mark.mark(result)
        self._ended[index] = self._offset
        self._unfinished.pop(index, None)

    def _on_lane_ended(self, event: Event) -> None:
        lane = self._lane(event)
        lane.duration_seconds = round((lane.duration_seconds or 0.0) + event["duration_seconds"], 3)
        lane.calls.update(dict(event["calls"].items()))
        lane.throttled.update(dict(event["throttled"].items()))
        lane.quota = event["quota"]
        lane.effective_rate = event.get("effective_rate") or {}
        lane.session_policy = widest(lane.session_policy, event.get("session_policy"))

    def _on_stopping(self, event: Event) -> None:
        self._stopped_by.append(event["reason"])

    def _on_run_ended(self, event: Event) -> None:
        events.moment(event["finished_at"])
        self._finished_at = event["finished_at"]
        self._failure = events.failure(event.get("failure"))

    def _on_resumed(self, event: Event) -> None:
        self._idle += max(0.0, _seconds(self._last_at, event["at"]))
        self._resumes.append({"at": event["at"], "from_seq": event["from_seq"]})
        self._finished_at = self._failure = None
        self._stopped_by.clear()
        if event.get("reads_again"):
            for index, result in enumerate(self._results):
                if self._ended[index] != _NONE:
                    self._results[index] = mark.resumed(result)

    def _on_confirmed(self, event: Event) -> None:
        index = self._index(event)
        self._results[index] &= ~mark.UNREAD
        self._unfinished.pop(index, None)

    def _index(self, event: Event) -> int:
        index: int = event["index"]
        if not 0 <= index < len(self._listed):
            raise ValueError(f"there is no target {index}")
        return index

    def _open(self, event: Event) -> InFlight:
        return self._unfinished.setdefault(event["index"], InFlight(since=event["at"]))

    def _lane(self, event: Event) -> LaneFacts:
        return self._lanes.setdefault((event["account"], event["region"]), LaneFacts())

    def _elapsed(self) -> float:
        return _seconds(self._started["started_at"], self._finished_at or self._last_at) - self._idle

    def _count(self) -> tuple[Summary, int]:
        for index, ended in enumerate(self._ended):
            if ended == _NONE:
                known = self._unfinished.get(index)
                self._results[index] = mark.unfinished(Status.FAILED if known and known.last else Status.NOT_ATTEMPTED)
        return mark.count(self._results)


def _stop(ending: Ending, failure: dict[str, Any] | None) -> tuple[str, str]:
    """The error code of targets that were not attempted, and why in a word."""
    if ending.stopped_by:
        reason = ending.stopped_by[0]
        return ("MaxFailures" if reason == "max_failures" else "Stopped"), reason
    return "Stopped", failure["code"] if failure else "killed, or still at work"


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _ignore(_: Event) -> None:
    """An event that says nothing about a result."""
