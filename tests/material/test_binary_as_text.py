"""Bytes of a key where text was specified: the message says so, and recommends no command that removes bytes."""

from __future__ import annotations

import os

import pytest

from tests.e2e import materials
from tests.e2e.conftest import work
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox

__all__ = ["work"]
TEXTS = ("hex", "base64", "pem")


def binary(number: int) -> bytes:
    """Random bytes with what has a cause of its own: quotes, curly quotes, a no-break space, a NUL byte."""
    inside = (b"", b"\xe2\x80\x9c", b"\xa0", b"\0", b"***", b"\\n", b'"', b"'")[number]
    key = os.urandom(32)
    # Quotes count at the ends; the second byte is none of UTF-8's.
    return (inside + b"\xff" + key)[:31] + inside[:1] if inside in (b'"', b"'") else (b"\x90\xff" + inside + key)[:32]


@pytest.mark.parametrize("encoding", TEXTS)
def test_binary_material_is_named(sandbox: Sandbox, work: Workplace, encoding: str) -> None:
    for number in range(8):
        spec = "HMAC_256" if encoding != "pem" else "ECC_NIST_P256"
        key = sandbox.key(key_spec=spec)["key_id"]
        material = binary(number) if encoding != "pem" or number % 2 else materials.make(spec)
        work.key(key, material, name=f"k{number}", encoding=encoding)
    result = work.run()
    assert result.code == 5, result.stderr
    for entry in result.entries.values():
        error = entry["error"]
        assert error["code"] == "MaterialInvalid"
        assert "it is binary" in error["message"], error
        assert "encoding" in error["advice"]
        assert " KEY" not in error["advice"]  # a command for text would remove bytes of the key


def test_text_in_a_code_page_is_text(sandbox: Sandbox, work: Workplace) -> None:
    text = materials.make("HMAC_256").hex().encode() + "\u00a0".encode("latin-1")
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], text, name="one", encoding="hex")
    assert "no-break space (0xA0)" in work.run().entries["one"]["error"]["message"]
