"""What a killed run left at a source of key material: wrapping keys in Transit that its journal says were made."""

from __future__ import annotations

from pathlib import Path

from bulk_import.journal.reader import parse

_MARK = b'"event":"wrapping_key"'


def wrapping_keys(path: Path) -> list[dict[str, str]]:
    """The wrapping keys that the journal at `path` recorded as made and not as removed: mount, name, address,
    namespace. Empty if there is no journal; a damaged line is passed over, because this is for tidying up only.
    """
    left: dict[tuple[str, ...], dict[str, str]] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                event = parse(line) if _MARK in line else None
                if event is None:
                    continue
                key = {name: str(event.get(name, "")) for name in ("mount", "name", "address", "namespace")}
                if event.get("action") == "removed":
                    left.pop(tuple(key.values()), None)
                else:
                    left[tuple(key.values())] = key
    except OSError:
        return []  # anyone who needs the journal reports it
    return list(left.values())
