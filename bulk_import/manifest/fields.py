"""What single fields mean, beyond their shape: expiry, Regions, role names, key IDs, material URIs, placeholders.

Every check returns None where all is OK, else (message, advice). Values are quoted where they are no secret.
"""

from __future__ import annotations

import posixpath
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from bulk_import.manifest.problems import joined, nearest
from bulk_import.manifest.regions import PARTITIONS, partition_of, region_advice
from bulk_import.model import Lane
from bulk_import.shown import shown

Said = tuple[str, str] | None

PLACEHOLDERS = ("partition", "account", "region", "id")
MAX_VALIDITY = timedelta(days=365)  # KMS allows no more
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

# --- placeholders ---------------------------------------------------------------------------------------------------


def template(text: str) -> Said:
    """Whether the placeholders of `text` are known and its braces paired."""
    if "{" not in text and "}" not in text:
        return None
    for match in _BRACES.finditer(text):
        name = match[1]
        if name is None and match[0] in ("{", "}"):
            return "has a brace without its partner", "Write a literal brace twice: {{ or }}."
        if name is not None and name not in PLACEHOLDERS:
            return "has an unknown placeholder", nearest(name, PLACEHOLDERS) or f"Known: {joined(PLACEHOLDERS)}."
    return None


def fill(text: str, lane: Lane, key: str) -> str:
    """`text` with its placeholders filled in; `template(text)` was None. `key`: the entry's id."""
    values = {"partition": lane.partition, "account": lane.account, "region": lane.region, "id": key}
    return _BRACES.sub(lambda match: match[0][0] if match[1] is None else values[match[1]], text)


def uses(text: str, placeholder: str) -> bool:
    """Whether `fill` would fill in this placeholder."""
    return any(match[1] == placeholder for match in _BRACES.finditer(text))


# --- expiry ---------------------------------------------------------------------------------------------------------

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@lru_cache(maxsize=1024)
def instant(text: str) -> datetime | None:
    """RFC 3339 → an instant in UTC; None for a day or hour that does not exist. The shape was checked."""
    if text[11:13] == "24":  # ISO 8601 has that hour, RFC 3339 has not
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def duration(text: str) -> timedelta:
    """`Nh`, `Nd`, `Nw` → how long. The shape was checked."""
    return int(text[:-1]) * _UNITS[text[-1]]


def valid_to(text: str, now: datetime | None) -> Said:
    """`now` None: dates are not judged, only read."""
    if text == "never":
        return None
    when = instant(text)
    if when is None:
        return f"{text} does not exist", "Check day, month, hour and offset."
    if now is not None and when <= now:
        return f"{text} is in the past", "Specify a later instant, or use valid_for."
    if now is not None and when > now + MAX_VALIDITY:
        return f"{text} is more than 365 days ahead; KMS allows no more", "Specify an earlier instant, or never."
    return None


def validity(text: str) -> Said:
    if duration(text) > MAX_VALIDITY:
        return f"{text} is longer than 365d; KMS allows no more", "State a shorter one."
    return None


# --- Regions and roles ----------------------------------------------------------------------------------------------


def region(text: str) -> Said:
    if partition_of(text) is None:
        shown = f"{text} is" if re.fullmatch(r"[A-Za-z0-9_-]{1,24}", text) else "is"
        return f"{shown} not a Region", region_advice(text)
    return None


# IAM's path and name, without braces, and without what a policy takes for a wildcard or a variable.
_ROLE_NAME = r"(?:[!-#%-)+->@-z|~]{1,510}/)?[\w+=,.@-]{1,64}"
_ROLE = re.compile(rf"/?(?!arn:){_ROLE_NAME}", re.ASCII)
_ROLE_ARN = re.compile(
    rf"arn:(?P<partition>\{{partition\}}|[a-z-]+):iam::(?P<account>\{{account\}}|[0-9]{{12}}):role/{_ROLE_NAME}",
    re.ASCII,
)


def role(text: str) -> Said:
    """A role's name with an optional path, or an ARN template."""
    if _ROLE.fullmatch(text):
        return None
    match = _ROLE_ARN.fullmatch(text)
    if match is None and re.search(r"[*?$]", text):
        return "has a wildcard (* or ?) or a $: a policy would name other roles too", "Write the name of one role."
    if match is None:
        return (
            "is neither a role's name nor a role ARN",
            "Write a name (byok/Importer) or arn:{partition}:iam::{account}:role/byok/Importer.",
        )
    if match["partition"] != "{partition}" and match["partition"] not in PARTITIONS:
        return "its ARN has an unknown partition", f"Write {{partition}}, or one of {joined(sorted(PARTITIONS))}."
    return None


def external_id(text: str) -> Said:
    if re.fullmatch(r"[A-Za-z0-9_+=,.@:/-]{2,1224}", text) is None:
        return "is not an external ID", "STS accepts 2 to 1224 letters, digits and _+=,.@:/- characters."
    return None


def role_arn(text: str, partition: str, account: str) -> str:
    """The ARN of a checked `role`. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"""
    if not text.startswith("arn:"):
        return f"arn:{partition}:iam::{account}:role/{text.removeprefix('/')}"
    return text.replace("{partition}", partition).replace("{account}", account)


def role_fits(arn: str, partition: str, account: str) -> Said:
    """Whether a role's ARN is one of the account it serves."""
    _, its_partition, _, _, its_account, _ = arn.split(":", 5)
    if its_account != account:
        return (
            f"the role's ARN is of account {its_account}, but it serves account {account}",
            "Write {account} in its place, or specify the role under that account.",
        )
    if its_partition != partition:
        message = f"the role's ARN is of partition {its_partition}, but the manifest's Regions are of {partition}"
        return message, "Write {partition} in its place."
    return None


# --- key IDs --------------------------------------------------------------------------------------------------------

_KEY = r"(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|mrk-[0-9a-fA-F]{32})"
_ALIAS = r"alias/(?!aws/)[A-Za-z0-9/_-]{1,250}"
_KEY_ID = re.compile(rf"{_KEY}|{_ALIAS}")
_KEY_ARN = re.compile(rf"arn:([a-z-]+):kms:([a-z0-9-]+):([0-9]{{12}}):(?:key/{_KEY}|{_ALIAS})")
_FORMS = "Give a key ID, mrk-…, key ARN, alias/… or alias ARN."


def key_id(text: str, lane: Lane | None) -> Said:
    """The form of a key_id without placeholders; with a `lane`, also whether an ARN is in it."""
    if _KEY_ID.fullmatch(text):
        return None
    match = _KEY_ARN.fullmatch(text)
    if match is None:
        return _key_id_form(text)
    if lane is None:
        return None
    for what, its, wanted in (
        ("account", match[3], lane.account),
        ("Region", match[2], lane.region),
        ("partition", match[1], lane.partition),
    ):
        if its != wanted:
            message = f"the ARN's {what} {its} contradicts the entry's {wanted}"
            return message, f"Correct one of them, or write {{{what.lower()}}} in the ARN."
    return None


def _key_id_form(text: str) -> tuple[str, str]:
    if re.match(r"(?:arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:)?alias/aws/", text):
        return "names an AWS managed key (alias/aws/…)", "Only customer managed keys of origin EXTERNAL take material."
    if text.startswith("arn:"):
        parts = text.split(":")
        if len(parts) > 2 and parts[2] != "kms":
            return "is the ARN of another service than kms", _FORMS
        return "is not the ARN of a KMS key or alias", "arn:aws:kms:eu-central-1:111122223333:key/… or :alias/…"
    name = re.fullmatch(r"[A-Za-z0-9/_-]{1,40}", text) and not re.fullmatch(r"[0-9a-fA-F]{24,}", text)
    if name and shown(text) == text:
        return f"{text} is not a valid key ID", f"If it is an alias: alias/{text}." if "/" not in text else _FORMS
    return "is not a valid key ID", _FORMS


# --- material -------------------------------------------------------------------------------------------------------

_URI = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.DOTALL)
_PLAIN_FILE = re.compile(r"file:[A-Za-z0-9_-][A-Za-z0-9_-]*(?:[./][A-Za-z0-9_-]+)*")
_ENV_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def material(text: str, schemes: frozenset[str]) -> Said:
    """The form of a material URI, filled in or not. Never quotes it: it could be the material itself."""
    if _PLAIN_FILE.fullmatch(text) and "file" in schemes:
        return None
    match = _URI.fullmatch(text)
    sources = joined(f"{scheme}:…" for scheme in sorted(schemes))
    if match is None:
        return "is not a URI of a source (its value is not shown: it could be a secret)", f"Use {sources}"
    scheme, rest = match.groups()
    if scheme not in schemes:
        return "has an unknown source", f"{nearest(scheme, schemes)} Known: {sources}".strip()
    if any(ord(character) < 32 or ord(character) == 127 for character in rest):
        return "holds a control character", "Write the URI on one line."
    if scheme == "file":
        return _file(rest)
    if scheme == "env" and not _ENV_NAME.fullmatch(_BRACES.sub("x", rest)):
        return "does not name an environment variable", "Write env:NAME."
    return None if rest else ("names nothing after its scheme", f"Use {sources}")


def _file(rest: str) -> Said:
    inside = "Write a path relative to the manifest's folder (or --material-root), such as file:keys/payments.key."
    if not rest:
        return "names no file", inside
    if rest.startswith("/"):
        return "is an absolute path", inside
    if posixpath.normpath(rest).split("/")[0] == "..":
        return "leaves the manifest's folder", inside
    return None
