# ruff: noqa: RUF001 - letters of other scripts are meant
"""Text in any of the world's encodings is never taken for random bytes, and random bytes never for text."""

from __future__ import annotations

import os

import pytest

from bulk_import.material.ambiguity import reads_as_text
from bulk_import.material.shape import LENGTHS

WORDS = {
    "Latin-1": ("latin-1", "Le mot de passe à été changé, là"),
    "Windows-1250": ("cp1250", "Hasło główne, źródło łąka"),
    "Windows-1251": ("cp1251", "Пароль нашей системы 2026"),
    "Windows-1253": ("cp1253", "Μυστικό κλειδί πληρωμών"),
    "Windows-1254": ("cp1254", "Şifrem çok güçlü İstanbul"),
    "Windows-1255": ("cp1255", "הסיסמה שלי למערכת"),
    "Windows-1256": ("cp1256", "كلمة المرور للنظام"),
    "KOI8-R": ("koi8-r", "Пароль нашей системы"),
    "ISO 8859-5": ("iso8859-5", "Пароль нашей системы"),
    "DOS": ("cp866", "Секретный ключ оплаты"),
    "Macintosh": ("mac_cyrillic", "Пароль нашей системы"),
    "TIS-620": ("tis-620", "รหัสผ่านของระบบ"),
    "Shift_JIS": ("shift_jis", "私たちの秘密の鍵です二千年"),
    "EUC-JP": ("euc_jp", "私たちの秘密の鍵です二千年"),
    "EUC-KR": ("euc_kr", "비밀번호입니다우리시스템의"),
    "GB 2312": ("gb2312", "我们系统的秘密密码二零二六"),
    "Big5": ("big5", "我們系統的秘密密碼二零二六"),
    "EBCDIC": ("cp500", "Correct Horse Battery Staple"),
    "UTF-16": ("utf-16-le", "Пароль системы"),
    "UTF-16, big endian": ("utf-16-be", "\ufeffПароль системы!"),
    "UTF-8": ("utf-8", "パスワードと鍵"),
}  # fmt: skip


@pytest.mark.parametrize("padding", [b"", b"\0", b" "], ids=["as it is", "zeros", "blanks"])
@pytest.mark.parametrize("name", WORDS)
def test_words_in_a_code_page(name: str, padding: bytes) -> None:
    encoding, text = WORDS[name]
    data = text.encode(encoding)
    assert len(data) >= 15
    if padding and not encoding.startswith("utf-16"):
        data = data.ljust(48, padding)
    assert reads_as_text(bytearray(data))


def test_random_bytes_are_not_words() -> None:
    """A false alarm has a probability below 1 in 50 million for the shortest material."""
    assert not any(reads_as_text(bytearray(os.urandom(length))) for length in LENGTHS.values() for _ in range(2000))
