"""Numbers, times, fingerprints and one warning as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(value: float | None) -> str:
    """Seconds for people: `0.4 s`, `12 s`, `4 min 10 s`, `2 h 5 min`."""
    if value is None:
        return "unknown"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def as_utc(moment: datetime) -> str:
    """For people: to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def spoken(hexadecimal: str) -> str:
    """A fingerprint in groups of four, as people read it aloud."""
    return " ".join(hexadecimal[at : at + 4] for at in range(0, len(hexadecimal), 4))


def not_aws(what: str, environment: str | None, endpoints: Mapping[str, str]) -> str | None:
    """A warning if `what` (run, plan) talked to anything but AWS. `environment` None: it made no call."""
    if environment in ("aws", None):
        return None
    where = ", ".join(f"{service} {url}" for service, url in endpoints.items())
    kind = "the sandbox" if environment == "sandbox" else "a custom endpoint"
    return f"Not AWS: this {what} talked to {kind}{f' ({where})' if where else ''}. It shows nothing about keys in AWS."
