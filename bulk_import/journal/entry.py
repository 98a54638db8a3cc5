"""Instants as text, and what orjson does not serialise by itself. A dataclass of the model becomes JSON as it is."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z`, to the microsecond. Raises ValueError for a naive one, which is no instant."""
    return _in_utc(moment).isoformat(timespec="microseconds") + "Z"


def kms_instant(moment: datetime) -> str:
    """The same in whole seconds, which is what KMS keeps."""
    return _in_utc(moment).isoformat(timespec="seconds") + "Z"


def plain(value: object) -> object:
    """For orjson, with OPT_PASSTHROUGH_DATETIME. Raises TypeError, which names the type and never the value."""
    if isinstance(value, datetime):
        return instant(value) if value.microsecond else kms_instant(value)
    raise TypeError(f"the journal does not take {type(value).__name__}")


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("an instant needs an offset")
    return moment.astimezone(UTC).replace(tzinfo=None)
