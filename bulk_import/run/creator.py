"""Keys that are missing and are to be created: how a lane makes sure that they are, and decides.

https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-create-cmk.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from bulk_import.creation import ALIAS_TAG, adoptable, decide_missing
from bulk_import.errors import ServiceError, TargetError
from bulk_import.model import KeyView
from bulk_import.ports import KeyService
from bulk_import.run.change import shows
from bulk_import.run.found import SHORTEST_WAIT, Back
from bulk_import.run.policy import Policy
from bulk_import.run.steps.create_key import CreateKey
from bulk_import.run.target_run import TargetRun

NOT_FOUND = "NotFoundException"
CREATED_AT_ONCE = 64  # of one lane
CREATE = "CreateKey"
CREATING = frozenset({CREATE, "CreateAlias"})

Search = Callable[[], Awaitable[Mapping[str, list[str]]]]  # ARNs of keys by the alias that they were created for


async def no_search() -> Mapping[str, list[str]]:
    """A replica is found by its primary's key ID: it has no tag, and needs none."""
    return {}


class Missing:
    """A key to create, if it is missing: N consecutive reads must not find it, and neither must the search.

    `back` takes a key that has the alias after all, `unfinished` one that this program created for the alias before,
    and `missing` is called where there is neither. `search`: the lane's keys by the alias that they were created for.
    """

    def __init__(
        self, run: TargetRun, kms: KeyService, policy: Policy, *, search: Search,
        back: Back, unfinished: Back, missing: Callable[[], None],
    ) -> None:  # fmt: skip
        self._run = run
        self._kms = kms
        self._policy = policy
        self._search = search
        self._back = back
        self._unfinished = unfinished
        self._missing = missing
        self._reads = 1  # the one that sent the target here
        self._interval = max(policy.read_interval, SHORTEST_WAIT)

    @property
    def delay(self) -> float:
        """Seconds until the first look."""
        return self._interval if self._policy.reads > 1 else 0.0

    async def __call__(self) -> float | None:
        target = self._run.target
        if self._reads < self._policy.reads:
            try:
                view = await self._kms.describe_key(self._run.arn, self._run, at_once=True)
            except ServiceError as error:
                if error.code != NOT_FOUND:
                    raise
                self._reads += 1
                if self._reads < self._policy.reads:
                    return self._interval
            else:
                self._back(view)
                return None
        for arn in (await self._search()).get(target.alias or "", ()):
            view = await self._kms.describe_key(arn, self._run)
            if adoptable(target, view, await self._kms.list_aliases(arn, self._run)):
                self._unfinished(view)
                return None
        self._missing()
        return None


class LaneCreator:
    """What the targets of one lane share that create their keys."""

    def __init__(self, kms: KeyService, policy: Policy, claimed: dict[str, str]) -> None:
        """`claimed`: ARN or alias → id of the target that has it."""
        self.places = asyncio.Semaphore(CREATED_AT_ONCE)
        self._kms = kms
        self._policy = policy
        self._claimed = claimed
        self._searching = asyncio.Lock()
        self._unfinished: set[TargetRun] = set()
        self._tagged: Mapping[str, list[str]] | None = None  # what the search found

    def look(self, run: TargetRun, *, back: Back, unfinished: Back, missing: Callable[[], None]) -> Missing:
        """For a target whose alias was not found once. Raises TargetError where another target creates the alias."""
        owner = self._claimed.setdefault(run.target.alias or "", run.target.id)
        if owner != run.target.id:
            raise TargetError(f"{run.target.alias} is the alias of target {owner!r} already.", code="DuplicateKey")
        search = no_search if run.target.primary is not None else partial(self._search, run)
        return Missing(run, self._kms, self._policy, search=search, back=back, unfinished=unfinished, missing=missing)

    def unfinished(self, run: TargetRun, *, found: bool) -> bool:
        """Whether the target's key was found by the search: its alias may be missing, however often it is read.

        `found`: it has just been.
        """
        if found:
            self._unfinished.add(run)
        return run in self._unfinished

    async def decide(self, run: TargetRun) -> KeyView | None:
        """Puts the decision to create the key into `run`, or returns the key that an earlier request created.

        Raises TargetError where neither is possible.
        """
        if run.target.primary is not None:
            return None  # decided when its primary was ready
        kind = CreateKey(run, self._kms, self._policy)
        if kind.operation in run.doubts:  # of a run that is resumed: its request may have created a key
            if not await shows(kind, *kind.looks()):
                message = f"No key with the tag {ALIAS_TAG}={run.target.alias} was found."
                raise TargetError(message, code="OutcomeUnknown", operation=kind.operation)
            return run.view
        run.decision = decide_missing(run.wanted, None, now=datetime.now(UTC))
        if run.decision.error is not None:
            raise run.decision.error
        return None

    async def _search(self, run: TargetRun) -> Mapping[str, list[str]]:
        """Asked for once."""
        async with self._searching:
            if self._tagged is None:
                self._tagged = await self._kms.keys_tagged(ALIAS_TAG, run)
        return self._tagged
