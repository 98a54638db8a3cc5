"""No connection uses a context that would accept any host, also if a library or a variable asks for it."""

from __future__ import annotations

import ssl

import pytest

from bulk_import.aws.wire.http import Pool, session_class
from bulk_import.aws.wire.tls import Trust, trust_of


def pool(context: ssl.SSLContext) -> Pool:
    return Pool(Trust(context, "a test"), size=1, connect_timeout=1, read_timeout=1)


@pytest.mark.parametrize("unchecked", ["name", "certificate"])
async def test_a_context_that_verifies_too_little(unchecked: str) -> None:
    context = trust_of({}, {}).context
    context.check_hostname = False
    if unchecked == "certificate":
        context.verify_mode = ssl.CERT_NONE
    with pytest.raises(RuntimeError, match="without verification"):
        await pool(context).exchange("GET", "https://127.0.0.1:1/", {}, b"")


@pytest.mark.parametrize("verify", [False, "", None])
def test_a_client_that_is_told_not_to_verify(verify: object) -> None:
    with pytest.raises(RuntimeError, match="without verification"):
        session_class(pool(trust_of({}, {}).context))(verify=verify)
