"""The inline policy that a role is assumed with: the narrowest one that STS accepts.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import structlog

from bulk_import.errors import ServiceError
from bulk_import.model import SessionPolicy

log = structlog.get_logger()
T = TypeVar("T")

TOO_LARGE: Final = "PackedPolicyTooLarge"


class SessionLimit:
    """Of one role. `used`: the scope of the policy that its last session has; `off`: none; None: no session yet."""

    def __init__(self, role: str, policies: Sequence[SessionPolicy]) -> None:
        """`policies`: the narrowest first. Empty: the role is assumed without a policy."""
        self._role = role
        self._left = list(policies)
        self.used: str | None = None

    async def assume(self, call: Callable[[Mapping[str, str]], Awaitable[T]]) -> T:
        """`call` makes AssumeRole with these further parameters. Raises what it raises.

        STS packs the policy together with the session's tags, and only STS knows whether the result is too large.
        """
        while True:
            try:
                answer = await call({"Policy": self._left[0].document} if self._left else {})
            except ServiceError as error:
                if error.code != TOO_LARGE or len(self._left) < 2:
                    raise
                narrow = self._left.pop(0)
                log.info("the session policy is too large for STS; a shorter one is used", role=self._role,
                         instead_of=narrow.scope, now=self._left[0].scope)  # fmt: skip
            else:
                self.used = self._left[0].scope if self._left else "off"
                return answer
