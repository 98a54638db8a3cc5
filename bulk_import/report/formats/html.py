"""One self-contained HTML page: template, style and script stand in page/, the report goes in as data.

Nothing of the report is ever markup. Jinja escapes what the template shows; the rest is JSON that the script puts
in as text nodes only. A Content-Security-Policy lets nothing run or load but the page's own script and style, each
named by its hash, so even a hole in that would be harmless: https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, TextIO

from bulk_import.report.formats import view

# Fields of a result that repeat much: each becomes an index into a table of its values, which halves the page.
_REPEATED = (
    "account", "region", "status", "key_spec", "key_state", "expiration_model", "valid_to",
    "wrapping_algorithm", "wrapping_key_spec", "verified", "proof", "detail",
    "code", "operation", "message", "advice",
)  # fmt: skip
_PLAIN = (
    "id", "key_id", "key_arn", "changed", "key_material_id", "attempts", "started_at", "finished_at",
    "reads", "consecutive", "round_trip", "retryable", "request_ids",
)  # fmt: skip


def write(report: Mapping[str, Any], out: TextIO) -> None:
    """Usable at 10,000 targets (about 0.6 KB each, most of it request IDs)."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - 60 ms that only this format needs

    page = files("bulk_import.report.formats") / "page"
    style, script = ((page / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"duration": view.duration, "instant": _instant}
    template = environment.from_string((page / "page.html.j2").read_text(encoding="utf-8"))
    out.write(
        template.render(
            report=report,
            run=report["run"],
            summary=report["summary"],
            well=sum(report["summary"][status] for status in view.WELL),
            counts=view.COUNTS,
            exit_code=view.exit_code(report),
            headline=view.headline(report),
            environment_warning=view.environment_warning(report),
            warnings=[text for text in view.warnings(report) if text != view.environment_warning(report)],
            groups=view.by_code(view.failures(report)),
            style=style,
            style_hash=_hash(style),
            script=script,
            script_hash=_hash(script),
            data=_embedded({"lanes": report["lanes"], "results": _packed(report["results"]), "run": _span(report)}),
        )
    )


def _span(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"started_at": report["run"]["started_at"], "finished_at": report["run"]["finished_at"]}


def _packed(results: Sequence[view.Result]) -> dict[str, Any]:
    """{fields, tables, rows}: a row holds the fields in order; where a field has a table, an index into it."""
    tables: dict[str, dict[object, int]] = {name: {} for name in _REPEATED}
    rows = []
    for result in results:
        flat = {**(result["verification"] or {}), **(result["error"] or {}), **result}
        row: list[object] = [tables[name].setdefault(flat.get(name), len(tables[name])) for name in _REPEATED]
        row += [flat.get(name) for name in _PLAIN[:-1]]
        row.append([[entry["operation"], entry["request_id"]] for entry in result["request_ids"]])
        rows.append(row)
    return {
        "fields": [*_REPEATED, *_PLAIN],
        "tables": {name: list(values) for name, values in tables.items()},
        "rows": rows,
    }


def _embedded(value: object) -> str:
    """JSON that can stand in a script element: with no `<`, nothing in it ends the element or opens a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _instant(value: str | None) -> str:
    """`2026-03-02T04:30:00.123Z` as people read it: `2026-03-02 04:30:00 UTC`."""
    return f"{value[:10]} {value[11:19]} UTC" if value else "unknown"
