"""Aliases: names of keys in an account and Region.

https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html
"""

from __future__ import annotations

from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms import states
from bulk_import.sandbox.kms.keys import SandboxKey
from bulk_import.sandbox.kms.naming import alias_missing, resolve
from bulk_import.sandbox.kms.pages import page
from bulk_import.sandbox.kms.requests import Request

MOST = 50  # aliases of one key
PREFIX = "alias/"


class Aliases:
    """The operations on aliases."""

    def do_create_alias(self, request: Request) -> None:
        name, target = self._checked(request)
        store = request.store
        if store.alias_target(name) is not None:
            raise AwsError("AlreadyExistsException", f"An alias with the name {store.alias_arn(name)} already exists")
        states.check("CreateAlias", target.arn, target.now().state)
        if len(store.aliases_of(target)) >= MOST:
            raise AwsError("LimitExceededException", f"{target.arn} already has {MOST} aliases.")
        store.set_alias(name, target.id)

    def do_update_alias(self, request: Request) -> None:
        name, target = self._checked(request)
        store = request.store
        current = store.alias_target(name)
        if current is None:
            raise alias_missing(store.alias_arn(name))
        states.check("UpdateAlias", target.arn, target.now().state)
        before = store.keys[current]
        if (before.spec.kind, before.key_usage) != (target.spec.kind, target.key_usage):
            raise AwsError("ValidationException", "The current and the new key must have the same type and key usage.")
        store.set_alias(name, target.id)

    def do_delete_alias(self, request: Request) -> None:
        name = request.params["AliasName"]
        _check_name(name)
        if request.store.alias_target(name) is None:
            raise alias_missing(request.store.alias_arn(name))
        request.store.set_alias(name, None)

    def do_list_aliases(self, request: Request) -> dict[str, Any]:
        """Of one key, or of all; an alias of AWS appears once it has been used."""
        store, key = request.store, request.named
        entries = [
            {
                "AliasName": name,
                "AliasArn": store.alias_arn(name),
                "TargetKeyId": target,
                "CreationDate": timeline.begun_at,
                "LastUpdatedDate": timeline.changed_at,
            }
            for name, timeline in store.alias_index.items()
            if (target := timeline.at(request.at)) in store.keys and key in (None, store.keys[target])
        ]
        return page("Aliases", entries, request.params, default=50)

    def _checked(self, request: Request) -> tuple[str, SandboxKey]:
        name, target_id = request.params["AliasName"], request.params["TargetKeyId"]
        _check_name(name)
        if target_id.startswith(PREFIX):
            raise AwsError("ValidationException", "Aliases must refer to keys. Not aliases")
        return name, resolve(request, target_id)


def _check_name(name: str) -> None:
    if not name.startswith(PREFIX):
        raise AwsError(
            "ValidationException",
            'Alias must start with the prefix "alias/". '
            "Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
        )
    if name.startswith("alias/aws/"):
        raise AwsError("NotAuthorizedException")
    if ":" in name:
        raise AwsError("ValidationException", f"{name} contains invalid characters for an alias")
