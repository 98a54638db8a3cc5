"""How the bytes of a source become key material, and what is refused on the way."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.hazmat.primitives.serialization import Encoding as Form
from hypothesis import given
from hypothesis import strategies as st

from bulk_import.errors import MaterialError
from bulk_import.material.ambiguity import check_source
from bulk_import.material.encoding import decode
from bulk_import.model import Encoding, KeySpec
from tests.material.keys import assert_silent, pkcs8
from tests.material.support import load

EC_KEY = ec.generate_private_key(ec.SECP256R1())


def decoded(data: bytes, encoding: Encoding, key_spec: KeySpec | None = None) -> bytes:
    return bytes(decode(bytearray(data), encoding, key_spec))


def invalid(data: bytes, encoding: Encoding, key_spec: KeySpec | None = None) -> MaterialError:
    with pytest.raises(MaterialError) as caught:
        decoded(data, encoding, key_spec)
    assert caught.value.code == "MaterialInvalid"
    assert_silent(caught.value, data)
    return caught.value


def pem(form: PrivateFormat = PrivateFormat.PKCS8, key=EC_KEY) -> bytes:
    return key.private_bytes(Form.PEM, form, NoEncryption())


# --- raw ------------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1))
def test_raw_drops_nothing(data: bytes) -> None:
    assert decoded(data, Encoding.RAW) == data
    assert decoded(data + b"\n", Encoding.RAW) == data + b"\n"


# --- base64 and hex -------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=200), st.sampled_from([b"", b"\n", b"\r\n"]))
def test_text_encodings_give_the_bytes_back(data: bytes, newline: bytes) -> None:
    assert decoded(base64.b64encode(data) + newline, Encoding.BASE64) == data
    assert decoded(data.hex().encode() + newline, Encoding.HEX) == data
    assert decoded(data.hex().upper().encode() + newline, Encoding.HEX) == data


@pytest.mark.parametrize("text", [b"\n\n", b" \n", b"\r", b"\n ", b"\n\r\n"])
def test_one_newline_is_dropped_and_nothing_else(text: bytes) -> None:
    data = bytes(range(32))
    invalid(base64.b64encode(data) + text, Encoding.BASE64)
    invalid(data.hex().encode() + text, Encoding.HEX)
    invalid(b" " + data.hex().encode(), Encoding.HEX)
    invalid(b" " + base64.b64encode(data), Encoding.BASE64)


@pytest.mark.parametrize(
    "text",
    [
        b"AAA",  # padding is missing
        b"AA==AA==",
        b"=AAA",
        b"AAAA=",
        b"AAAAA===",
        b"AA-_",  # base64url
        b"AAAA\nAAAA",  # wrapped lines
        b"AA AA",
        b"AB==",  # bits in excess: not what an encoder writes
        b"AAB=",
        b"\xef\xbb\xbfAAAA",
        "ÄAAA".encode(),
        b"\xff\xfe\x00\x80",
        b"AAAA\0",
    ],
)
def test_base64_is_strict(text: bytes) -> None:
    invalid(text, Encoding.BASE64)


@pytest.mark.parametrize(
    "text", [b"0", b"abc", b"0x00", b"00 11", b"00:11", b"0g", b"00\n11", b"\xff\xff", b"\xd9\xa0\xd9\xa0"]
)
def test_hex_is_strict(text: bytes) -> None:
    invalid(text, Encoding.HEX)


@given(st.binary(max_size=60), st.sampled_from([Encoding.BASE64, Encoding.HEX, Encoding.PEM]))
def test_whatever_comes_is_decoded_or_refused_in_silence(data: bytes, encoding: Encoding) -> None:
    try:
        decoded(data, encoding)
    except MaterialError as error:
        assert error.code == "MaterialInvalid"  # noqa: PT017 - both ends are right
        if len(data) >= 12:
            assert_silent(error, data)


# --- what is taken where nothing is stated --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        bytes(range(32)).hex().encode(),
        bytes(range(32)).hex().upper().encode() + b"\n",
        base64.b64encode(bytes(range(32))),
        base64.b64encode(bytes(range(64))) + b"\r\n",
        base64.encodebytes(bytes(range(100))),  # in lines
        base64.urlsafe_b64encode(b"\xff" * 32),
        b"A" * 32,  # 32 characters: it could even be the key itself
        b" deadbeef \n",
        b"0xdeadbeef",
    ],
)
async def test_text_by_default_raw_is_ambiguous(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(text)
    with pytest.raises(MaterialError) as caught:
        await load("file:k", root=tmp_path, encoding=None, key_spec=KeySpec.SYMMETRIC_DEFAULT)
    assert caught.value.code == "AmbiguousEncoding"
    assert_silent(caught.value, text)
    with await load("file:k", root=tmp_path, encoding=Encoding.RAW, key_spec=None) as secret:
        assert bytes(secret.view()) == text


_PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=4, max_size=70)


@given(
    _PRINTABLE, st.sampled_from(["ascii", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
)
def test_every_text_is_ambiguous(text: str, code: str) -> None:
    with pytest.raises(MaterialError) as caught:
        check_source(bytearray(text.encode(code)), Encoding.RAW)
    assert caught.value.code == "AmbiguousEncoding"
    assert_silent(caught.value, text.encode())


@given(st.binary(min_size=28, max_size=70), st.binary(min_size=8, max_size=8))
def test_bytes_that_no_text_has_are_the_key_itself(data: bytes, noise: bytes) -> None:
    """Every ninth byte is a control character, as random material has them."""
    controls = bytes([1, 2, 3, 4, 0x0E, 0x10, 0x1B, 0x7F])
    mixed = b"".join(
        bytes([controls[noise[i % 8] % 8]]) + data[i : i + 8].replace(b"\0", b"\1") for i in range(0, len(data), 8)
    )
    check_source(bytearray(mixed), Encoding.RAW)


async def test_defaults_by_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = bytes(range(0, 64, 2))
    (tmp_path / "raw").write_bytes(raw)
    (tmp_path / "pem").write_bytes(pem())
    monkeypatch.setenv("A_KEY", base64.b64encode(raw).decode())
    monkeypatch.setenv("A_HEX", raw.hex())
    for uri, encoding, wanted in (
        ("file:raw", None, raw),
        ("file:pem", None, pkcs8(EC_KEY)),
        ("env:A_KEY", None, raw),
        ("env:A_HEX", Encoding.HEX, raw),
    ):
        with await load(uri, root=tmp_path, encoding=encoding, key_spec=None) as secret:
            assert bytes(secret.view()) == wanted


async def test_a_trailing_newline_of_a_raw_file_stays(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"\1" * 31 + b"\n\n")
    with await load("file:raw", root=tmp_path, encoding=None, key_spec=None) as secret:
        assert len(secret) == 33


# --- PEM ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", [b"", b"\n", b"\r\n"])
def test_pem_gives_the_very_pkcs8_inside(newline: bytes) -> None:
    assert decoded(pem().strip() + newline, Encoding.PEM) == pkcs8(EC_KEY)
    assert decoded(pem().replace(b"\n", b"\r\n"), Encoding.PEM) == pkcs8(EC_KEY)


def test_traditional_pem_is_converted(rsa_of) -> None:
    assert decoded(pem(PrivateFormat.TraditionalOpenSSL), Encoding.PEM) == pkcs8(EC_KEY)
    rsa = rsa_of(2048)
    assert decoded(pem(PrivateFormat.TraditionalOpenSSL, rsa), Encoding.PEM) == pkcs8(rsa)


@pytest.mark.parametrize("spec", [KeySpec.SYMMETRIC_DEFAULT, KeySpec.HMAC_256])
def test_pem_is_no_form_of_bytes(spec: KeySpec) -> None:
    assert spec.value in invalid(pem(), Encoding.PEM, spec).message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (EC_KEY.private_bytes(Form.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")), "encrypted"),
        (EC_KEY.private_bytes(Form.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"pw")), "encrypted"),
        (EC_KEY.private_bytes(Form.PEM, PrivateFormat.OpenSSH, NoEncryption()), "OpenSSH"),
        (EC_KEY.public_key().public_bytes(Form.PEM, PublicFormat.SubjectPublicKeyInfo), "public key"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate"),
        (b"-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----\n", "another kind"),
        (pem() + pem(), "2 PEM blocks"),
        (b"-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n" + pem(), "explicit"),
        (b"Bag Attributes\n" + pem(), "text before"),
        (pem() + b"more", "text after"),
        (pem()[:-10], "no END line"),
        (pem().replace(b"END PRIVATE", b"END EC PRIVATE"), "not PEM"),
        (b"nothing of the kind", "not PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nA*A=\n-----END PRIVATE KEY-----\n", "not base64"),
        (b"-----BEGIN PRIVATE KEY-----\nAAA\n-----END PRIVATE KEY-----\n", "not base64"),
        (b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "not a key that can be read"),
    ],
)  # fmt: skip
def test_other_pem_is_refused(text: bytes, says: str) -> None:
    assert says in invalid(text, Encoding.PEM).message


def test_a_traditional_key_with_explicit_parameters_is_refused() -> None:
    made = subprocess.run(
        ["openssl", "ecparam", "-name", "sect283k1", "-genkey", "-noout", "-param_enc", "explicit"],
        capture_output=True,
        check=True,
    ).stdout
    invalid(made, Encoding.PEM)
