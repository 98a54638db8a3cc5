"""Stage 2: where key material comes from, how it is checked, and how it is sealed.

Needs no AWS library: material can be sealed on a machine without any network.
"""

from __future__ import annotations

from bulk_import.material.held import Held
from bulk_import.material.supply import Materials

__all__ = ["Held", "Materials"]
