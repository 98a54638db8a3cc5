"""Who calls: the caller's keys, roles that can be assumed, sessions that expire; STS's operations on them.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

import json
import re
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from moto.utilities.utils import get_partition

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.clock import Clock

ROLE_ARN = re.compile(r"arn:([a-z-]+):iam::(\d{12}):role/([\w+=,.@/-]+)")
INVALID_TOKEN = "The security token included in the request is invalid."  # noqa: S105 - a message
LONGEST_POLICY = 2048  # characters of an inline session policy
PACKED_POLICY = 1280  # bytes, compressed: an estimate
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
EXPIRED_TOKEN = "The security token included in the request is expired"  # noqa: S105 - a message


@dataclass(frozen=True, slots=True)
class Role:
    """A role of the seed file. `name` may hold a path. `deny`: no one may assume it.

    `policies` and `trust` (None: the caller's account may assume it) count where policies are enforced.
    """

    name: str
    external_id: str | None = None
    deny: bool = False
    max_session_duration: int = 3600
    policies: tuple[dict[str, Any], ...] = ()
    trust: dict[str, Any] | None = None
    since: float = 0.0  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose call it is. `role`: the ARN of the role of an assumed session. `policy`: its inline policy, as text.

    `federated`: the ARN of the identity provider that vouches for a caller who has no credentials of AWS yet.
    """

    account: str
    arn: str
    user_id: str
    assumed: bool = False
    policy: str | None = None
    role: str | None = None
    federated: str | None = None

    @property
    def role_arns(self) -> tuple[str, ...]:
        return (self.role,) if self.role else ()


Trusted = Callable[[Role], None]


@dataclass(slots=True)
class Session:
    """What AssumeRole handed out."""

    principal: Principal
    access_key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    expires: float
    revoked: bool = False


@dataclass(slots=True)
class Identity:
    """All principals that the sandbox knows."""

    clock: Clock
    strict_roles: bool = False  # only roles of the seed can be assumed
    caller_account: str = "000000000000"
    caller_access_key: str | None = None  # None: every access key that no session has is the caller's
    caller_secret: str | None = field(default=None, repr=False)  # None: the caller's signatures are not checked
    caller_arn: str | None = None
    caller_policies: list[dict[str, Any]] | None = None  # None: the caller may do everything
    providers: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # account → OIDC provider → audiences
    roles: dict[str, dict[str, Role]] = field(default_factory=dict)  # account → name → Role
    sessions: dict[str, Session] = field(default_factory=dict)  # access key → Session

    def who(self, access_key: str, token: str | None, region: str, service: str) -> Principal:
        """The principal of a request. Raises AwsError for unknown, wrong and expired credentials."""
        session = self.sessions.get(access_key)
        if session is None:
            if access_key.startswith("ASIA") or (self.caller_access_key or access_key) != access_key:
                raise _bad_token(service)
            arn = self.caller_arn or f"arn:{get_partition(region)}:iam::{self.caller_account}:user/pipeline"
            return Principal(self.caller_account, arn, access_key)
        if session.token != token or session.revoked:
            raise _bad_token(service)
        if session.expires <= self.clock.now():
            raise _expired_token(service)
        return session.principal

    def secret_of(self, access_key: str) -> str | None:
        """What a request with this access key is signed with; None: not known, so not checked."""
        session = self.sessions.get(access_key)
        return session.secret if session else self.caller_secret

    def policies_of(self, who: Principal) -> list[dict[str, Any]]:
        """The identity policies of a role or of the caller."""
        if who.role is None:
            return [EVERYTHING] if self.caller_policies is None else self.caller_policies
        match = ROLE_ARN.fullmatch(who.role)
        role = self.roles.get(who.account, {}).get(match[3]) if match else None
        return list(role.policies) if role else []

    def knows(self, arn: str, at: float | None) -> bool:
        """Whether a role exists, `at` a moment or now. An account without listed roles has every role."""
        match = ROLE_ARN.fullmatch(arn)
        roles = self.roles.get(match[2]) if match else None
        if match is None or not roles:
            return True
        role = roles.get(match[3])
        return role is not None and (at is None or role.since <= at)

    def assume(self, by: Principal, params: dict[str, Any], partition: str, trusted: Trusted) -> Session:
        """The session of an AssumeRole or its kin. `trusted` raises AwsError unless the role trusts `by`."""
        arn = params["RoleArn"]
        match = ROLE_ARN.fullmatch(arn)
        if not match:
            raise AwsError("ValidationError", f"{arn} is invalid")
        account, name = match[2], match[3]
        role = self._role(account, name)
        if match[1] != partition or role is None or role.deny:
            raise not_trusted(by, arn)
        if role.external_id is not None and not by.federated and params.get("ExternalId") != role.external_id:
            raise not_trusted(by, arn)
        trusted(role)
        duration = params.get("DurationSeconds", 3600)
        if by.assumed and duration > 3600:
            raise AwsError(
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            )
        if duration > role.max_session_duration:
            raise AwsError(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            )
        policy = _policy(params.get("Policy"))
        short = name.rsplit("/", 1)[-1]
        session_arn = f"arn:{partition}:sts::{account}:assumed-role/{short}/{params['RoleSessionName']}"
        return self._open(session_arn, account, duration, policy, arn)

    def _role(self, account: str, name: str) -> Role | None:
        seeded = self.roles.get(account)
        if seeded:
            return seeded.get(name)
        return None if self.strict_roles else Role(name, max_session_duration=43200)

    def _open(self, arn: str, account: str, duration: int, policy: str | None, role: str) -> Session:
        name = arn.rsplit("/", 1)[-1]
        session = Session(
            Principal(
                account, arn, f"AROA{secrets.token_hex(8).upper()}:{name}", assumed=True, policy=policy, role=role
            ),
            f"ASIA{secrets.token_hex(8).upper()}",
            secrets.token_urlsafe(30),
            "FwoGZXIvYXdzE" + secrets.token_urlsafe(150),
            self.clock.now() + duration,
        )
        self.sessions[session.access_key] = session
        return session

    def revoke(self, account: str | None) -> int:
        """Makes the sessions of `account` (None: all) unknown. Returns how many."""
        found = [s for s in self.sessions.values() if account in (None, s.principal.account)]
        for session in found:
            session.revoked = True
        return len(found)

    def expire(self, account: str | None) -> int:
        """Makes the sessions of `account` (None: all) expired. Returns how many."""
        found = [s for s in self.sessions.values() if account in (None, s.principal.account)]
        for session in found:
            session.expires = self.clock.now()
        return len(found)


def caller_identity(who: Principal) -> str:
    """GetCallerIdentity's result as XML."""
    return f"<Arn>{escape(who.arn)}</Arn><UserId>{escape(who.user_id)}</UserId><Account>{who.account}</Account>"


def not_trusted(by: Principal, arn: str) -> AwsError:
    """STS's refusal of a role; it gives no reason."""
    if by.federated:
        kind = "SAML" if ":saml-provider/" in by.federated else "WebIdentity"
        return AwsError("AccessDenied", f"Not authorized to perform sts:AssumeRoleWith{kind}", 403)
    message = f"User: {by.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
    return AwsError("AccessDenied", message, 403)


def assumed(session: Session) -> str:
    """The part of STS's answers that is common to all ways of assuming a role, as XML."""
    expires = datetime.fromtimestamp(int(session.expires), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    who = session.principal
    return (
        f"<AssumedRoleUser><AssumedRoleId>{escape(who.user_id)}</AssumedRoleId><Arn>{escape(who.arn)}</Arn>"
        f"</AssumedRoleUser><Credentials><AccessKeyId>{session.access_key}</AccessKeyId>"
        f"<SecretAccessKey>{session.secret}</SecretAccessKey>"
        f"<SessionToken>{session.token}</SessionToken><Expiration>{expires}</Expiration></Credentials>"
        f"{f'<PackedPolicySize>{packed_size(who.policy)}</PackedPolicySize>' if who.policy else ''}"
    )


def _policy(text: str | None) -> str | None:
    if text is None:
        return None
    if len(text) > LONGEST_POLICY:
        message = (
            f"1 validation error detected: Value '{text}' at 'policy' failed to satisfy constraint: Member must have "
            f"length less than or equal to {LONGEST_POLICY}"
        )
        raise AwsError("ValidationError", message)
    try:
        if not isinstance(json.loads(text), dict):
            raise TypeError
    except (ValueError, TypeError):
        raise AwsError("MalformedPolicyDocument", "This policy contains invalid Json") from None
    if packed_size(text) > 100:
        message = f"Packed policy consumes {packed_size(text)}% of allotted space, please use smaller policy."
        raise AwsError("PackedPolicyTooLarge", message)
    return text


def packed_size(policy: str) -> int:
    """Per cent of what STS allows. Its packed format is not published: this estimates it by compression."""
    return -(-100 * len(zlib.compress(policy.encode(), 9)) // PACKED_POLICY)


def _bad_token(service: str) -> AwsError:
    if service in ("sts", "iam", "s3"):
        return AwsError("InvalidClientTokenId", INVALID_TOKEN, 403)
    return AwsError("UnrecognizedClientException", INVALID_TOKEN)


def _expired_token(service: str) -> AwsError:
    if service in ("sts", "iam"):
        return AwsError("ExpiredToken", EXPIRED_TOKEN, 403)
    if service == "s3":
        return AwsError("ExpiredToken", "The provided token has expired.")
    return AwsError("ExpiredTokenException", EXPIRED_TOKEN)
