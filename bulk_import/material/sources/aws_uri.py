"""What the sources of AWS have in common: `region=` and `role=` in their URIs, and the port that they ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from bulk_import.errors import MaterialError
from bulk_import.material.sources import uri
from bulk_import.material.sources.base import Opened, Opening, Source
from bulk_import.model import Target
from bulk_import.ports import Stores
from bulk_import.settings import Settings

SETTINGS: Final = ("AWS_*", "--profile", "--endpoint-url", "--sts-region", "--allow-source-role")
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")
# Without *, ? and $: a policy would take them for wildcards and variables.
_ROLE: Final = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:role/(?:[!-#%-)+->@-z|~]+/)?[A-Za-z0-9_+=,.@-]{1,64}")


class Asked(NamedTuple):
    path: str
    query: dict[str, str]
    region: str | None
    role: str | None


def parse(rest: str, *names: str) -> Asked:
    """Raises ValueError."""
    path, query = uri.parse(rest, (*names, "region", "role"))
    region, role = query.get("region"), query.get("role")
    if region is not None and not _REGION.fullmatch(region):
        raise ValueError("region= is not the name of a Region")
    if role is not None and not _ROLE.fullmatch(role):
        raise ValueError("role= must be the ARN of a role")
    return Asked(path, query, region, role)


def check(parsed: Callable[[str], Asked]) -> Callable[[Target, Settings], Iterator[tuple[str, str, str]]]:
    """Whether the role that a URI names is one that the operator allows."""

    def allowed(target: Target, settings: Settings) -> Iterator[tuple[str, str, str]]:
        role = parsed(target.material.partition(":")[2]).role
        if role is not None and role not in settings.allow_source_role:
            yield (
                "material",
                f"role= names {role}, which is not allowed",
                "Leave role= out, or allow the role in the pipeline with --allow-source-role.",
            )

    return allowed


def encoded(value: Any, shown: str) -> bytearray:
    """The UTF-8 of a text in an answer. Raises MaterialError for what is no text."""
    try:
        return bytearray(value, "utf-8")
    except (TypeError, UnicodeEncodeError):  # not a text, or with half of a character
        raise MaterialError(f"{shown} is not text", code="MaterialInvalid") from None


def another(what: str) -> MaterialError:
    """An answer that is not for what was asked."""
    return MaterialError(
        f"the answer is not for {what}", code="SourceFailed",
        advice="Something between here and AWS mixes answers up. Nothing was taken from this answer.",
    )  # fmt: skip


def opener(make: Callable[[Stores], Source]) -> Callable[[Opening], Opened]:
    def opened(opening: Opening) -> Opened:
        stores = opening.stores
        if stores is None:
            raise MaterialError(
                "this source needs AWS, and this command works without it", code="SourceFailed",
                advice="Take the material from a source that needs no network.",
            )  # fmt: skip
        return Opened(source=make(stores), close=stores.close)

    return opened
