"""What the model says of a setting besides its type: its group, its flag, and whether an empty value is an error."""

from __future__ import annotations

from typing import get_origin

from pydantic.fields import FieldInfo

from bulk_import.settings.model import Settings


def fields(*groups: str) -> dict[str, FieldInfo]:
    """The settings of these groups, in the model's order."""
    return {name: info for name, info in Settings.model_fields.items() if group_of(info) in groups}


def group_of(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def marked(name: str, mark: str) -> bool:
    """Whether the setting is a `guard`, or has a `variable` (and a key of the settings file)."""
    extra = Settings.model_fields[name].json_schema_extra
    return bool(isinstance(extra, dict) and extra[mark])


def several(name: str) -> bool:
    """Whether the setting is a list or pairs: repeatable as an option, with commas in its variable."""
    return get_origin(Settings.model_fields[name].annotation) in (tuple, dict)
