from __future__ import annotations

import copy
import pickle

import pytest

from bulk_import.material.secret import Secret

CANARY = b"canary-canary-canary-canary-1234"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{:>40}".format, "{!r}".format, "%s".__mod__, "%r".__mod__])
def test_shows_nothing(show) -> None:
    assert show(Secret(CANARY)) == "<Secret>"


@pytest.mark.parametrize(
    "copying",
    [copy.copy, copy.deepcopy, *(lambda s, p=p: pickle.dumps(s, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)),
     lambda s: s.__getstate__(), lambda s: s.__reduce__()],
)  # fmt: skip
def test_is_neither_copied_nor_pickled(copying) -> None:
    with pytest.raises(TypeError) as caught:
        copying(Secret(CANARY))
    assert "canary" not in repr(caught.value)


def test_has_no_dictionary_and_no_equality_by_content() -> None:
    one, other = Secret(CANARY), Secret(CANARY)
    assert not hasattr(one, "__dict__")
    assert one != other
    assert len({one, other}) == 2


def test_wipes_the_very_buffer_it_was_given() -> None:
    buffer = bytearray(CANARY)
    secret = Secret(buffer)
    view = secret.view()
    secret.wipe()
    assert buffer == bytes(len(CANARY))
    assert view == bytes(len(CANARY))


@pytest.mark.parametrize("use", [Secret.view, len, Secret.__enter__])
def test_cannot_be_used_once_wiped(use) -> None:
    secret = Secret(CANARY)
    secret.wipe()
    secret.wipe()
    with pytest.raises(ValueError, match="wiped"):
        use(secret)
    assert repr(secret) == "<Secret>"


def test_a_context_wipes_on_an_exception_too() -> None:
    buffer = bytearray(CANARY)
    with pytest.raises(KeyError), Secret(buffer):
        raise KeyError
    assert buffer == bytes(len(CANARY))


def test_the_view_is_read_only_and_no_copy() -> None:
    buffer = bytearray(CANARY)
    view = Secret(buffer).view()
    assert view.readonly
    buffer[0] = 0
    assert view[0] == 0
