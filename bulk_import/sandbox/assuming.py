"""STS's three ways of assuming a role.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from moto.utilities.utils import get_partition

from bulk_import.sandbox.access.web_identity import check_assertion, read_token
from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.calls import Call
from bulk_import.sandbox.identity import ROLE_ARN, Principal, Role, assumed
from bulk_import.sandbox.validation import check
from bulk_import.sandbox.world import World


def assume_role(world: World, call: Call, who: Principal) -> str:
    """AssumeRole's result as XML."""
    params = check("sts", call.operation, call.params, code="ValidationError")
    context = {"sts:RoleSessionName": params["RoleSessionName"]}
    if "ExternalId" in params:
        context["sts:ExternalId"] = params["ExternalId"]
    return assumed(world.identity.assume(who, params, get_partition(call.region), _trust(world, call, who, context)))


def assume_role_with_web_identity(world: World, call: Call, _: Principal) -> str:
    """AssumeRoleWithWebIdentity's result as XML."""
    params = check("sts", call.operation, call.params, code="ValidationError")
    partition, account = _place(params["RoleArn"])
    token = read_token(params["WebIdentityToken"], world.clock.now())
    if world.gate.enforce:
        audiences = world.identity.providers.get(account, {}).get(token.provider)
        if audiences is None:
            message = f"No OpenIDConnect provider found in your account for https://{token.provider}"
            raise AwsError("InvalidIdentityToken", message)
        if token.audience not in audiences:
            raise AwsError("InvalidIdentityToken", "Incorrect token audience")
    arn = f"arn:{partition}:iam::{account}:oidc-provider/{token.provider}"
    who = Principal(account, arn, token.subject, federated=arn)
    context = token.context() | {"sts:RoleSessionName": params["RoleSessionName"]}
    session = world.identity.assume(who, params, partition, _trust(world, call, who, context))
    return (
        f"{assumed(session)}<SubjectFromWebIdentityToken>{escape(token.subject)}</SubjectFromWebIdentityToken>"
        f"<Provider>{escape(arn)}</Provider><Audience>{escape(token.audience)}</Audience>"
    )


def assume_role_with_saml(world: World, call: Call, _: Principal) -> str:
    """AssumeRoleWithSAML's result as XML."""
    params = check("sts", call.operation, call.params, code="ValidationError")
    partition, account = _place(params["RoleArn"])
    check_assertion(params["SAMLAssertion"])
    arn = params["PrincipalArn"]
    who = Principal(account, arn, "saml", federated=arn)
    context = {"SAML:aud": "https://signin.aws.amazon.com/saml"}
    params["RoleSessionName"] = "saml"
    session = world.identity.assume(who, params, partition, _trust(world, call, who, context))
    return (
        f"{assumed(session)}<Subject>saml</Subject><SubjectType>transient</SubjectType><Issuer>{escape(arn)}</Issuer>"
    )


ASSUMING: dict[str, Callable[[World, Call, Principal], str]] = {
    "AssumeRole": assume_role,
    "AssumeRoleWithWebIdentity": assume_role_with_web_identity,
    "AssumeRoleWithSAML": assume_role_with_saml,
}


def _place(role_arn: str) -> tuple[str, str]:
    """Partition and account of a role. Raises AwsError for what is no role's ARN."""
    match = ROLE_ARN.fullmatch(role_arn)
    if not match:
        raise AwsError("ValidationError", f"{role_arn} is invalid")
    return match[1], match[2]


def _trust(world: World, call: Call, who: Principal, context: dict[str, Any]) -> Callable[[Role], None]:
    arn = call.params["RoleArn"]
    return lambda role: world.gate.check_assume(call, who, role, arn, context)
