"""One self-contained HTML page: template, style and script are in page/, the report goes in as data.

Nothing of the report is ever markup. Jinja escapes what the template shows; the rest is JSON that the script puts
in as text nodes only. A Content-Security-Policy lets nothing run or load but the page's own script and style, each
named by its hash, so even a hole in that would be harmless: https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, TextIO

from markupsafe import Markup

from bulk_import.codes import GRAVE
from bulk_import.model.result import FIELDS, PARTS
from bulk_import.report.formats import view
from bulk_import.words import duration, plural

_TITLES: Final = {
    "run": "Key material import", "submit": "Key material import by ceremony", "delete": "Deletion of key material",
}  # fmt: skip
_REPEATED_BY: Final = {"submit": "prepare"}  # what a copied command begins with: targets are selected by it
EXAMPLES = 10  # targets of a cause that the page names itself

# Fields whose values repeat a lot: each becomes an index into a table of its values, which halves the page.
_REPETITIVE: Final = frozenset({
    "account", "region", "status", "key_spec", "key_state", "expiration_model", "valid_to",
    "wrapping_algorithm", "wrapping_key_spec", "verified", "proof", "detail",
    "code", "operation", "message", "advice",
})  # fmt: skip
# Every field of the model, the fields of its objects among them; one name stands for one field.
_RENAMED: Final = {"duration_seconds": "verification_seconds"}
_FLAT: Final = tuple(_RENAMED.get(field, field) for name in FIELDS for field in PARTS.get(name, (name,)))
_REPEATED: Final = tuple(name for name in _FLAT if name in _REPETITIVE)
_PLAIN: Final = (*(name for name in _FLAT if name not in _REPETITIVE and name != "request_ids"), "request_ids")


def write(report: Mapping[str, Any], out: TextIO) -> None:
    """Usable at 10,000 targets (about 0.6 KB each, most of it request IDs)."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - 60 ms that only this format needs

    page = files("bulk_import.report.formats") / "page"
    style, script = ((page / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"duration": duration, "instant": instant, "ticks": ticks, "targets": _targets}
    causes = _causes(report["results"])
    grave = [cause for cause in causes if cause["code"] in GRAVE]
    template = environment.from_string((page / "page.html.j2").read_text(encoding="utf-8"))
    out.write(
        template.render(
            report=report,
            run=report["run"],
            summary=report["summary"],
            title=_TITLES[report["run"].get("command", "run")],
            overview=view.overview(report),
            grave=grave,
            grave_total=sum(cause["count"] for cause in grave),
            causes=[cause for cause in causes if cause["code"] not in GRAVE],
            style=style,
            style_hash=hashed(style),
            script=script,
            script_hash=hashed(script),
            data=_embedded({"lanes": report["lanes"], "results": _packed(report["results"]), "run": _span(report)}),
        )
    )


def _causes(results: Iterable[view.Result]) -> list[dict[str, Any]]:
    """Why targets failed or were not attempted, over all lanes: grave ones first, failures next, frequent first."""
    groups: dict[tuple[str, str], list[view.Result]] = {}
    for result in results:
        if result["error"]:
            groups.setdefault((result["status"], result["error"]["code"]), []).append(result)
    causes = [
        {
            "status": status,
            "code": code,
            "count": len(found),
            "lanes": _lanes(found),
            "advice": found[0]["error"]["advice"],
            "results": found[:EXAMPLES],
        }
        for (status, code), found in groups.items()
    ]
    return sorted(causes, key=lambda cause: (view.gravity(cause["code"]), cause["status"] != "failed", -cause["count"]))


def _lanes(results: Iterable[view.Result]) -> str:
    """`111122223333/us-east-1`, or `12 lanes, most in 111122223333/us-east-1 (40)`."""
    lanes = Counter(f"{result['account']}/{result['region']}" for result in results)
    [(first, count)] = lanes.most_common(1)
    return first if len(lanes) == 1 else f"{len(lanes):,} lanes, most in {first} ({count:,})"


def _span(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the script needs to know of the run."""
    run = report["run"]
    command = run.get("command", "run")  # older reports have none
    return {
        "started_at": run["started_at"],
        "finished_at": run["finished_at"],
        "manifest": run["manifest"]["uri"],
        "command": _REPEATED_BY.get(command, command),
    }


def _packed(results: Sequence[view.Result]) -> dict[str, Any]:
    """{fields, tables, rows}: a row holds the fields in order; where a field has a table, an index into it."""
    tables: dict[str, dict[object, int]] = {name: {} for name in _REPEATED}
    rows = []
    for result in results:
        flat = {**(result["verification"] or {}), **(result["error"] or {}), **result}
        flat["verification_seconds"] = (result["verification"] or {}).get("duration_seconds")
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
    """JSON that is safe in a script element: with no `<`, nothing in it ends the element or opens a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def hashed(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _targets(count: int) -> str:
    return plural(count, "target")


def ticks(text: str) -> Markup:
    """What is between backticks is code; everything else, and what is in it, is escaped."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # the last backtick has no partner
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def instant(value: str | None) -> str:
    """`2026-03-02T04:30:00.123Z` as people read it: `2026-03-02 04:30:00 UTC`."""
    return f"{value[:10]} {value[11:19]} UTC" if value else "unknown"
