"""The process of a token: each answer goes to the task that asked for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bulk_import.errors import MaterialError
from bulk_import.material.sources.pkcs11_process import TokenProcess


@pytest.fixture
def threads_that_alternate() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


async def refusal(process: TokenProcess, operation: str, **request: Any) -> str:
    with pytest.raises(MaterialError) as refused:
        await process.ask(operation, **request)
    return refused.value.message


@pytest.mark.usefixtures("threads_that_alternate")
async def test_an_answer_that_nobody_waits_for_any_more_is_not_the_next_ones() -> None:
    """A lane that ends cancels its targets in the middle of a question, while other lanes use the same token."""
    process = TokenProcess(frozenset())
    try:
        for number in range(200):
            given_up = asyncio.create_task(refusal(process, "open", module="/no/such", init_args="", token={}))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            given_up.cancel()
            assert await refusal(process, "login", pin="1234") == "the token is not open"
    finally:
        await process.close()
