"""One target's import: material → parameters → seal → import, and what to do when the answer is no or none.

https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys.html

When a token serves again: after throttling, and a read that shows no effect; after a 5xx, which does not say whether
KMS carried the request out, and reads an interval apart that show no effect. After no answer at all the reads must
show none either, and then a new token is fetched. A reused token that KMS refuses fetches one new set, once.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bulk_import.codes import NOT_YET_CONSISTENT, TOKEN_REFUSED
from bulk_import.errors import ServiceError, TargetError
from bulk_import.material import Held
from bulk_import.material.evidence import Evidence
from bulk_import.model import ImportParameters, KeySpec, KeyView
from bulk_import.plan import check_expiry, shows_effect
from bulk_import.ports import KeyService
from bulk_import.run.lifecycle import Event, State
from bulk_import.run.prover import check_stated_id
from bulk_import.run.target_run import Policy, TargetRun

TOKEN_SPARE = timedelta(minutes=1)  # a token nearer than this to its end is not sent any more


class Importer:
    """Imports one target. `run` is in state PREPARING when it comes, and in VERIFYING when it leaves."""

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy) -> None:
        decision, view = run.decision, run.view
        if decision is None or view is None or decision.key_spec is None or decision.algorithm is None:
            raise RuntimeError("a target is imported only after a decision")
        self._run = run
        self._kms = kms
        self._policy = policy
        self._before: KeyView = view
        self._key_spec: KeySpec = decision.key_spec
        self._held: Held  # in __call__, until the import has taken effect: a new token needs the material again
        self._parameters: ImportParameters | None = None
        self._sealed = b""
        self._token_used = False
        self._token_renewed = False

    async def __call__(self) -> Evidence:
        """Returns what proves the import later. Raises TargetError."""
        async with self._policy.materials.hold(self._run.target, self._key_spec) as held:
            self._held = held
            if self._run.decision is not None:
                self._run.decision = replace(self._run.decision, algorithm=held.algorithm)
            await self._fetch_parameters()
            self._run.life.advance(Event.PARAMETERS)
            await self._policy.retry(self._try)
            check_stated_id(self._run)
            return held.evidence

    async def _fetch_parameters(self) -> None:
        """Called with the material checked, so that the scarce permit is not spent in vain."""
        run, held = self._run, self._held
        check_expiry(run.wanted, datetime.now(UTC))
        if run.life.state is State.PREPARING:
            run.life.advance(Event.PREPARED)
        parameters = await self._kms.get_parameters_for_import(
            self._before.arn, run, wrapping_algorithm=held.algorithm, wrapping_key_spec=run.target.wrapping_key_spec
        )
        self._sealed = await held.seal(parameters.public_key)
        self._parameters = parameters
        self._token_used = False

    async def _try(self) -> None:
        """One request. Returns when the import took effect; raises ServiceError where it did not."""
        run = self._run
        if self._parameters is None or self._parameters.valid_to - datetime.now(UTC) < TOKEN_SPARE:
            await self._fetch_parameters()
        if run.life.state is State.LOOKING:
            run.life.advance(Event.NO_EFFECT if self._token_used else Event.NEW_PARAMETERS)
        check_expiry(run.wanted, datetime.now(UTC))
        try:
            await self._send()
        except ServiceError as error:
            if error.code in TOKEN_REFUSED and not self._token_renewed:
                # Too old while it waited, or spent by a try that was not accepted: one new set, once.
                self._token_renewed = True
                self._parameters = None
                run.life.advance(Event.NOT_ACCEPTED)
                await self._try()
                return
            if not await self._took_effect_anyway(error):
                raise

    async def _send(self) -> None:
        run, parameters = self._run, self._parameters
        if parameters is None:
            raise RuntimeError("nothing to send without parameters")
        run.sink.write(
            "intent", index=run.target.index, operation="ImportKeyMaterial", attempt=run.attempts + 1,
            wrapping_algorithm=self._held.algorithm, wrapping_key_spec=run.target.wrapping_key_spec,
        )  # fmt: skip
        sent_before = run.attempts
        doubt_before, run.in_doubt = run.in_doubt, True
        try:
            await run.sink.sync()  # whoever finds this journal must know that the request may be on its way
            self._token_used = True
            run.read_since = False
            run.material_id = await self._kms.import_key_material(
                self._before.arn, run, token=parameters.token, sealed=self._sealed, valid_to=run.wanted.valid_to
            )
        except ServiceError as error:
            if not error.outcome_unknown:
                run.in_doubt = doubt_before
            self._note_answer("unknown" if error.outcome_unknown else "refused", error.request_id)
            raise
        except (TargetError, asyncio.CancelledError):
            # A lane's end, or that of the grace period. Either nothing left (the role is denied by now, a sibling met
            # another account, the permit was still waited for), or the request is under way, or this very answer came
            # from another account: then it was carried out, somewhere.
            if run.attempts == sent_before:
                run.in_doubt = doubt_before
            self._note_answer("unknown" if run.in_doubt else "refused", "")
            raise
        run.in_doubt, run.accepted = False, True
        self._note_answer("ok", run.requests[-1][1] if run.requests else "")
        run.life.advance(Event.ACCEPTED)
        await run.sink.sync()

    def _note_answer(self, outcome: str, request_id: str) -> None:
        self._run.sink.write(
            "answered", index=self._run.target.index, operation="ImportKeyMaterial", outcome=outcome,
            request_id=request_id, key_material_id=self._run.material_id,
        )  # fmt: skip

    async def _took_effect_anyway(self, error: ServiceError) -> bool:
        """After a request that was not accepted, or got no answer. False: it may be sent again."""
        if error.outcome_unknown:
            self._run.life.advance(Event.LOST)
            if not error.request_id:
                self._parameters = None  # whether the token was spent is unknown: the next try takes a new one
            looks = self._policy.reads
        elif error.retryable or error.code in NOT_YET_CONSISTENT:
            self._run.life.advance(Event.NOT_ACCEPTED)
            looks = 1
        else:
            raise error
        for look in range(looks):
            if look:
                await asyncio.sleep(self._policy.read_interval)
            view = await self._kms.describe_key(self._before.arn, self._run)
            if shows_effect(self._run.wanted, self._before, view):
                self._run.in_doubt, self._run.accepted = False, True
                self._run.life.advance(Event.EFFECT_SEEN)
                if error.code == "WrongKey":
                    raise error  # the effect is known by now, but nobody knows what else such responses hide
                return True
        return False
