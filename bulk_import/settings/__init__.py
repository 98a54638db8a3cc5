"""Every setting: what it is (model.py), how its text is read (values.py) and checked (checks.py), where it
comes from (load.py)."""

from __future__ import annotations

from bulk_import.settings.checks import RENDERINGS
from bulk_import.settings.headings import heading_of
from bulk_import.settings.load import load, places, with_shard
from bulk_import.settings.marks import fields, flag_of, group_of
from bulk_import.settings.model import PREFIX, Settings
from bulk_import.settings.values import Seconds

__all__ = [
    "PREFIX",
    "RENDERINGS",
    "Seconds",
    "Settings",
    "fields",
    "flag_of",
    "group_of",
    "heading_of",
    "load",
    "places",
    "with_shard",
]
