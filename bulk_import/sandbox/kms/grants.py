"""Grants: what a key's owner allows a principal next to the policies.

https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms import states
from bulk_import.sandbox.kms.pages import page

if TYPE_CHECKING:
    from bulk_import.sandbox.kms.keys import SandboxKey
    from bulk_import.sandbox.kms.requests import Request


@dataclass(frozen=True, slots=True)
class Grant:
    """`operations`: what it allows, by the names that CreateGrant uses."""

    grantee: str
    operations: tuple[str, ...]
    issuer: str
    created: float
    name: str | None = None
    retiring: str | None = None
    constraints: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(32))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(200))

    def entry(self, arn: str) -> dict[str, Any]:
        """As ListGrants shows it."""
        shown = {
            "KeyId": arn,
            "GrantId": self.id,
            "Name": self.name or "",
            "CreationDate": self.created,
            "GranteePrincipal": self.grantee,
            "IssuingAccount": self.issuer,
            "Operations": list(self.operations),
        }
        if self.retiring:
            shown["RetiringPrincipal"] = self.retiring
        if self.constraints:
            shown["Constraints"] = self.constraints
        return shown


class Grants:
    """The operations on grants."""

    def do_create_grant(self, request: Request) -> dict[str, Any]:
        """With a name, the same request again gives the same grant."""
        key, params = request.key, request.params
        states.check("CreateGrant", key.arn, key.now().state)
        same = ("GranteePrincipal", "RetiringPrincipal", "Name")
        wanted = [params.get(name) for name in same]
        request.dry_run()
        for grant in key.grants.now:
            if grant.name and wanted == [grant.grantee, grant.retiring, grant.name]:
                return {"GrantId": grant.id, "GrantToken": grant.token}
        partition = key.arn.split(":")[1]
        made = Grant(
            params["GranteePrincipal"],
            tuple(params["Operations"]),
            f"arn:{partition}:iam::{request.who.account}:root",
            key.clock.now(),
            params.get("Name"),
            params.get("RetiringPrincipal"),
            params.get("Constraints", {}),
        )
        key.grants.set((*key.grants.now, made), key.clock.now())
        return {"GrantId": made.id, "GrantToken": made.token}

    def do_list_grants(self, request: Request) -> dict[str, Any]:
        key, params = request.key, request.params
        entries = [
            grant.entry(key.arn)
            for grant in key.grants.at(request.at)
            if params.get("GrantId") in (None, grant.id) and params.get("GranteePrincipal") in (None, grant.grantee)
        ]
        return page("Grants", entries, params, default=50)

    def do_list_retirable_grants(self, request: Request) -> dict[str, Any]:
        wanted = request.params["RetiringPrincipal"]
        entries = [
            grant.entry(key.arn)
            for key in request.store.live()
            for grant in key.grants.at(request.at)
            if grant.retiring == wanted
        ]
        return page("Grants", entries, request.params, default=50)

    def do_revoke_grant(self, request: Request) -> None:
        self._drop(request, request.key, "id", request.params["GrantId"])

    def do_retire_grant(self, request: Request) -> None:
        """By grant token, or by key ARN and grant ID."""
        params = request.params
        if "GrantToken" in params:
            for key in request.store.live():
                if any(grant.token == params["GrantToken"] for grant in key.grants.now):
                    self._drop(request, key, "token", params["GrantToken"])
                    return
            raise AwsError("InvalidGrantTokenException")
        if request.named is None or "GrantId" not in params:
            raise AwsError("ValidationException", "Either a grant token, or a key ID and a grant ID must be specified.")
        self._drop(request, request.key, "id", params["GrantId"])

    def _drop(self, request: Request, key: SandboxKey, attribute: str, value: str) -> None:
        kept = tuple(grant for grant in key.grants.now if getattr(grant, attribute) != value)
        if len(kept) == len(key.grants.now):
            raise AwsError("NotFoundException", f"Grant ID {value} not found")
        request.dry_run()
        key.grants.set(kept, key.clock.now())
