"""One self-contained HTML page without a script: what is wrong, the drift list, the expiry calendar, every key.

Jinja escapes all that the template shows, and a Content-Security-Policy lets nothing load or run but the page's own
style, named by its hash: https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, TextIO

from bulk_import.report.formats.html import hashed, instant, ticks
from bulk_import.report.formats.inspection import view
from bulk_import.words import duration

NAMED = 40  # keys of one day that the calendar names


def write(found: Mapping[str, Any], out: TextIO) -> None:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - 60 ms that only this format needs

    style = (files("bulk_import.report.formats") / "page" / "page.css").read_text(encoding="utf-8")
    style += (files("bulk_import.report.formats.inspection") / "page.css").read_text(encoding="utf-8")
    page = (files("bulk_import.report.formats.inspection") / "page.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "duration": duration, "instant": instant, "ticks": ticks, "why": view.why, "advice": view.advice,
        "place": view.place, "proof": view.proof, "day": view.day, "left": view.left,
    }  # fmt: skip
    out.write(
        environment.from_string(page).render(
            found=found, run=found["run"], summary=found["summary"], counts=view.COUNTS, named=NAMED,
            headline=view.headline(found), environment_warning=view.environment_warning(found),
            calendar=view.calendar(found), targets=view.urgent_first(found), style=style, style_hash=hashed(style),
        )
    )  # fmt: skip
