"""What is done with the targets of one lane, an account in a Region: found, judged, changed, handed to verification.

The order of the work, and how much of it is done at once, is in run/feed.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from bulk_import.codes import NOT_YET_CONSISTENT
from bulk_import.errors import ServiceError, TargetError
from bulk_import.model import KeyView, Lane, Outcome, Past, Target
from bulk_import.plan import Action, Decision, StepKind, Wanted, decide, must_wait, recovered
from bulk_import.ports import KeyService, Sink
from bulk_import.run.barrier import Barrier
from bulk_import.run.creator import CREATE, CREATING, NOT_FOUND, LaneCreator
from bulk_import.run.feed import LaneFeed
from bulk_import.run.found import (
    Found,
    Settling,
    Steady,
    check_same_key,
    check_unchanged_since,
    contradiction,
    decide_by,
    decide_unfinished,
)
from bulk_import.run.lifecycle import Event
from bulk_import.run.metadata import with_metadata
from bulk_import.run.policy import Policy
from bulk_import.run.replicas import LaneReplicas
from bulk_import.run.several import continued, made_before, with_materials
from bulk_import.run.steps import REPLICATE, carry_out, changes_more, not_yet_made, only_waits, recover
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import IMPORT, TargetRun
from bulk_import.run.together import Together
from bulk_import.run.verifier import Verifying


class LaneRunner(LaneFeed):
    """Takes every target of one lane to the end."""

    def __init__(
        self,
        lane: Lane,
        targets: Sequence[Target],
        kms: KeyService,
        policy: Policy,
        *,
        sink: Sink,
        stop: Stop,
        import_rate: Callable[[], float],
        on_end: Callable[[Outcome], None],
        wanted: Callable[[Target], Wanted],
        pasts: Mapping[int, Past] | None = None,
        claimed: dict[str, str] | None = None,
        barrier: Barrier | None = None,
    ) -> None:
        """`barrier`: shared with the lanes of related keys. None: the lane has no replica."""
        super().__init__(lane, targets, stop=stop, import_rate=import_rate)
        self._kms = kms
        self._policy = policy
        self._sink = sink
        self._on_end = on_end
        self._wanted = wanted
        self._pasts = pasts or {}  # of resumed targets, by index
        self._claimed = {} if claimed is None else claimed  # ARN → id of the target that has it
        self._creator = LaneCreator(kms, policy, self._claimed)
        self._replicas = LaneReplicas(kms, policy, barrier or Barrier(), self._away)
        self._together = Together(kms, policy, stop, self._away)
        self._steady: set[int] = set()  # indexes of targets that were read again after a resume
        self._differed: set[int] = set()  # indexes of targets whose decision was restarted

    def _begin(self, target: Target) -> TargetRun:
        run = self._new_run(target)
        self._replicas.join(run)
        return run

    def _new_run(self, target: Target) -> TargetRun:
        return TargetRun(self._wanted(target), self._sink, self._on_end, self._pasts.get(target.index))

    async def _take_place(self, run: TargetRun) -> Callable[[], object]:
        """A replica that is created has a place already."""
        if self._replicas.creates(run):
            return partial(self._replicas.done, run)
        places = self._creator.places if changes_more(run.decision) else self._importing
        await places.acquire()
        return places.release

    async def _inspect(self, run: TargetRun, claimed_before: asyncio.Event, claimed: asyncio.Event) -> None:
        """Finds the key and decides. Keys are claimed in manifest order, however the answers come.

        A key that is not found, or not settled, waits in the watch: no one waits behind it.
        """
        view: KeyView | None = None
        try:
            run.start()
            try:
                known = self._replicas.known(run)
                view = await self._first_read(run) if known else None
            finally:
                await claimed_before.wait()  # also where nothing was found: who comes next waits for all before
            if view is not None:
                self._claimed.setdefault(view.arn, run.target.id)
        finally:
            claimed.set()
        await self._go_on(run, view, known=known)

    async def _first_read(self, run: TargetRun) -> KeyView | None:
        """None: it is not found, and is looked for again."""
        try:
            return await self._kms.describe_key(run.arn, run, at_once=True)
        except ServiceError as error:
            creates = error.code == NOT_FOUND and run.target.create is not None
            if not creates and (error.code not in NOT_YET_CONSISTENT or not self._policy.consistency_timeout):
                raise
        return None

    async def _find(self, run: TargetRun) -> None:
        """A target that waited for its primary: it is read as if it came for the first time."""
        known = self._replicas.known(run)
        await self._go_on(run, await self._first_read(run) if known else None, known=known)

    async def _go_on(self, run: TargetRun, view: KeyView | None, *, known: bool) -> None:
        """After the first read. Where the target is sent away, nothing may follow: it can come back at any time."""
        if view is not None:
            await self._judge(run, view)
        elif known:
            self._look_again(run)
        else:
            self._replicas.find(run, partial(self._find, run))

    async def _judge(self, run: TargetRun, view: KeyView, *, settled: bool = False, unfinished: bool = False) -> None:
        """Decides by what was found. `settled`: the key is no longer waited for, in any state.

        `unfinished`: this program created the key, and the alias may be missing.
        """
        unfinished = self._creator.unfinished(run, found=unfinished)
        owner = self._claimed.setdefault(view.arn, run.target.id)
        if must_wait(view) and not settled and owner == run.target.id:
            run.view = view
            self._settle(run)
            return
        if view.materials is None and owner == run.target.id:
            if run.past is None:
                run.view = view  # so that a refused ListKeyRotations is reported with the key's ARN
            view = await with_materials(run, run.target, self._kms, view)
        if run.past is not None and run.rechecks and owner == run.target.id:
            check_same_key(run, run.past, view)
            await self._recheck(run, view)
            return
        run.pin(view)
        if owner != run.target.id:
            raise TargetError(f"{view.arn} is the key of target {owner!r} already.", code="DuplicateKey")
        if run.past is not None:
            check_same_key(run, run.past, view)
            if unfinished and CREATE in run.doubts:
                run.took_effect(CREATE)
            if await recover(run, self._kms, self._policy, view):
                await self._continue(run, run.view or view)
                return
        run.decision = await self._decide(run, view, unfinished=unfinished)
        await self._act_on(run, view, run.decision)

    async def _act_on(self, run: TargetRun, view: KeyView, decision: Decision) -> None:
        """`run` waits for its changes then, or for the reads that compare it."""
        changes = decision.action is not Action.UNCHANGED or bool(run.doubts and run.target.materials)
        if changes and self._wait_until_steady(run):
            return
        if decision.error is not None:
            raise decision.error
        if not self._replicas.may_fill(run, view, partial(self._find, run)):
            return
        if decision.keeps_expiry:
            run.wanted = replace(run.wanted, valid_to=view.valid_to)
        if decision.action is not Action.UNCHANGED and not only_waits(decision):
            made_before(run, decision)
            run.life.advance(Event.CHANGE_NEEDED)
            return
        if changes:
            await self._continue(run, view)  # by what an earlier part of the run has sent
            return
        run.life.advance(Event.AS_WANTED)
        self._read_again(run)

    def _read_again(self, run: TargetRun) -> None:
        found = Found(run, self._kms, self._policy, partial(self._on_differing, run))
        self._away.send(run, found, found.delay)

    def _wait_until_steady(self, run: TargetRun) -> bool:
        """Whether `run` must be read again: several materials are decided about by N equal reads."""
        if not run.target.materials or run.target.index in self._steady:
            return False
        self._steady.add(run.target.index)
        steady = Steady(run, self._kms, self._policy, partial(self._on_back, run, settled=True))
        self._away.send(run, steady, steady.delay)
        return True

    async def _decide(self, run: TargetRun, view: KeyView, *, unfinished: bool = False, again: bool = True) -> Decision:
        """`again`: whether --prove all may ask for an import of what is as wanted."""
        if unfinished and run.target.primary is None:
            return await decide_unfinished(run, self._kms, self._policy, view)
        import_again = again and self._policy.prove == "all"
        decision = await decide_by(run, self._kms, self._policy, view, import_again=import_again)
        return self._together.judged(run, await self._replicas.complete(run, decision))

    async def _recheck(self, run: TargetRun, view: KeyView) -> None:
        """A target that ended OK before the resume. N equal reads decide whether it is as wanted still."""
        run.view, run.read_since = view, True
        if run.target.index not in self._steady:
            self._steady.add(run.target.index)
            run.view = await with_metadata(run, self._kms, view)
            steady = Steady(run, self._kms, self._policy, partial(self._on_back, run, settled=True))
            self._away.send(run, steady, steady.delay)
            return
        decision = await self._decide(run, view, again=False)
        if decision.error is not None:
            raise decision.error
        if decision.action is Action.UNCHANGED:
            await check_unchanged_since(run, self._kms, view)
            run.confirm()
            return
        run.rechecks, run.past = False, None  # it is worked on as if this were its first read
        await self._judge(run, view, settled=True)

    def _look_again(self, run: TargetRun) -> None:
        """For a key that is not found. Raises TargetError where another target creates the same alias."""
        if run.target.create is None or REPLICATE in run.effects:
            self._settle(run)
            return
        look = self._creator.look(
            run,
            back=partial(self._on_back, run),
            unfinished=partial(self._on_back, run, unfinished=True),
            missing=lambda: self._away.back(run, partial(self._create, run)),
        )
        self._away.send(run, look, look.delay)

    async def _create(self, run: TargetRun) -> None:
        """No key has the alias, and none was created for it, as far as the search knows."""
        if not self._replicas.may_replicate(run, partial(self._create, run)):
            return
        unfinished = await self._creator.decide(run)
        if unfinished is None:
            run.life.advance(Event.CHANGE_NEEDED)
        else:
            await self._judge(run, unfinished, unfinished=True)

    def _settle(self, run: TargetRun) -> None:
        settling = Settling(run, self._kms, self._policy, partial(self._on_back, run, settled=True))
        self._away.send(run, settling, settling.interval)

    def _on_back(self, run: TargetRun, view: KeyView, *, settled: bool = False, unfinished: bool = False) -> None:
        self._away.back(run, partial(self._judge, run, view, settled=settled, unfinished=unfinished))

    def _on_differing(self, run: TargetRun, view: KeyView) -> None:
        """A read after the one that found the target as wanted shows something else: the decision starts again, once.

        Raises TargetError the second time.
        """
        if run.target.index in self._differed:
            raise contradiction(run.view, view)
        self._differed.add(run.target.index)
        run.life.advance(Event.DIFFERS)
        self._on_back(run, view)

    async def _continue(self, run: TargetRun, view: KeyView) -> None:
        """A resumed target, some of whose changes took effect before: the others are left, then the checks."""
        if self._wait_until_steady(run):
            return
        run.life.advance(Event.EFFECT_SEEN)
        if IMPORT in run.effects and not run.target.materials:
            left = decide(run.wanted, view, [], now=datetime.now(UTC)).steps
            decision = recovered(run.wanted, run.before or view)
        else:
            decision = await self._decide(run, view, unfinished=not run.tried.isdisjoint(CREATING))
            left = decision.steps
            if decision.error is not None:
                raise decision.error
            if all(step.kind != StepKind.IMPORT_MATERIAL for step in left):
                run.wanted = replace(run.wanted, valid_to=view.valid_to)  # it is as wanted, and no import changes it
        run.decision = continued(run, replace(decision, steps=not_yet_made(run, left)))
        if not run.decision.steps:
            await self._change(run)

    async def _change(self, run: TargetRun) -> None:
        # A key that is created, corrected or rotated may wait for minutes before an import: its place is taken then.
        apart = changes_more(run.decision)
        make = partial(carry_out, run, self._kms, self._policy, lambda: self._importing if apart else nullcontext())
        evidence = await self._together.carry_out(run, make)
        if evidence is None:
            return  # it waits for another Region of its key, and comes back
        self._claimed.setdefault(run.arn, run.target.id)
        run.life.advance(Event.ALL_APPLIED)
        self._watch.add(run, Verifying(run, self._kms, self._policy, evidence))
