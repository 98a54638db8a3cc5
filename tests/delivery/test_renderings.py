"""A rendering that fails costs neither the others nor the report."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bulk_import.delivery.deliver import Delivery
from bulk_import.errors import ReportNotWritten
from bulk_import.report.reread import Report
from bulk_import.settings import Settings
from tests.formats.make_report import make_report

FORMS = ("html", "junit", "markdown", "github", "csv")


async def _later() -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("broken", ["lanes", "summary"])
def test_a_crash_in_one_rendering_leaves_the_others(broken: str, tmp_path: Path) -> None:
    """A report that lacks a part stands for a defect: those that need the part fail, the others are written."""
    document = make_report(3)
    del document[broken]
    results = document.pop("results")
    settings = Settings(render={form: str(tmp_path / form) for form in FORMS})
    delivery = Delivery(settings, None, _later)
    with pytest.raises(ReportNotWritten) as raised:
        asyncio.run(delivery.renderings(Report(document, results), tmp_path))
    lost = {form for form in FORMS if f"The rendering {form} could not be made (KeyError)" in raised.value.message}
    assert lost
    assert lost != set(FORMS)
    assert {path.name for path in tmp_path.iterdir()} == set(delivery.written) == set(FORMS) - lost
