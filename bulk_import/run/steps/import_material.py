"""One target's import: material → parameters → seal → import.

https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys.html

When a token serves again: after throttling, and a read that shows no effect; after a 5xx, which does not say whether
KMS carried the request out, and reads an interval apart that show no effect. After no answer at all the reads must
show none either, and then a new token is fetched. A reused token that KMS refuses fetches one new set, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bulk_import.codes import TOKEN_REFUSED
from bulk_import.errors import ServiceError
from bulk_import.family import import_type
from bulk_import.material import Held
from bulk_import.model import AmongSeveral, ImportParameters, KeySpec, KeyView
from bulk_import.plan import Step, Wanted, check_expiry, shows_effect
from bulk_import.ports import KeyService
from bulk_import.run.change import Kind
from bulk_import.run.lifecycle import Event, State
from bulk_import.run.policy import Policy
from bulk_import.run.target_run import TargetRun

TOKEN_SPARE = timedelta(minutes=1)  # a token nearer than this to its end is not sent any more


class ImportMaterial(Kind):
    """One key's only material."""

    operation = "ImportKeyMaterial"
    repeatable = True  # the same material again changes nothing

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, step: Step | None = None) -> None:
        super().__init__(run, kms, policy, step)
        if run.before is None:
            raise RuntimeError("a target is imported only after its first read")
        self._before: KeyView = run.before
        self._parameters: ImportParameters | None = None
        self._sealed = b""
        self._token_renewed = False

    @property
    def arn(self) -> str:
        return self._before.arn

    @property
    def wanted(self) -> Wanted:
        """What KMS must show of the material."""
        return self.run.wanted

    @property
    def held(self) -> Held:
        if self.run.held is None:
            raise RuntimeError("a target is imported only with its material at hand")
        return self.run.held

    async def prepare(self) -> None:
        if self._parameters is None or self._parameters.valid_to - datetime.now(UTC) < TOKEN_SPARE:
            self._parameters = await self._fetch_parameters()
        check_expiry(self.wanted, datetime.now(UTC))

    def intent(self) -> Mapping[str, Any]:
        return {"wrapping_algorithm": self.held.algorithm, "wrapping_key_spec": self.run.target.sealed_under}

    async def send(self) -> Mapping[str, Any]:
        self.run.material_id = await self.request()
        return {"key_material_id": self.run.material_id}

    async def request(self, among: AmongSeveral | None = None) -> str | None:
        """One ImportKeyMaterial. Returns the KeyMaterialId that KMS answers."""
        run, parameters = self.run, self._parameters
        if parameters is None:
            raise RuntimeError("nothing to send without parameters")
        existing = None if among is not None else import_type(run.target, KeySpec(self._before.key_spec))
        return await self.kms.import_key_material(
            self.arn, run, token=parameters.token, sealed=self._sealed, valid_to=self.wanted.valid_to, among=among,
            import_type=existing,
        )  # fmt: skip

    def renews(self, error: ServiceError) -> bool:
        """Too old while it waited, or spent by a try that was not accepted: one new set, once."""
        if error.code not in TOKEN_REFUSED:
            return False
        given = self.held.parameters
        if given is not None and given.seal_again is not None:
            error.advice = given.seal_again
        if self._token_renewed or given is not None:
            return False
        self._token_renewed = True
        self._parameters = None
        return True

    def lost(self, error: ServiceError) -> None:
        if not error.request_id:
            self._parameters = None  # whether the token was spent is unknown: the next try takes a new one

    async def applied(self) -> bool:
        return self.shown_by(await self.kms.describe_key(self.arn, self.run))

    def shown_by(self, view: KeyView) -> bool:
        return shows_effect(self.wanted, self._before, view)

    async def _fetch_parameters(self) -> ImportParameters:
        """Called with the material checked, so that the scarce permit is not spent in vain."""
        run, held = self.run, self.held
        check_expiry(self.wanted, datetime.now(UTC))
        if run.life.state is State.PREPARING:
            run.life.advance(Event.PREPARED)
        # After a lost response, parameters that the material was sealed for before the run are sent again as they are.
        parameters = held.parameters or await self.kms.get_parameters_for_import(
            self.arn, run, wrapping_algorithm=held.algorithm, wrapping_key_spec=run.target.wrapping_key_spec
        )
        self._sealed = await held.seal(parameters.public_key)
        return parameters
