"""Keys that were found → a manifest of them, in YAML. The one place that writes YAML for people to edit.

Aliases, descriptions and messages are other people's text: `value` makes any of it one YAML scalar, and `comment` one
line of comment, so that none of it can become a key, a value or a tag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from bulk_import.model import AccountAccess, KeyRotation, KeyState
from bulk_import.model.found import FoundKey, Inventory, NotRead
from bulk_import.shown import shown
from bulk_import.text import harmless

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_MEANS_ELSE: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
# Outside YAML's printable characters: https://yaml.org/spec/1.2.2/#51-character-set
_NOT_YAML: Final = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_ALIAS: Final = re.compile(r"alias/[A-Za-z0-9/_-]{1,250}")
_ID: Final = re.compile(r"[^A-Za-z0-9._-]")
_NAME: Final = re.compile(r"[A-Za-z0-9:/_ .-]{1,256}")
_LONGEST_ID: Final = 128
GOING: Final = (KeyState.PENDING_DELETION, KeyState.PENDING_REPLICA_DELETION)


def value(text: str) -> str:
    """`text` as a scalar that reads as exactly this text, made harmless."""
    text = _printable(harmless(text))
    if _PLAIN.fullmatch(text) and text.lower() not in _MEANS_ELSE:
        return text
    return json.dumps(text, ensure_ascii=False)


def comment(text: str) -> str:
    """`text` as one line of comment."""
    return f"# {_readable(text)}"


def _readable(text: str) -> str:
    """Other people's text, without what looks like key material."""
    return _printable(shown(text))


def _printable(text: str) -> str:
    return _NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def manifest(
    found: Sequence[Inventory], accounts: Sequence[AccountAccess], *, at: datetime, version: str, notice: str | None
) -> str:
    """The manifest. Without `material`: `validate` names each key that lacks it. `notice`: a first line of comment."""
    keys = [key for inventory in found for key in inventory.keys]
    going = [key for key in keys if key.view.state in GOING]
    lines = [
        *([comment(notice)] if notice else []),
        comment(f"Keys of Origin EXTERNAL, found by bulk-import {version} discover at {_instant(at)}."),
        comment("Specify `material` for each key; then bulk-import validate names what is still missing."),
        *(_unread(one) for inventory in found for one in inventory.not_read),
        "version: 1",
        "accounts:",
    ]
    for access in accounts:
        lines.append(f"  {json.dumps(access.account)}:")
        lines.append(f"    role: {value(access.role_arn) if access.role_arn else 'null'}")
        if access.external_id is not None:
            lines.append(f"    external_id: {value(access.external_id)}")
    names, listed = _Names(), [key for key in _in_order(keys) if key.view.state not in GOING]
    primaries = {(key.lane.account, key.key_id): key for key in listed if key.primary}
    entries = [key for key in listed if key.primary or (key.lane.account, key.key_id) not in primaries]
    lines.append("keys:" if entries else "keys: []")
    for key in entries:
        replicas = [one for one in listed if one.lane.account == key.lane.account and one.key_id == key.key_id]
        lines += _entry(key, names, [one for one in replicas if one is not key])
    lines += [_going(key) for key in going]
    return "\n".join(lines) + "\n"


def _in_order(keys: Iterable[FoundKey]) -> list[FoundKey]:
    """By lane as asked for, then by alias: keys without one come last."""
    lanes: dict[object, int] = {}
    numbered = [(lanes.setdefault(key.lane, len(lanes)), key) for key in keys]
    ordered = sorted(numbered, key=lambda one: (one[0], not one[1].aliases, one[1].aliases, one[1].view.arn))
    return [key for _, key in ordered]


class _Names:
    """Ids that are unique in each lane."""

    def __init__(self) -> None:
        self._taken: set[tuple[object, str]] = set()

    def of(self, key: FoundKey) -> str:
        key_id = key.key_id
        alias = _alias(key)
        stem = _ID.sub("-", alias.removeprefix("alias/")) if alias else f"key-{key_id}"
        stem = (stem if stem[:1].isalnum() else f"key-{stem}")[:_LONGEST_ID]
        if (key.lane, stem) in self._taken:
            stem = f"{stem[: _LONGEST_ID - len(key_id) - 1]}-{key_id}"
        self._taken.add((key.lane, stem))
        return stem


def _alias(key: FoundKey) -> str | None:
    """The first alias that can be written down. Key material was pasted behind `alias/` before."""
    return next((alias for alias in key.aliases if _ALIAS.fullmatch(alias) and shown(alias) == alias), None)


def _entry(key: FoundKey, names: _Names, replicas: Sequence[FoundKey]) -> Iterator[str]:
    """`replicas`: those of the same multi-Region key that were found."""
    view, key_id, alias = key.view, key.key_id, _alias(key)
    yield f"  - id: {value(names.of(key))}"
    yield f"    account: {json.dumps(key.lane.account)}"
    yield f"    region: {value(key.lane.region)}"
    if key.primary and view.replica_regions:
        yield f"    replicas: [{', '.join(map(value, view.replica_regions))}]"
    yield f"    key_id: {value(alias or key_id)}"
    yield f"    key_spec: {value(view.key_spec)}"
    yield f"    key_usage: {value(view.key_usage)}"
    several = [one for one in key.materials if not one.key_material_state.startswith("PENDING_")]
    if len(several) > 1:
        yield "    materials:  # oldest first; a name becomes the description of the material in KMS"
        for number, one in enumerate(several, 1):
            yield f"      - name: {json.dumps(_name(one, number, several))}"
            yield f"        key_material_id: {json.dumps(_printable(harmless(one.key_material_id)))}"
            yield "        material:  # specify a source, such as file:NAME"
            if one.valid_to is not None:
                yield f"        valid_to: {_instant(one.valid_to)}"
    else:
        yield "    material:  # specify a source, such as file:NAME"
    if view.valid_to is not None and len(several) < 2:
        yield f"    valid_to: {_instant(view.valid_to)}"
    yield f"    {comment(f'{view.arn}, {view.state}')}"
    if others := [name for name in key.aliases if name != alias]:
        yield f"    {comment('other aliases: ' + ', '.join(others))}"
    if view.description:
        yield f"    {comment(f'description: {view.description}')}"
    if not key.primary and view.multi_region:
        yield f"    {comment(f'a replica; its primary in {view.primary_region} was not looked for')}"
    for replica in replicas:
        yield f"    {comment(f'replica: {replica.view.arn}, {replica.view.state}')}"
    for one in key.materials:
        expires = f"expires {_instant(one.valid_to)}" if one.valid_to else ""
        facts = ", ".join(filter(None, (one.key_material_state, one.import_state, expires)))
        yield f"    # material {_printable(harmless(one.key_material_id))}: {_readable(facts)}"


def _name(one: KeyRotation, number: int, several: Sequence[KeyRotation]) -> str:
    """The material's description, if it is a name that no other one has."""
    known = [other.description for other in several]
    text = one.description or ""
    if _NAME.fullmatch(text) and known.count(text) == 1 and shown(text) == text:
        return text
    return f"material-{number}"


def _going(key: FoundKey) -> str:
    named = f" ({', '.join(key.aliases)})" if key.aliases else ""
    return comment(f"not listed: {key.view.arn}{named} is {key.view.state}.")


def _unread(one: NotRead) -> str:
    return comment(f"not read: {one.key_arn or one.lane}: {one.code}: {one.message}")


def _instant(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
