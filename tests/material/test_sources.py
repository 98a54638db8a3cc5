"""Where material comes from: paths, kinds of files, variables."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bulk_import.errors import MaterialError
from bulk_import.material.sources import KINDS, refusal
from bulk_import.material.sources import file as file_source
from bulk_import.model import Encoding
from tests.material.keys import assert_silent, chain
from tests.material.support import load

KEY = bytes(range(100, 132))


async def read(uri: str, root: Path | None, encoding: Encoding | None = None) -> bytes:
    with await load(uri, root=root, encoding=encoding) as secret:
        return bytes(secret.view())


async def refused(uri: str, root: Path | None, encoding: Encoding | None = None) -> MaterialError:
    with pytest.raises(MaterialError) as caught:
        await read(uri, root, encoding)
    assert_silent(caught.value, KEY)
    return caught.value


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A manifest's folder with a neighbour that is none of its business."""
    folder = tmp_path / "manifest"
    (folder / "keys").mkdir(parents=True)
    (folder / "a.key").write_bytes(KEY)
    (folder / "keys/b.key").write_bytes(KEY)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/c.key").write_bytes(KEY)
    (tmp_path / "manifest-2").mkdir()  # shares a prefix with the root's name
    (tmp_path / "manifest-2/d.key").write_bytes(KEY)
    return folder


@pytest.mark.parametrize("path", ["a.key", "keys/b.key", "./keys/../a.key", "keys//b.key", "../manifest/a.key"])
async def test_reads_files_inside_the_root(root: Path, path: str) -> None:
    assert await read(f"file:{path}", root) == KEY


async def test_a_relative_root_works(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    assert await read("file:a.key", Path("manifest")) == KEY
    monkeypatch.chdir(root)
    assert await read("file:a.key", Path()) == KEY


@pytest.mark.parametrize("name", ["with blank.key", "100%.key", "%61.key", "ключ.key", "a:b.key", "#?.key"])
async def test_paths_are_taken_literally(root: Path, name: str) -> None:
    (root / name).write_bytes(KEY)
    assert await read(f"file:{name}", root) == KEY


@pytest.mark.parametrize("path", ["../outside/c.key", "../manifest-2/d.key", "keys/../../outside/c.key", "..",
                                  "../nowhere.key", "/etc/passwd", "//host/a.key"])  # fmt: skip
async def test_paths_out_of_the_root_are_refused(root: Path, path: str) -> None:
    assert (await refused(f"file:{path}", root)).code == "MaterialOutsideRoot"


async def test_absolute_paths_are_refused_even_inside(root: Path) -> None:
    assert (await refused(f"file:{root}/a.key", root)).code == "MaterialOutsideRoot"


async def test_without_a_root_no_file_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    error = await refused("file:a.key", None)
    assert error.code == "MaterialOutsideRoot"
    assert "--material-root" in error.advice


async def test_links_inside_the_root_are_followed(root: Path) -> None:
    # As Kubernetes mounts secrets: key -> ..data/key, ..data -> a folder with a date.
    (root / "..2026").mkdir()
    (root / "..2026/key").write_bytes(KEY)
    (root / "..data").symlink_to("..2026")
    (root / "key").symlink_to("..data/key")
    assert await read("file:key", root) == KEY


async def test_a_link_as_the_root_is_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert await read("file:keys/b.key", tmp_path / "link") == KEY


@pytest.mark.parametrize("target", ["../outside/c.key", "../outside", "/etc/hostname", "../manifest-2/d.key"])
async def test_links_out_of_the_root_are_refused(root: Path, target: str) -> None:
    (root / "out").symlink_to(target)
    suffix = "/c.key" if target == "../outside" else ""
    assert (await refused(f"file:out{suffix}", root)).code == "MaterialOutsideRoot"


async def test_a_chain_of_links_out_of_the_root_is_refused(root: Path) -> None:
    (root / "one").symlink_to("keys/two")
    (root / "keys/two").symlink_to("../../outside/c.key")
    assert (await refused("file:one", root)).code == "MaterialOutsideRoot"


@pytest.mark.parametrize("swapped", ["keys", "keys/b.key"])
async def test_a_link_put_there_after_the_check_leads_nowhere(
    root: Path, tmp_path: Path, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside/b.key").write_bytes(b"other" * 10)
    honest = file_source._open  # noqa: SLF001 - the moment between check and open is inside

    def swap_then_open(real_root: Path, inside: Path, path: str):
        (root / swapped).rename(tmp_path / "aside")
        target = tmp_path / "outside"
        (root / swapped).symlink_to(target if swapped == "keys" else target / "b.key")
        return honest(real_root, inside, path)

    monkeypatch.setattr(file_source, "_open", swap_then_open)
    assert (await refused("file:keys/b.key", root)).code in ("MaterialUnreadable", "MaterialNotFound")


async def test_links_in_a_circle(root: Path) -> None:
    (root / "x").symlink_to("y")
    (root / "y").symlink_to("x")
    assert (await refused("file:x", root)).code == "MaterialUnreadable"


@pytest.mark.parametrize("path", ["no.key", "keys/no.key", "a.key/below", "no/folder/at.all", "\ud800.key"])
async def test_missing_files(root: Path, path: str) -> None:
    assert (await refused(f"file:{path}", root)).code == "MaterialNotFound"


async def test_a_dangling_link_is_a_missing_file(root: Path) -> None:
    (root / "dangling").symlink_to("keys/gone")
    assert (await refused("file:dangling", root)).code == "MaterialNotFound"


async def test_a_name_that_is_too_long_is_told_in_short(root: Path) -> None:
    error = await refused("file:" + "n" * 5000, root)
    assert error.code == "MaterialUnreadable"
    assert len(error.message) < 400


@pytest.mark.parametrize("path", [".", "keys", "keys/..", "keys/"])
async def test_folders_are_refused(root: Path, path: str) -> None:
    error = await refused(f"file:{path}", root)
    assert error.code == "MaterialUnreadable"
    assert "a folder" in error.message


async def test_a_fifo_is_refused_at_once(root: Path) -> None:
    os.mkfifo(root / "pipe")
    error = await refused("file:pipe", root)
    assert error.code == "MaterialUnreadable"
    assert "a FIFO" in error.message


async def test_a_socket_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        assert "a socket" in (await refused("file:sock", root)).message


async def test_a_device_is_refused() -> None:
    error = await refused("file:null", Path("/dev"))
    assert error.code == "MaterialUnreadable"
    assert "a device" in error.message


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder with an unreadable file, for a user who is not root: root may read everything."""
    with TemporaryDirectory() as folder:  # not tmp_path, which root keeps to itself
        path = Path(folder, "a.key")
        path.write_bytes(KEY)
        path.chmod(0)
        Path(folder).chmod(0o711)  # may be entered, not listed
        user = os.geteuid()
        os.seteuid(user or 65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)


async def test_an_unreadable_file(as_nobody: Path) -> None:
    error = await refused("file:a.key", as_nobody)
    assert error.code == "MaterialUnreadable"
    assert "Permission denied" in error.message


@pytest.mark.parametrize("size", [64 * 1024 + 1, 10**12])
async def test_huge_files_are_refused_unread(root: Path, size: int) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(size)  # sparse
    error = await refused("file:huge", root)
    assert error.code == "MaterialWrongLength"
    assert str(size) in error.message


async def test_the_largest_allowed_file_is_read_whole(root: Path) -> None:
    data = os.urandom(64 * 1024)
    (root / "large").write_bytes(data)
    assert await read("file:large", root) == data


async def test_empty_files_are_refused(root: Path) -> None:
    (root / "empty").touch()
    assert (await refused("file:empty", root)).code == "MaterialWrongLength"


async def test_no_descriptor_stays_open(root: Path) -> None:
    os.mkfifo(root / "pipe")
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - a folder of numbers
    for path in ("a.key", "keys/b.key", "pipe", "gone", "keys", "../outside/c.key", "a.key/below"):
        try:
            await read(f"file:{path}", root)
        except MaterialError as error:
            assert error.code  # noqa: PT017 - some of them fail, none may leak
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("uri", ["file:", "file: ", "file:a\0b", "env:", "env:A=B", "env:A B", "env:Ä", "env:A\0",
                                 "gopher:x", "FILE:a.key", "a.key", "", ":", "env:A\n"])  # fmt: skip
async def test_what_names_no_source_is_refused_before_anything_is_touched(root: Path, uri: str) -> None:
    assert refusal(uri)
    assert (await refused(uri, root)).code == "MaterialNotFound"


@pytest.mark.parametrize("prefix", ["", "x:", "env:", "env:A="])
async def test_material_pasted_as_the_uri_is_not_repeated(root: Path, prefix: str) -> None:
    error = await refused(prefix + KEY.hex(), root)
    assert KEY.hex()[:12] not in chain(error)


def test_the_registry_lists_the_schemes() -> None:
    assert {"file", "env"} <= set(KINDS)
    assert refusal("file:a.key") is None
    assert refusal("env:PAYMENTS_KEY") is None


async def test_a_variable_is_base64_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENTS", "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=")
    assert await read("env:PAYMENTS", None) == KEY


async def test_a_variable_need_not_be_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    value = bytes(range(1, 33)) + b"\xff\xfe"
    monkeypatch.setitem(os.environb, b"RAW_KEY", value)
    assert await read("env:RAW_KEY", None, Encoding.RAW) == value
    error = await refused("env:RAW_KEY", None)
    assert error.code == "MaterialInvalid"
    assert_silent(error, value)


async def test_a_variable_that_is_missing_or_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    error = await refused("env:NO_SUCH_KEY", None)
    assert (error.code, "NO_SUCH_KEY" in error.message) == ("MaterialNotFound", True)
    monkeypatch.setenv("NO_SUCH_KEY", "")
    error = await refused("env:NO_SUCH_KEY", None)
    assert (error.code, "empty" in error.message) == ("MaterialNotFound", True)
