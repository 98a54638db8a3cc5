"""Stage 1: bytes → what is wanted. Reads a manifest, checks all of it, expands it, and selects from it.

    bytes ─ read.py ─┬─ yaml_nodes.py, json_nodes.py ─┬─ level.py ─────── expand.py ──── select.py → Manifest
                     └─ rows.py (JSON Lines, CSV) ────┘  shape, meaning   targets        guards

`load` opens no material and calls no one. What it cannot know itself (which wrapping algorithm a key spec takes) is
handed in as `checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from typing import BinaryIO

from bulk_import.manifest.access import check_options
from bulk_import.manifest.expand import Check, Expander
from bulk_import.manifest.json_nodes import is_json, read_json
from bulk_import.manifest.level import Level, LevelReader
from bulk_import.manifest.policy import Policies, Unusable
from bulk_import.manifest.problems import Findings, fail, problem
from bulk_import.manifest.read import Format, Source, open_source
from bulk_import.manifest.rows import read_csv, read_jsonl
from bulk_import.manifest.schema import json_schema
from bulk_import.manifest.select import Selection, guard
from bulk_import.manifest.yaml_nodes import Map, Seq, read_yaml
from bulk_import.model import FailedTargets, Manifest

__all__ = ["SCHEMES", "Check", "Unusable", "json_schema", "load"]

SCHEMES = frozenset({"file", "env"})


def refuse_files(path: str, _: str | None) -> bytes:
    """For a manifest that may name no files."""
    raise Unusable(f"{path} cannot be read here", "Write the policy itself.")


def load(
    uri: str,
    *,
    manifest_format: str | None = None,
    material_root: str | None = None,
    stdin: BinaryIO | None = None,
    data: bytes | None = None,
    role: str | None = None,
    external_id: str | None = None,
    only_accounts: Sequence[str] = (),
    only_regions: Sequence[str] = (),
    only_ids: Sequence[str] = (),
    only_failed: FailedTargets | None = None,
    allow_accounts: Sequence[str] = (),
    max_targets: int | None = None,
    checks: Sequence[Check] = (),
    schemes: frozenset[str] = SCHEMES,
    check_dates: bool = True,
    read_file: Callable[[str, str | None], bytes] = refuse_files,
    now: datetime,
) -> Manifest:
    """Reads, checks and expands the manifest at `uri`: a path, `-` (stdin), or any URI with its bytes in `data`.

    `role`, `external_id`: for accounts of which the manifest states none (a stated null stays null). `only_*`: or
    within, and between; `max_targets` counts what is left. `checks`: called for every target; each yields a Problem or
    (field, message, advice). `read_file`: the bytes of a file that the manifest names (create.policy), by its path and
    the manifest's folder; raises Unusable. `check_dates`: whether a valid_to in the past or over 365 days after `now`
    (aware) is a mistake.

    Raises ManifestError with every problem of a document that parses; a syntax error is reported alone.
    """
    check_options(role, external_id)
    source = open_source(uri, manifest_format=manifest_format, material_root=material_root, stdin=stdin, data=data)
    findings = Findings(source.file)
    reader = LevelReader(findings, schemes=schemes, now=now if check_dates else None)
    selection = Selection(only_accounts, only_regions, only_ids, only_failed)
    selects = selection.predicate()
    policies = Policies(lambda path: read_file(path, source.folder), findings)
    with closing(source):
        if source.format in (Format.CSV, Format.JSONL):
            stated: dict[str, Level] = {}
            expander = Expander(findings, policies=policies, checks=checks, selects=selects)
            rows = read_csv if source.format is Format.CSV else read_jsonl
            for line, row in rows(source, findings):
                expander.add(reader.entry(row, line, ()))
        else:
            document = _document(source, findings)
            defaults, stated = reader.head(document, document.line)
            expander = Expander(findings, defaults, stated, policies=policies, checks=checks, selects=selects)
            for index, (key, line) in enumerate(_keys(document, findings)):
                expander.add(reader.entry(key, line, ("keys", index)))

    if only_failed is not None and only_failed.manifest_sha256 != source.sha256:
        message = f"this is the report of another manifest (SHA-256 {only_failed.manifest_sha256[:12]}…)"
        findings.problems.append(
            problem(only_failed.name, 0, "--only-failed", message, "Name a report of this manifest.")
        )
        findings.raise_if_any()
    accounts = {
        account.id: account.access(findings, expander.partition, role, external_id)
        for account in expander.accounts.values()
    }
    also = ((name, level.line) for name, level in stated.items())
    guard(expander.accounts.values(), also, allow_accounts, findings)
    findings.raise_if_any()
    if not expander.total:
        raise fail(source.file, 0, "names no key", "Specify at least one.")
    selection.check(expander.accounts.values(), len(expander.targets), findings)
    if max_targets is not None and len(expander.targets) > max_targets:
        message = f"{len(expander.targets):,} targets are selected; --max-targets allows {max_targets:,}"
        findings.add(0, "", message, "Select fewer, or raise the limit.")
    findings.raise_if_any()
    chosen = {target.lane.account for target in expander.targets}
    return Manifest(
        uri=uri,
        sha256=source.sha256,
        targets=tuple(expander.targets),
        accounts={name: access for name, access in accounts.items() if name in chosen},
        total=expander.total,
        partition=expander.partition,
        folder=source.folder,
        files=tuple(policies.files),
        failed_in=only_failed.run_id if only_failed else None,
    )


def _document(source: Source, findings: Findings) -> Map:
    text = source.text()
    read = read_json if source.format is Format.JSON or is_json(text) else read_yaml
    document = read(text, findings)
    if not isinstance(document, Map):
        advice = "It needs at least `version: 1` and `keys:` with one key."
        raise fail(source.file, 1, "holds no manifest" if document is None else "is not a mapping", advice)
    return document


def _keys(document: Map, findings: Findings) -> list[tuple[object, int]]:
    keys = document.get("keys")
    line = document.line_of("keys")
    if isinstance(keys, Seq) and keys:
        return list(zip(keys, keys.lines, strict=True))
    what = "is missing" if keys is None else "is empty" if keys == [] else "must be a list"
    findings.add(line, "keys", what, "List at least one key.")
    return []
