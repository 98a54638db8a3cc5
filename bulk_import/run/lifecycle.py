"""A target's life is a table: states, events, and where each leads.

What always holds (one exhaustive test walks every path through the table, another the program's own way through it,
with every answer, a stale read, a stop and a kill at each step):
- A target ends exactly once, in exactly one of four ways.
- CHANGED_WELL is reached through PROVING alone, PROVING after a change through VERIFYING alone, VERIFYING through
  APPLIED alone, and APPLIED through an answer or a read that shows the change's effect.
- UNCHANGED_WELL is reached through COMPARING alone, and no path to it passes SENDING.
- From SENDING and LOOKING nothing ends as if it were known whether KMS made the change, unless KMS said so.
- NOT_ATTEMPTED is reached only from states in which no change was ever sent. (A resumed target may have sent one
  before: TargetRun knows its past, and ends it as FAILED instead.)
What else depends on a target's state is derived from the table: UNCHANGING and CHANGED.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """Where a target is."""

    WAITING = auto()  # selected; nothing has been asked about it
    READING = auto()  # DescribeKey is being asked, again while the key is Creating or Updating
    COMPARING = auto()  # found as wanted; its material is compared with KMS's
    PREPARING = auto()  # needs a change; what the change needs is loaded and checked
    ASKING = auto()  # waits for a permit, or for an answer (GetParametersForImport) that the change needs
    SENDING = auto()  # the intent is on disk; the call may be on its way
    LOOKING = auto()  # it was not accepted, or got no answer; a read must show whether it took effect
    APPLIED = auto()  # it took effect; the next change is prepared, or the checks begin
    VERIFYING = auto()  # all changes took effect; consecutive reads must show the wanted state
    PROVING = auto()  # they did; now the material itself is compared
    UNCHANGED_WELL = auto()  # end: as wanted, no change was sent
    CHANGED_WELL = auto()  # end: changed, verified
    FAILED = auto()  # end: with an error
    NOT_ATTEMPTED = auto()  # end: the run stopped before anything was changed


class Event(Enum):
    """What happens to it."""

    STARTED = auto()
    AS_WANTED = auto()
    DIFFERS = auto()  # a later read shows something else: the decision starts again
    CHANGE_NEEDED = auto()
    PREPARED = auto()
    READY = auto()  # the next request has all that it needs
    ACCEPTED = auto()  # the call was answered with 200
    NOT_ACCEPTED = auto()  # an answer that shows that KMS made no change: throttling, a token refused
    LOST = auto()  # no clear answer (none, a 5xx): it may have been carried out
    EFFECT_SEEN = auto()
    NO_EFFECT = auto()  # the request may be sent again
    ALL_APPLIED = auto()  # no further change is needed
    VERIFIED = auto()
    PROVED = auto()  # or no proof was possible and none required
    ERROR = auto()
    STOPPED = auto()


ENDS = frozenset({State.UNCHANGED_WELL, State.CHANGED_WELL, State.FAILED, State.NOT_ATTEMPTED})

_BEFORE_ANY_CHANGE = {Event.ERROR: State.FAILED, Event.STOPPED: State.NOT_ATTEMPTED}
_AFTER_A_CHANGE = {Event.ERROR: State.FAILED, Event.STOPPED: State.FAILED}

TABLE: dict[State, dict[Event, State]] = {
    State.WAITING: {Event.STARTED: State.READING, **_BEFORE_ANY_CHANGE},
    State.READING: {
        Event.AS_WANTED: State.COMPARING,
        Event.CHANGE_NEEDED: State.PREPARING,
        # A resumed target whose change, before the kill, was accepted or now shows its effect.
        Event.EFFECT_SEEN: State.APPLIED,
        **_BEFORE_ANY_CHANGE,
    },
    State.COMPARING: {Event.PROVED: State.UNCHANGED_WELL, Event.DIFFERS: State.READING, **_BEFORE_ANY_CHANGE},
    State.PREPARING: {Event.PREPARED: State.ASKING, **_BEFORE_ANY_CHANGE},
    State.ASKING: {Event.READY: State.SENDING, **_BEFORE_ANY_CHANGE},
    State.SENDING: {
        Event.ACCEPTED: State.APPLIED,
        Event.NOT_ACCEPTED: State.LOOKING,
        Event.LOST: State.LOOKING,
        **_AFTER_A_CHANGE,
    },
    State.LOOKING: {
        Event.EFFECT_SEEN: State.APPLIED,
        # Not back to ASKING: from there a stop would end as if nothing had ever been sent.
        Event.NO_EFFECT: State.SENDING,
        **_AFTER_A_CHANGE,
    },
    State.APPLIED: {Event.READY: State.SENDING, Event.ALL_APPLIED: State.VERIFYING, **_AFTER_A_CHANGE},
    State.VERIFYING: {Event.VERIFIED: State.PROVING, **_AFTER_A_CHANGE},
    State.PROVING: {Event.PROVED: State.CHANGED_WELL, **_AFTER_A_CHANGE},
}

# States from which a stop ends a target as not attempted: nothing was sent, so nothing is lost by ending it at once.
UNCHANGING = frozenset(state for state, row in TABLE.items() if row[Event.STOPPED] is State.NOT_ATTEMPTED)


def _changed(state: State) -> bool | None:
    if state in UNCHANGING:
        return False
    in_doubt = TABLE[state].keys() & {Event.ACCEPTED, Event.EFFECT_SEEN}  # what KMS did is still to be learned
    return None if in_doubt else True


# Whether a change took effect, as far as the state alone shows; None: unknown.
CHANGED: dict[State, bool | None] = {state: _changed(state) for state in TABLE}


class Life:
    """One target's way through the table."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State.WAITING

    def advance(self, event: Event) -> None:
        """Raises RuntimeError for an event that the state does not know: a defect, never a surprise of KMS's."""
        try:
            self.state = TABLE[self.state][event]
        except KeyError:
            raise RuntimeError(f"{event.name} cannot happen in state {self.state.name}") from None

    @property
    def ended(self) -> bool:
        return self.state in ENDS

    @property
    def changed(self) -> bool | None:
        return CHANGED.get(self.state)
