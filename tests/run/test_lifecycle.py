"""The table of a target's life, walked through whole: every state, every event, every path.

Kills and stale reads at each step, with the code that goes by the table: test_model_check.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from bulk_import.errors import TargetError
from bulk_import.model import KeySpec, KeyView, Lane, Outcome, Status, Target, WrappingAlgorithm
from bulk_import.plan import Action, Decision, Wanted
from bulk_import.run.lifecycle import CHANGED, ENDS, TABLE, Event, Life, State
from bulk_import.run.target_run import TargetRun

ALIVE = [state for state in State if state not in ENDS]
WELL = {State.UNCHANGED_WELL, State.CHANGED_WELL}


@dataclass(frozen=True)
class Path:
    """A way through the table, as far as the rules look at it."""

    state: State
    passed: frozenset[State]  # before `state`
    happened: frozenset[Event]
    came_from: State | None
    came_by: Event | None
    # What KMS did, as far as its answers showed: False: nothing was sent. None: something may be on its way.
    known: bool | None


def paths() -> Iterator[Path]:
    """Every way from the beginning, each once; ways that the rules cannot distinguish count as one."""
    start = Path(State.WAITING, frozenset(), frozenset(), None, None, known=False)
    seen, queue = {start}, deque([start])
    while queue:
        path = queue.popleft()
        yield path
        for event, state in TABLE.get(path.state, {}).items():
            known = path.known
            if state is State.SENDING:
                known = None
            elif event in (Event.ACCEPTED, Event.EFFECT_SEEN):
                known = True
            longer = Path(state, path.passed | {path.state}, path.happened | {event}, path.state, event, known)
            if longer not in seen:
                seen.add(longer)
                queue.append(longer)


PATHS = list(paths())
ENDED = [path for path in PATHS if path.state in ENDS]


def test_the_walk_goes_everywhere() -> None:
    assert {path.state for path in PATHS} == set(State)
    taken = {(path.came_from, path.came_by) for path in PATHS if path.came_from}
    assert taken == {(state, event) for state, row in TABLE.items() for event in row}
    assert {event for row in TABLE.values() for event in row} == set(Event)  # no event that never happens
    assert len(PATHS) > 100


def test_there_are_four_ends_and_no_way_leads_on_from_them() -> None:
    assert len(ENDS) == 4
    assert set(TABLE) == set(ALIVE)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_an_event_that_a_state_does_not_know_is_a_defect_and_changes_nothing(state: State, event: Event) -> None:
    life = Life()
    life.state = state
    if event in TABLE.get(state, {}):
        life.advance(event)
        assert life.state is TABLE[state][event]
        assert life.ended is (life.state in ENDS)
    else:
        with pytest.raises(RuntimeError, match=f"{event.name} cannot happen in state {state.name}"):
            life.advance(event)
        assert life.state is state


@pytest.mark.parametrize("state", ALIVE)
def test_every_state_can_be_stopped_and_can_fail_and_either_is_an_end(state: State) -> None:
    assert TABLE[state][Event.ERROR] is State.FAILED
    assert TABLE[state][Event.STOPPED] in (State.FAILED, State.NOT_ATTEMPTED)


@pytest.mark.parametrize("state", ALIVE)
def test_every_state_reaches_a_good_end(state: State) -> None:
    reached, edge = {state}, [state]
    while edge:
        edge = [next_ for at in edge for next_ in TABLE.get(at, {}).values() if next_ not in reached]
        reached |= set(edge)
    assert reached & WELL


def test_changed_well_is_reached_through_verified_reads_and_the_proof_alone() -> None:
    for path in ENDED:
        if path.state is State.CHANGED_WELL:
            assert (path.came_from, path.came_by) == (State.PROVING, Event.PROVED)
            assert {Event.VERIFIED, Event.PROVED} <= path.happened
            assert {State.VERIFYING, State.PROVING} <= path.passed
            # It was sent, in this part of the run or, seen by a resume's first read, before the kill.
            assert State.SENDING in path.passed or Event.EFFECT_SEEN in path.happened
            assert path.known is True


def test_proving_is_reached_through_verifying_alone() -> None:
    assert {path.came_from for path in PATHS if path.state is State.PROVING} == {State.VERIFYING}


def test_verifying_is_reached_through_an_answer_or_a_read_that_shows_the_effect() -> None:
    ways = {(path.came_from, path.came_by) for path in PATHS if path.state is State.APPLIED}
    resumed = (State.READING, Event.EFFECT_SEEN)  # the request was sent before the kill
    assert ways == {(State.SENDING, Event.ACCEPTED), (State.LOOKING, Event.EFFECT_SEEN), resumed}
    verified = {(path.came_from, path.came_by) for path in PATHS if path.state is State.VERIFYING}
    assert verified == {(State.APPLIED, Event.ALL_APPLIED)}


def test_unchanged_well_is_reached_through_comparing_alone_and_nothing_was_ever_sent() -> None:
    ends = [path for path in ENDED if path.state is State.UNCHANGED_WELL]
    assert {path.came_from for path in ends} == {State.COMPARING}
    assert not any({State.ASKING, State.SENDING} & path.passed for path in ends)


def test_not_attempted_means_that_nothing_was_ever_sent() -> None:
    ends = [path for path in ENDED if path.state is State.NOT_ATTEMPTED]
    assert ends
    assert not any(State.SENDING in path.passed for path in ends)
    assert {path.came_by for path in ends} == {Event.STOPPED}


def test_a_request_is_sent_only_after_the_material_was_prepared_and_parameters_came() -> None:
    for path in PATHS:
        if path.state is State.SENDING:
            prepared = {Event.CHANGE_NEEDED, Event.PREPARED, Event.READY}
            next_change = {Event.EFFECT_SEEN, Event.READY}  # of a resumed target
            assert prepared <= path.happened or next_change <= path.happened


def test_a_second_request_is_sent_only_after_a_look_that_showed_no_effect() -> None:
    again = {
        (path.came_from, path.came_by) for path in PATHS if path.state is State.SENDING and State.SENDING in path.passed
    }
    next_change = (State.APPLIED, Event.READY)
    assert again == {(State.LOOKING, Event.NO_EFFECT), next_change}


def test_changed_is_the_truth_on_every_path() -> None:
    """False: nothing was ever sent. True: KMS said so, or a read showed it. None: anything else."""
    assert set(CHANGED) == set(ALIVE)
    for path in PATHS:
        if path.state in ENDS:
            continue
        assert CHANGED[path.state] is path.known, path


def test_an_end_from_doubt_is_a_failure() -> None:
    for path in ENDED:
        if path.came_from in (State.SENDING, State.LOOKING):
            assert path.state is State.FAILED
            assert path.known is None


# --- the same, as the report shows it


class Journal:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def write(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))

    async def sync(self) -> None:
        """Nothing to wait for."""


LANE = Lane("aws", "111122223333", "us-east-1")
ARN = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000001"
VIEW = KeyView(ARN, "PendingImport", "EXTERNAL", "CUSTOMER", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")


def target_in(state: State, *, in_doubt: bool) -> tuple[TargetRun, list[Outcome], Journal]:
    journal, ended = Journal(), []
    target = Target(0, "one", LANE, "alias/one", "file:one.key")
    run = TargetRun(Wanted(target, None), journal, ended.append)
    if state is not State.WAITING:
        run.started_at = datetime.now(UTC)
    if state not in (State.WAITING, State.READING):
        action = Action.UNCHANGED if state is State.COMPARING else Action.IMPORT
        run.view = VIEW
        run.decision = Decision(action, KeySpec.SYMMETRIC_DEFAULT, WrappingAlgorithm.RSAES_OAEP_SHA_256)
    run.life.state = state
    if in_doubt:
        run.doubts.add("ImportKeyMaterial")
    return run, ended, journal


DOUBTS = [(state, doubt) for state in ALIVE for doubt in (False, True) if not doubt or CHANGED[state] is None]


@pytest.mark.parametrize(("state", "in_doubt"), DOUBTS)
@pytest.mark.parametrize("how", ["fails", "is stopped"])
def test_the_report_says_of_each_end_what_is_known(state: State, how: str, in_doubt: bool) -> None:
    run, ended, journal = target_in(state, in_doubt=in_doubt)
    if how == "fails":
        run.fail(TargetError("went wrong", code="Wrong", operation="ImportKeyMaterial"))
    else:
        run.stop("SIGTERM")
    (outcome,) = ended  # exactly once, and the journal has it too
    assert [event for event, _ in journal.events] == ["ended"]
    # Whether an import took effect is said where it is known, and only there.
    sent = CHANGED[state] is not False
    assert outcome.changed is (None if in_doubt else CHANGED[state] or False)
    assert outcome.error is not None
    assert (outcome.error.code == "OutcomeUnknown") is (outcome.changed is None)
    assert outcome.status is (Status.FAILED if sent or how == "fails" else Status.NOT_ATTEMPTED)
    assert outcome.error.advice
    with pytest.raises(RuntimeError):  # no one ends twice
        run.stop("again")
    assert len(ended) == 1
