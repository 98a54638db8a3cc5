"""What comes from a Vault server, where it enters the program: JSON of a bounded size, and nothing else.

A proxy, a gateway or another program may answer instead of Vault. hvac reads answers of any size, and fails in its own
ways at what is not Vault's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import requests
from hvac import adapters, exceptions

from bulk_import import strict_json
from bulk_import.errors import MaterialError
from bulk_import.material.sources.patience import Throttled
from bulk_import.material.sources.vault_faults import not_sent

MOST_OF_AN_ANSWER: Final = 4 << 20  # bytes; a server keeps no secret above 1 MiB
_CHUNK: Final = 1 << 16  # bytes
# Statuses of a gateway that may be different a moment later. https://www.rfc-editor.org/rfc/rfc9110#section-15
_PASSING: Final = frozenset({408, 425, 500, 502, 503, 504})
_ADVICE: Final = "Check VAULT_ADDR, and what is between here and the server."
_TOKEN: Final = frozenset(map(chr, range(0x21, 0x7F)))


class Answers(adapters.JSONAdapter):  # type: ignore[misc]  # hvac has no types
    """hvac's adapter with our own reading of answers."""

    def request(self, method: str, url: str, headers: Any = None, raise_exception: bool = True, **more: Any) -> Any:  # noqa: FBT001, FBT002 - hvac's signature
        """The JSON object of an answer; of an answer without a body, hvac's response.

        Raises MaterialError for what is not Vault's; hvac's and requests' exceptions.
        """
        raw = adapters.RawAdapter.request
        try:
            response: requests.Response = raw(self, method, url, headers, raise_exception=False, stream=True, **more)
        except requests.RequestException:
            raise
        except Exception as error:  # noqa: BLE001 - urllib3's and http.client's, for what cannot be sent
            raise not_sent(error, self.base_uri) from None
        with response:
            body = self._body(response)
        if 300 <= response.status_code < 400:
            raise MaterialError(
                f"the server at {self.base_uri} redirects to another address (HTTP status {response.status_code})",
                code="SourceFailed",
                advice="Set VAULT_ADDR to the address of the server that answers: a redirect is not followed, because "
                "it would carry the token elsewhere.",
            )
        if response.ok and not body:
            return response
        found = self._parsed(body, response.status_code)
        if not response.ok and raise_exception:
            raise exceptions.VaultError.from_status(
                response.status_code, errors=_texts(found.get("errors")), method=method, json=found
            )
        return found

    def get_login_token(self, response: Any) -> str:
        """Raises MaterialError for an answer without a token that can be sent back."""
        auth = response.get("auth") if isinstance(response, dict) else None
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not is_token(token):
            raise MaterialError(
                f"the login at {self.base_uri} gave no token", code="SourceFailed",
                advice="Check --vault-auth, --vault-auth-mount and VAULT_ADDR.",
            )  # fmt: skip
        return token

    def _body(self, response: requests.Response) -> bytes:
        body = bytearray()
        for piece in response.iter_content(_CHUNK):
            body += piece
            if len(body) > MOST_OF_AN_ANSWER:
                raise MaterialError(
                    f"the answer of the server at {self.base_uri} is larger than {MOST_OF_AN_ANSWER >> 20} MiB",
                    code="SourceFailed", advice=_ADVICE,
                )  # fmt: skip
        return bytes(body)

    def _parsed(self, body: bytes, status: int) -> dict[str, Any]:
        why = "it is no JSON object"
        try:
            found = strict_json.loads(body)
        except json.JSONDecodeError as error:
            found, why = None, error.msg if body[:1] == b"{" else why
        if isinstance(found, dict):
            return found
        if status == 429:
            raise Throttled(f"the server at {self.base_uri} was asked too often")
        raise MaterialError(
            f"the answer of the server at {self.base_uri} (HTTP status {status}) is not Vault's: {why}",
            code="SourceUnavailable" if status in _PASSING else "SourceFailed",
            retryable=status in _PASSING,
            advice=_ADVICE,
        )


def is_token(text: str) -> bool:
    """Whether a header can hold it as one word: visible ASCII characters."""
    return bool(text) and _TOKEN.issuperset(text)


def data_of(answer: Any) -> dict[str, Any]:
    """The `data` of an answer. Raises MaterialError for an answer that has none."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise MaterialError("the server's answer has no data", code="SourceFailed", advice=_ADVICE)
    return data


def mapping(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object of that name in an answer; an empty one where there is none."""
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def named(found: dict[str, Any], name: str) -> dict[str, Any]:
    """The data of a Transit key. Raises MaterialError where they are those of another key."""
    if found.get("name") != name:
        raise MaterialError(
            f"the server's answer is for another key than {name}", code="SourceFailed",
            advice="Something between here and the server mixes answers up. Nothing was taken from this answer.",
        )  # fmt: skip
    return found


def _texts(errors: Any) -> list[str]:
    return [error for error in errors if isinstance(error, str)] if isinstance(errors, list) else []
