"""Import key material (bring your own key) into AWS KMS for many keys at once, and prove it."""

from __future__ import annotations

__version__ = "0.1.0"
