"""RSA keys take long to make: one of each size for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from bulk_import.model import KeySpec
from tests.material.keys import material_of, rsa_key


@pytest.fixture(scope="session")
def rsa_of() -> Callable[[int], rsa.RSAPrivateKey]:
    """A wrapping key by bits."""
    return cache(rsa_key)


@pytest.fixture(scope="session")
def material() -> Callable[[KeySpec], bytes]:
    """Good material by key spec, always the same within the process."""
    return cache(material_of)
