"""One level of the manifest that states fields: `defaults`, an account, a key or a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bulk_import.manifest import fields as check
from bulk_import.manifest.blemish import blemish
from bulk_import.manifest.create import check as check_create
from bulk_import.manifest.explain import explain
from bulk_import.manifest.materials import check as check_materials
from bulk_import.manifest.models import (
    FIELDS_OF_CREATE,
    FIELDS_OF_DEFAULTS,
    FIELDS_OF_ENTRIES,
    FIELDS_OF_KEYS,
    FIELDS_OF_ROWS,
    HEAD,
    KEY,
    ROW,
)
from bulk_import.manifest.problems import Findings, Loc, path
from bulk_import.manifest.ready_made import READY_MADE
from bulk_import.manifest.yaml_nodes import line_at

_EXPIRY = ("valid_to", "valid_for", "renew_before")


class Level:
    """Fields as stated: typed, those with a mistake left out and named in `broken`, so that no one follows it up."""

    __slots__ = ("broken", "fields", "line", "prefix", "raw", "said")

    def __init__(self, raw: Any, line: int, prefix: Loc) -> None:
        self.raw = raw
        self.line = line
        self.prefix = prefix
        self.fields: dict[str, Any] = {}
        self.broken: frozenset[str] = frozenset()
        self.said: frozenset[str] = frozenset()  # what was already reported of this level; see Expander

    def line_of(self, *loc: str | int) -> int:
        return line_at(self.raw, loc, self.line)

    def report(self, findings: Findings, loc: Loc, message: str, advice: str) -> None:
        findings.add(self.line_of(*loc), path((*self.prefix, *loc)), message, advice)


class LevelReader:
    """Checks levels by shape (pydantic), then by meaning (fields.py)."""

    def __init__(self, findings: Findings, *, schemes: frozenset[str], now: datetime | None) -> None:
        self._findings = findings
        self._schemes = schemes
        self._now = now
        self._well: set[tuple[str, str]] = set()  # (field, value) pairs found in order: manifests repeat themselves

    def head(self, document: Mapping[str, Any], line: int) -> tuple[Level, dict[str, Level]]:
        """`defaults` and `accounts` of a document; its version is checked on the way."""
        whole = Level(document, line, ())
        head = {name: value for name, value in document.items() if name != "keys"}
        bad: set[Loc] = set()
        try:
            HEAD.validate_python(head)
        except ValidationError as error:
            for one in error.errors(include_url=False, include_context=False):
                loc = tuple(part for part in one["loc"] if part != "[key]")
                known = (
                    FIELDS_OF_DEFAULTS
                    if loc[0] in ("defaults", "accounts")
                    else ("version", "defaults", "accounts", "keys")
                )
                whole.report(self._findings, loc, *explain(one, _known_at(loc, known)))
                bad.add(loc)
        stated = document.get("accounts")
        accounts = {
            name: self._head_level(whole, ("accounts", name), bad)
            for name in (stated if isinstance(stated, dict) else ())
        }
        return self._head_level(whole, ("defaults",), bad), accounts

    def _head_level(self, whole: Level, loc: Loc, bad: set[Loc]) -> Level:
        raw = whole.raw
        for part in loc:
            raw = raw.get(part) if isinstance(raw, dict) else None
        level = Level(raw, whole.line_of(*loc), loc)
        if loc in bad or ("accounts",) in bad:  # its content is unknown, so nothing is reported as missing
            level.broken = frozenset(FIELDS_OF_DEFAULTS)
        elif isinstance(raw, dict):
            level.broken = frozenset(str(b[len(loc)]) for b in bad if b[: len(loc)] == loc)
            rest = {name: value for name, value in raw.items() if name not in level.broken}
            level.fields = ROW.validate_python(rest)
            self._meaning(level)
        return level

    def entry(self, raw: Any, line: int, prefix: Loc) -> Level:
        """A key (with a prefix) or a row (without)."""
        level = Level(raw, line, prefix)
        adapter: TypeAdapter[Any] = KEY if prefix else ROW
        try:
            level.fields = adapter.validate_python(raw)
        except ValidationError as error:
            bad: set[str] = set()
            items: set[Loc] = set()  # the lists' bad items: the others are read on
            for one in error.errors(include_url=False, include_context=False):
                loc = one["loc"]
                known: Sequence[str] = FIELDS_OF_KEYS if prefix else FIELDS_OF_ROWS
                level.report(self._findings, loc, *explain(one, _known_at(loc, known)))
                bad.add(str(loc[0]) if loc else "")
                items.add(loc)
            level.broken = frozenset(bad)
            if "" not in bad:
                rest = {name: value for name, value in raw.items() if name not in bad}
                for name in _LISTS & bad:
                    if (name,) not in items:
                        rest[name] = [one for i, one in enumerate(raw[name]) if (name, i) not in items]
                level.fields = adapter.validate_python({n: v for n, v in rest.items() if v != []})
        if not prefix and "materials" in level.fields:
            advice = "Write the manifest in YAML or JSON, or specify `material`."
            self._break(level, ("materials",), "cannot be specified in JSON Lines or CSV", advice)
        self._meaning(level)
        return level

    def _meaning(self, level: Level) -> None:
        fields, well = level.fields, self._well
        for name in _MEANINGFUL & fields.keys():
            value = fields[name]
            if value is None:
                continue
            if type(value) is str:
                if (name, value) in well:
                    continue
                said = self._of_text(name, value)
                if said is not None:
                    said = blemish(value) or said
                if said is None:
                    if name not in _DIVERSE:
                        well.add((name, value))
                    continue
                self._break(level, (name,), *said)
            elif name in _LISTS:
                self._of_list(level, name, value)
            else:
                self._of_fields(level, name, value)
        for one, other in _ONE_SETTING:
            if fields.get(one) is not None and fields.get(other) is not None:
                self._break(level, (other,), f"cannot be combined with {one}", "They are one setting: keep one.")
                self._drop(level, one)

    def _of_text(self, name: str, value: str) -> check.Said:
        if name == "region":
            return check.region(value)
        if name == "role":
            return check.role(value)
        if name == "material":
            return check.material(value, self._schemes) or check.template(value)
        if name in READY_MADE:
            return check.material(value, frozenset({"file"})) or check.template(value)
        if name == "key_id":
            return check.template(value) if "{" in value or "}" in value else check.key_id(value, None)
        if name == "valid_to":
            return check.valid_to(value, self._now)
        return check.validity(value)

    def _of_list(self, level: Level, name: str, values: list[str]) -> None:
        well: list[str] = []
        for index, value in enumerate(values):
            said = check.region(value) if name in ("regions", "replicas") else None
            if said is not None:
                said = blemish(value) or said
            if said is None and value in well:
                said = f"{value} is named twice", "Keep one of them."
            if said is None:
                well.append(value)
            else:
                self._break(level, (name, index), *said)
        if well:
            level.fields[name] = well  # the others are checked on

    def _of_fields(self, level: Level, name: str, value: Any) -> None:
        if name in ("create", "materials"):
            if name == "create":
                found = check_create(value, inline=bool(level.prefix))
            else:
                found = check_materials(value, self._of_text)
            for loc, message, advice in found:
                self._break(level, (name, *loc), message, advice)
        elif len([1 for one in value.values() if one is not None]) != 1:  # expect
            self._break(level, (name,), "needs exactly one of kcv and spki_sha256", "Keep one of them.")

    def _break(self, level: Level, loc: Loc, message: str, advice: str) -> None:
        level.report(self._findings, loc, message, advice)
        self._drop(level, str(loc[0]))

    def _drop(self, level: Level, name: str) -> None:
        level.broken |= {name}
        level.fields.pop(name, None)


def _known_at(loc: tuple[str | int, ...], known: Sequence[str]) -> Sequence[str]:
    """The fields that may be where an error is. `known`: those of the level."""
    if len(loc) > 1 and isinstance(loc[-2], int) and "materials" in loc:
        return FIELDS_OF_ENTRIES
    return _NESTED.get(loc[-2:-1], known)


_LISTS = frozenset(("accounts", "regions", "replicas"))
_ONE_SETTING = (
    ("account", "accounts"),
    ("region", "regions"),
    ("material", "materials"),
    ("material", "encrypted_key_material"),
    ("material", "import_token"),
    ("materials", "encrypted_key_material"),
    ("materials", "import_token"),
    ("valid_to", "valid_for"),
)
_NESTED: dict[Loc, tuple[str, ...]] = {("expect",): ("kcv", "spki_sha256"), ("create",): FIELDS_OF_CREATE}
_MEANINGFUL = frozenset(
    ("create", "region", "role", "material", "materials", *READY_MADE, "key_id", "expect", *_LISTS, *_EXPIRY)
)
_DIVERSE = frozenset(("material", *READY_MADE, "key_id"))  # too many different ones to remember
