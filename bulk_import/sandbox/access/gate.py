"""Every request on its way in: is it signed by whom it says, and may that one do it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bulk_import.sandbox.access.documents import Asked, Document, listen, parse
from bulk_import.sandbox.access.judge import denied, judge, judge_session
from bulk_import.sandbox.access.kms_actions import Need, needs
from bulk_import.sandbox.access.other_actions import asked_of
from bulk_import.sandbox.access.signatures import verify
from bulk_import.sandbox.calls import Call
from bulk_import.sandbox.identity import Identity, Principal, Role, not_trusted
from bulk_import.sandbox.kms.lag import Lag
from bulk_import.sandbox.kms.requests import Request


class Gate:
    """`enforce` False: all signatures pass, and all requests but those that the session's own policy does not allow,
    or that name a key by an alias that authorization does not know yet.
    """

    def __init__(self, identity: Identity, lag: Lag, *, enforce: bool) -> None:
        self.identity = identity
        self.lag = lag
        self.enforce = enforce

    def check_signature(self, call: Call) -> None:
        secret = self.identity.secret_of(call.access_key)
        if self.enforce and secret is not None:
            verify(call, secret)

    def is_principal(self, request: Request) -> Callable[[str], bool]:
        """Whether the host that answers `request` knows a principal: a new role takes its time."""
        return lambda arn: not self.enforce or self.identity.knows(arn, request.at)

    def check_kms(self, call: Call, request: Request) -> None:
        """Raises AwsError (AccessDenied) where a policy does not allow what `request` needs."""
        now = request.store.clock.now()
        at = now - self.lag.authorization if self.lag.authorization else request.at
        if not self.enforce:
            self._check_alias(request, at)
            if request.who.policy is not None:
                for need in needs(request, at):
                    judge_session(request.who, self._with_globals(call, request.who, need.asked))
            return
        for need in needs(request, at):
            asked = self._with_globals(call, request.who, need.asked)
            policy = self._key_policy(need, at)
            granted = need.key is not None and _granted(request.who, need, at)
            judge(request.who, self.identity.policies_of(request.who), asked, policy, granted=granted)

    def check_other(self, call: Call, who: Principal) -> None:
        asked = asked_of(call, who) if self.enforce or who.policy is not None else None
        if asked is None:
            return
        asked = self._with_globals(call, who, asked)
        if self.enforce:
            judge(who, self.identity.policies_of(who), asked)
        else:
            judge_session(who, asked)

    def check_assume(self, call: Call, who: Principal, role: Role, arn: str, context: Mapping[str, Any]) -> None:
        """AssumeRole and its kin: the role's trust policy, and the caller's own policies where they count."""
        if not self.enforce:
            return
        asked = self._with_globals(call, who, Asked(f"sts:{call.operation}", arn, context))
        trust = listen([role.trust or self._default_trust(role, arn)], asked, who)
        mine = listen(self.identity.policies_of(who), asked) if not who.federated else None
        same_account = arn.split(":")[4] == who.account
        enough = trust.allowed and (mine is None or mine.allowed or (trust.direct and same_account))
        if trust.denied or (mine is not None and mine.denied) or not enough:
            raise not_trusted(who, arn)

    def _default_trust(self, role: Role, arn: str) -> Document:
        """Of a role that the seed gives no trust policy: the caller's account, with the external ID."""
        root = f"arn:{arn.split(':')[1]}:iam::{self.identity.caller_account}:root"
        statement: Document = {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "sts:AssumeRole"}
        if role.external_id is not None:
            statement["Condition"] = {"StringEquals": {"sts:ExternalId": role.external_id}}
        return {"Version": "2012-10-17", "Statement": [statement]}

    def _check_alias(self, request: Request, at: float | None) -> None:
        """Without policies: a key named by an alias that authorization does not know yet."""
        named = str(request.params.get("KeyId", "")).rsplit(":", 1)[-1]
        if not self.lag.authorization or not named.startswith("alias/") or request.named is None:
            return
        if request.store.alias_target(named, at) != request.named.id:
            action = f"kms:{request.operation}"
            reason = f"because no identity-based policy allows the {action} action"
            raise denied(request.who, Asked(action, request.named.arn), reason)

    def _key_policy(self, need: Need, at: float | None) -> Document | None:
        return parse(need.key.policy.at(at)) if need.key is not None else None

    def _with_globals(self, call: Call, who: Principal, asked: Asked) -> Asked:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(call.at))
        context: dict[str, Any] = {
            "aws:CurrentTime": moment,
            "aws:EpochTime": int(call.at),
            "aws:PrincipalAccount": who.account,
            "aws:PrincipalArn": who.role or who.arn,
            "aws:RequestedRegion": call.region,
            "aws:SecureTransport": False,
            "aws:SourceIp": "127.0.0.1",
            "aws:UserAgent": call.headers.get("User-Agent", ""),
            "aws:userid": who.user_id,
        }
        return Asked(asked.action, asked.resource, context | dict(asked.context))


def _granted(who: Principal, need: Need, at: float | None) -> bool:
    assert need.key is not None  # noqa: S101 - the caller looked
    operation = need.asked.action.removeprefix("kms:")
    return any(
        operation in grant.operations and grant.grantee in (who.arn, *who.role_arns) for grant in need.key.grants.at(at)
    )
