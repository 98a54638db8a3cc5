"""`create`: what its fields mean, and what a key to be created needs.

https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
https://docs.aws.amazon.com/kms/latest/APIReference/API_Tag.html
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bulk_import.manifest import fields, policy
from bulk_import.manifest.policy import Policies
from bulk_import.manifest.problems import Loc, joined
from bulk_import.model import Create, Lane, Target, key_usages

MARK = "bulk-import:alias"  # the tag by which an unfinished key is found again
MOST_TAGS = 49  # KMS takes 50; one is MARK
_TAG = re.compile(r"[\w .:/=+@-]*")


def check(stated: Mapping[str, Any], *, inline: bool) -> Iterator[tuple[Loc, str, str]]:
    """Every mistake in one `create`: where, what, and what to do. `inline`: whether a policy may be written there."""
    if stated.get("description") is not None and (said := fields.template(stated["description"])):
        yield ("description",), *said
    tags = stated.get("tags") or {}
    if len(tags) > MOST_TAGS:
        yield ("tags",), f"has {len(tags)} tags", f"At most {MOST_TAGS}: KMS allows 50, and one is {MARK}."
    for name, value in tags.items():
        if not 1 <= len(name) <= 128 or not _TAG.fullmatch(name):
            yield ("tags",), "has a name that is not a tag's", "1 to 128 letters, digits, spaces and _.:/=+-@"
        elif name.lower().startswith("aws:") or name == MARK:
            yield ("tags", name), "is reserved", "Choose another name."
        elif len(value) > 256 or not _TAG.fullmatch(value.replace("{", "").replace("}", "")):
            yield ("tags", name), "is not a tag's value", "At most 256 letters, digits, spaces and _.:/=+-@"
        elif said := fields.template(value):
            yield ("tags", name), *said
    if stated.get("policy") is not None:
        yield from _policy(stated["policy"], inline=inline)


def _policy(stated: Any, *, inline: bool) -> Iterator[tuple[Loc, str, str]]:
    if isinstance(stated, str):
        path = stated.removeprefix(policy.FILE)
        if said := fields.template(stated):
            yield ("policy",), *said
        elif path.startswith("/") or posixpath.normpath(path).split("/")[0] == "..":
            yield (
                ("policy",),
                "leaves the manifest's folder",
                "Write a path such as file:policies/payments.json.",
            )
    elif not inline:
        yield ("policy",), "is a mapping, which a manifest of one key per line cannot hold", "Write file:PATH."
    else:
        yield from ((("policy", *loc), message, advice) for loc, message, advice in policy.check(stated))


def create(stated: Mapping[str, Any], lane: Lane, key: str, policies: Policies, *, related: bool) -> Create:
    """With its placeholders filled in. `stated` was checked; `key`: the entry's id. Raises Unusable (policy.py).

    `related`: the key is a primary with replicas, or a replica.
    """
    description, document = stated.get("description"), stated.get("policy")
    return Create(
        description=None if description is None else fields.fill(description, lane, key),
        tags=tuple((name, fields.fill(value, lane, key)) for name, value in (stated.get("tags") or {}).items()),
        multi_region=True if related else stated.get("multi_region"),
        policy=None if document is None else policies.text(document, lane, key),
    )


def needs(target: Target) -> Iterator[tuple[str, str, str]]:
    """What a key with `create` or `key_usage` lacks: field, what, and what to do."""
    if target.create is not None and target.alias is None:
        yield "key_id", "is not an alias, and `create` finds its key by the alias", "Write alias/NAME."
    if target.create is not None and target.key_spec is None:
        yield "key_spec", "is missing, and `create` needs it", "State the key spec."
    if target.key_spec is None:
        return
    usages = key_usages(target.key_spec)
    if target.key_usage is not None and target.key_usage not in usages:
        yield "key_usage", f"a {target.key_spec} key cannot be made for {target.key_usage}", f"Use {joined(usages)}."
    if target.create is not None and target.key_usage is None and len(usages) > 1:
        yield "key_usage", f"is missing, and a {target.key_spec} key has a choice", f"State {joined(usages)}."
