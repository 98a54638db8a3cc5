"""A target's life is a table: states, events, and where each leads.

What always holds (one exhaustive test walks every path through the table, another the program's own way through it,
with every answer, a stale read, a stop and a kill at each step):
- A target ends exactly once, in exactly one of four ways.
- IMPORTED_WELL is reached through PROVING alone, PROVING after an import through VERIFYING alone, and VERIFYING
  through an answer or a read that shows the import's effect.
- UNCHANGED_WELL is reached through COMPARING alone, and no path to it passes SENDING.
- From SENDING and LOOKING nothing ends as if it were known whether KMS took the material, unless KMS said so.
- NOT_ATTEMPTED is reached only from states in which no import was ever sent. (A resumed target may have sent one
  before: TargetRun knows its past, and ends it as FAILED instead.)
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """Where a target is."""

    WAITING = auto()  # selected; nothing has been asked about it
    READING = auto()  # DescribeKey is being asked, again while the key is Creating or Updating
    COMPARING = auto()  # found as wanted; its material is compared with KMS's
    PREPARING = auto()  # needs an import; the material is loaded and checked
    ASKING = auto()  # waits for its permit, or for the answer of GetParametersForImport
    SENDING = auto()  # the intent is on disk; ImportKeyMaterial may be on its way
    LOOKING = auto()  # that was not accepted, or got no answer; a read shall tell whether it took effect
    VERIFYING = auto()  # it took effect; consecutive reads must show the wanted state
    PROVING = auto()  # they did; now the material itself is compared
    UNCHANGED_WELL = auto()  # end: as wanted, no import was sent
    IMPORTED_WELL = auto()  # end: imported, verified
    FAILED = auto()  # end: with an error
    NOT_ATTEMPTED = auto()  # end: the run stopped before anything was changed


class Event(Enum):
    """What happens to it."""

    STARTED = auto()
    AS_WANTED = auto()
    IMPORT_NEEDED = auto()
    PREPARED = auto()
    PARAMETERS = auto()  # an import token and a wrapping key are here
    ACCEPTED = auto()  # ImportKeyMaterial answered 200
    NOT_ACCEPTED = auto()  # an answer that shows that KMS did not take it: throttling, 5xx
    LOST = auto()  # no answer: it may have been carried out
    EFFECT_SEEN = auto()
    NO_EFFECT = auto()  # the token may serve again
    NEW_PARAMETERS = auto()  # no effect, and the token is spent or refused: a new set
    VERIFIED = auto()
    PROVED = auto()  # or no proof was possible and none required
    ERROR = auto()
    STOPPED = auto()


ENDS = frozenset({State.UNCHANGED_WELL, State.IMPORTED_WELL, State.FAILED, State.NOT_ATTEMPTED})

_BEFORE_ANY_IMPORT = {Event.ERROR: State.FAILED, Event.STOPPED: State.NOT_ATTEMPTED}
_AFTER_AN_IMPORT = {Event.ERROR: State.FAILED, Event.STOPPED: State.FAILED}

TABLE: dict[State, dict[Event, State]] = {
    State.WAITING: {Event.STARTED: State.READING, **_BEFORE_ANY_IMPORT},
    State.READING: {
        Event.AS_WANTED: State.COMPARING,
        Event.IMPORT_NEEDED: State.PREPARING,
        # A resumed target whose import, before the kill, was accepted or now shows its effect.
        Event.EFFECT_SEEN: State.VERIFYING,
        **_BEFORE_ANY_IMPORT,
    },
    State.COMPARING: {Event.PROVED: State.UNCHANGED_WELL, **_BEFORE_ANY_IMPORT},
    State.PREPARING: {Event.PREPARED: State.ASKING, **_BEFORE_ANY_IMPORT},
    State.ASKING: {Event.PARAMETERS: State.SENDING, **_BEFORE_ANY_IMPORT},
    State.SENDING: {
        Event.ACCEPTED: State.VERIFYING,
        Event.NOT_ACCEPTED: State.LOOKING,
        Event.LOST: State.LOOKING,
        **_AFTER_AN_IMPORT,
    },
    State.LOOKING: {
        Event.EFFECT_SEEN: State.VERIFYING,
        Event.NO_EFFECT: State.SENDING,
        # Not back to ASKING: from there a stop would end as if nothing had ever been sent.
        Event.NEW_PARAMETERS: State.SENDING,
        **_AFTER_AN_IMPORT,
    },
    State.VERIFYING: {Event.VERIFIED: State.PROVING, **_AFTER_AN_IMPORT},
    State.PROVING: {Event.PROVED: State.IMPORTED_WELL, **_AFTER_AN_IMPORT},
}

# Whether an import took effect, as far as the state alone tells; None: it cannot be said.
CHANGED: dict[State, bool | None] = {
    State.WAITING: False,
    State.READING: False,
    State.COMPARING: False,
    State.PREPARING: False,
    State.ASKING: False,
    State.SENDING: None,
    State.LOOKING: None,
    State.VERIFYING: True,
    State.PROVING: True,
}


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
